// DLPack's C structures (dmlc.github.io/dlpack, versions 0 and 1), as far as a reader of tensors needs them.
#pragma once
#include <cstdint>

namespace dlpack {

enum DeviceType : std::int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };
enum TypeCode : std::uint8_t { kFloat = 2, kBfloat = 4 };

struct Tensor {
  void* data;
  std::int32_t device_type, device_index;
  std::int32_t ndim;
  std::uint8_t code, bits;
  std::uint16_t lanes;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: the last index moves fastest
  std::uint64_t byte_offset;
};

// "dltensor"
struct Managed {
  Tensor tensor;
  void* manager;
  void (*deleter)(Managed*);
};

// "dltensor_versioned"
struct ManagedVersioned {
  std::uint32_t major, minor;
  void* manager;
  void (*deleter)(ManagedVersioned*);
  std::uint64_t flags;
  Tensor tensor;
};

constexpr std::uint64_t kReadOnly = 1;

// "dlpack_exchange_api": the C functions of a type of tensors, its attribute __dlpack_c_exchange_api__ (since
// DLPack 1.3). They return 0, or -1 with a Python exception set. The members that are not called here have another type
// there.
struct ExchangeApi {
  std::uint32_t major, minor;
  const ExchangeApi* previous;  // of an older version
  void* allocate;
  int (*managed_from_object)(void* object, ManagedVersioned** out);
  void* object_from_managed;
  int (*tensor_from_object)(void* object, Tensor* out);  // borrowed while the object stays as it is; may be null
};

}  // namespace dlpack
