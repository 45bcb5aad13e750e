// What the kernels know of a tensor: where its numbers lie, how many, of which type, on which device (C++11). A view
// owns nothing.
#ifndef LRPOLICY_TENSOR_VIEW_HPP_
#define LRPOLICY_TENSOR_VIEW_HPP_

#include <lrpolicy/float16.hpp>

namespace lrpolicy {

enum class DType : std::int32_t { kFloat32, kFloat64, kFloat16, kBFloat16 };

constexpr const char* kDTypeNames[] = {"float32", "float64", "float16", "bfloat16"};

struct Device {
  enum Kind : std::int32_t { kCpu, kCuda } kind;
  std::int32_t index;
};

LRPOLICY_FUNCTION bool operator==(Device a, Device b) { return a.kind == b.kind && a.index == b.index; }

struct TensorView {
  void* data;
  std::int64_t count;
  DType dtype;
  Device device;
};

LRPOLICY_FUNCTION bool is_known(DType dtype) { return dtype >= DType::kFloat32 && dtype <= DType::kBFloat16; }

LRPOLICY_FUNCTION std::int64_t size_of(DType dtype) {
  return dtype == DType::kFloat64 ? 8 : dtype == DType::kFloat32 ? 4 : 2;
}

// What differences and sums of a type are kept in (see Wide).
LRPOLICY_FUNCTION DType wide(DType dtype) { return dtype == DType::kFloat64 ? dtype : DType::kFloat32; }

// visit(T()) with the type that stands for a known `dtype`.
template <typename Visit>
void with_type(DType dtype, Visit&& visit) {
  switch (dtype) {
    case DType::kFloat32:
      return visit(float());
    case DType::kFloat64:
      return visit(double());
    case DType::kFloat16:
      return visit(Float16());
    case DType::kBFloat16:
      return visit(BFloat16());
  }
}

}  // namespace lrpolicy

#endif  // LRPOLICY_TENSOR_VIEW_HPP_
