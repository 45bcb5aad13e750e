// The border: DLPack and __cuda_array_interface__ become TensorViews. Strange input is refused, never dereferenced.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <lrpolicy/error.hpp>
#include <optional>

#include "dlpack.hpp"
#include "tensor_list.hpp"

namespace py = pybind11;
using namespace lrpolicy;

namespace {

constexpr const char* kTaken = "float32, float64, float16 and bfloat16 are taken";

bool is_contiguous(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
  std::int64_t expected = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

std::int64_t count_of(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(count, extent, &count)) {
      throw InputError("the shape makes no sense");
    }
  }
  return count;
}

void refuse_strides() {
  throw InputError("is not contiguous", "", "pass tensor.contiguous(), or the tensor that it is a view of");
}

// The dtype of (code, bits, lanes).
DType dtype_of(const dlpack::Tensor& tensor) {
  const bool is_float = tensor.code == dlpack::kFloat, single = tensor.lanes == 1;
  if (single && is_float && tensor.bits == 32) return DType::kFloat32;
  if (single && is_float && tensor.bits == 64) return DType::kFloat64;
  if (single && is_float && tensor.bits == 16) return DType::kFloat16;
  if (single && tensor.code == dlpack::kBfloat && tensor.bits == 16) return DType::kBFloat16;
  throw InputError("has a dtype that no kernel knows",
                   "type code " + std::to_string(tensor.code) + " of " + std::to_string(tensor.bits) + " bits", kTaken);
}

Device device_of(const dlpack::Tensor& tensor) {
  if (tensor.device_type == dlpack::kCpu) return {Device::kCpu, 0};
  if (tensor.device_type == dlpack::kCuda || tensor.device_type == dlpack::kCudaManaged) {
    return {Device::kCuda, tensor.device_index};
  }
  throw InputError("lies on a device of DLPack's type " + std::to_string(tensor.device_type), "",
                   "move it to the CPU or to a CUDA device");
}

TensorView view_of(const dlpack::Tensor& tensor) {
  const DType dtype = dtype_of(tensor);
  const Device device = device_of(tensor);
  const std::vector<std::int64_t> shape(tensor.shape, tensor.shape + tensor.ndim);
  const std::int64_t count = count_of(shape);
  if (tensor.strides != nullptr && count > 0 && !is_contiguous(shape, {tensor.strides, tensor.strides + tensor.ndim})) {
    refuse_strides();
  }
  return {static_cast<char*>(tensor.data) + tensor.byte_offset, count, dtype, device};
}

// The tensor, whose deleter is ours to call.
template <typename M>
Borrowed owned(M* managed) {
  std::shared_ptr<void> owner(managed, [](M* m) {
    if (m->deleter != nullptr) m->deleter(m);
  });
  bool read_only = false;
  if constexpr (std::is_same_v<M, dlpack::ManagedVersioned>) {
    if (managed->major != 1) throw InputError("its DLPack version is unknown", std::to_string(managed->major));
    read_only = (managed->flags & dlpack::kReadOnly) != 0;
  }
  return {view_of(managed->tensor), read_only, std::move(owner)};
}

// Takes the tensor out of a capsule, as DLPack's protocol has it: the capsule is renamed.
template <typename M>
Borrowed take(const py::object& capsule, const char* name, const char* used) {
  M* const managed = static_cast<M*>(PyCapsule_GetPointer(capsule.ptr(), name));
  if (managed == nullptr || PyCapsule_SetName(capsule.ptr(), used) != 0) throw py::error_already_set();
  return owned(managed);
}

// -1, "wait for nothing", for a GPU's tensor: the caller says on which stream it is ready, and a wait would end a
// graph's capture. None, for the CPU, is the only stream that some frameworks take.
py::object stream_for(py::handle tensor) {
  const auto device = tensor.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  return device.first == dlpack::kCuda || device.first == dlpack::kCudaManaged ? py::object(py::int_(-1)) : py::none();
}

// The capsule of the newest version that the tensor's framework gives.
py::object export_of(py::handle tensor) {
  try {
    const py::object stream = stream_for(tensor);
    const bool has_graph = py::getattr(tensor, "requires_grad", py::bool_(false)).is(py::handle(Py_True));
    const py::object plain =
        has_graph ? py::object(tensor.attr("detach")()) : py::reinterpret_borrow<py::object>(tensor);
    try {
      return plain.attr("__dlpack__")(py::arg("stream") = stream, py::arg("max_version") = py::make_tuple(1, 0));
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_TypeError)) throw;  // TypeError: it does not know max_version
    }
    return plain.attr("__dlpack__")(py::arg("stream") = stream);
  } catch (const py::cast_error&) {
    throw InputError("its __dlpack_device__ makes no sense");
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) throw;
    throw InputError("its framework does not hand it out: " + std::string(py::str(error.value())));
  }
}

Borrowed borrow_dlpack(py::handle tensor, const dlpack::ExchangeApi* api) {
  dlpack::ManagedVersioned* by_api = nullptr;
  if (api != nullptr && api->managed_from_object(tensor.ptr(), &by_api) == 0) return owned(by_api);
  PyErr_Clear();  // __dlpack__ says why
  const py::object capsule = export_of(tensor);
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
    return take<dlpack::ManagedVersioned>(capsule, "dltensor_versioned", "used_dltensor_versioned");
  }
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor")) {
    return take<dlpack::Managed>(capsule, "dltensor", "used_dltensor");
  }
  throw InputError("its __dlpack__ gave no fresh DLPack capsule", std::string(py::repr(capsule)));
}

// numba.readthedocs.io, "CUDA Array Interface (Version 3)".
Borrowed borrow_cuda(py::handle tensor) {
  try {
    const auto fields = tensor.attr("__cuda_array_interface__").cast<py::dict>();
    const auto shape = fields["shape"].cast<std::vector<std::int64_t>>();
    const auto data = fields["data"].cast<std::pair<std::uintptr_t, bool>>();
    const auto type = fields["typestr"].cast<std::string>();
    const DType dtype = type == "<f4"   ? DType::kFloat32
                        : type == "<f8" ? DType::kFloat64
                        : type == "<f2" ? DType::kFloat16
                                        : throw InputError("has a dtype that no kernel knows", type, kTaken);
    if (fields.contains("strides") && !fields["strides"].is_none()) {
      auto strides = fields["strides"].cast<std::vector<std::int64_t>>();
      if (strides.size() != shape.size()) throw InputError("the shape makes no sense");
      for (std::int64_t& stride : strides) {
        if (stride % size_of(dtype) != 0) refuse_strides();
        stride /= size_of(dtype);
      }
      if (!is_contiguous(shape, strides)) refuse_strides();
    }
    const TensorView view = {reinterpret_cast<void*>(data.first), count_of(shape), dtype, {Device::kCuda, 0}};
    auto* const owner = new py::object(py::reinterpret_borrow<py::object>(tensor));
    return {view, data.second, std::shared_ptr<void>(owner, [](py::object* object) { delete object; })};
  } catch (const py::cast_error&) {
    throw InputError("its __cuda_array_interface__ makes no sense");
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) throw;
    throw InputError("its __cuda_array_interface__ makes no sense: " + std::string(py::str(error.value())), "", "");
  }
}

// NumPy's own numbers without a call; what else an array may be is DLPack's to say.
std::optional<Borrowed> borrow_array(const py::array& array) {
  const py::dtype dtype = array.dtype();
  const bool is_float = dtype.is(py::dtype::of<float>());
  if (!(is_float || dtype.is(py::dtype::of<double>())) || !(array.flags() & py::array::c_style)) return std::nullopt;
  const TensorView view = {
      const_cast<void*>(array.data()), array.size(), is_float ? DType::kFloat32 : DType::kFloat64, {Device::kCpu, 0}};
  return Borrowed{view, !array.writeable(), nullptr};
}

}  // namespace

Borrowed borrow(py::handle tensor, TensorType type) {
  if (type.is_array) {
    const std::optional<Borrowed> array = borrow_array(py::reinterpret_borrow<py::array>(tensor));
    if (array) return *array;
  }
  if (type.api != nullptr || py::hasattr(tensor, "__dlpack__")) return borrow_dlpack(tensor, type.api);
  if (py::hasattr(tensor, "__cuda_array_interface__")) return borrow_cuda(tensor);
  throw InputError("must be a tensor with __dlpack__ or __cuda_array_interface__",
                   std::string(py::str(py::type::handle_of(tensor).attr("__name__"))));
}
