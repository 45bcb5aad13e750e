#include "memory.hpp"

#include <pybind11/numpy.h>

#include <functional>
#include <lrpolicy/error.hpp>
#include <numeric>
#include <optional>

namespace py = pybind11;
using namespace lrpolicy;

namespace {

const dlpack::ExchangeApi* exchange_api_of(py::handle type) {
  const py::object given = py::getattr(type, "__dlpack_c_exchange_api__", py::none());
  if (!PyCapsule_IsValid(given.ptr(), "dlpack_exchange_api")) return nullptr;
  auto* api = static_cast<const dlpack::ExchangeApi*>(PyCapsule_GetPointer(given.ptr(), "dlpack_exchange_api"));
  while (api != nullptr && api->major != 1) api = api->previous;
  return api;
}

// A method's name, made once.
class Name {
 public:
  explicit Name(const char* name) : name_(PyUnicode_InternFromString(name)) {}
  py::object called_on(py::handle object) const {
    const auto result = py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(object.ptr(), name_));
    if (!result) throw py::error_already_set();
    return result;
  }
  std::uintptr_t number_of(py::handle object) const {
    const std::uintptr_t number = PyLong_AsUnsignedLongLong(called_on(object).ptr());
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    return number;
  }

 private:
  PyObject* name_;
};

std::uintptr_t address_of(py::handle tensor) {
  static const Name data_ptr("data_ptr");
  return data_ptr.number_of(tensor);
}

// The tensor as its framework's C function has it now, several times as fast as a method; null where there is none.
std::optional<dlpack::Tensor> tensor_now(py::handle tensor, TensorType type) {
  dlpack::Tensor now;
  if (type.api == nullptr || type.api->tensor_from_object == nullptr) return std::nullopt;
  if (type.api->tensor_from_object(tensor.ptr(), &now) == 0) return now;
  PyErr_Clear();  // what it refuses can still be asked by a method
  return std::nullopt;
}

bool is_same(const dlpack::Tensor& now, const TensorView& view) {
  const std::int64_t count =
      std::accumulate(now.shape, now.shape + now.ndim, std::int64_t{1}, std::multiplies<std::int64_t>());
  return static_cast<char*>(now.data) + now.byte_offset == view.data && count == view.count;
}

// PyTorch lets a storage be resized while tensors look at it; none of them knows.
bool fits_into_its_storage(py::handle tensor, const TensorView& view) {
  static const Name untyped_storage("untyped_storage"), nbytes("nbytes");
  const py::object storage = untyped_storage.called_on(tensor);
  const auto begin = reinterpret_cast<std::uintptr_t>(view.data), start = address_of(storage);
  const std::uintptr_t end = begin + static_cast<std::uintptr_t>(view.count * size_of(view.dtype));
  return start != 0 && begin >= start && end <= start + nbytes.number_of(storage);
}

}  // namespace

TensorType type_of(py::handle tensor) {
  static PyTypeObject* last = nullptr;  // the tensors of a list are of one type as a rule
  static TensorType known;
  PyTypeObject* const type = Py_TYPE(tensor.ptr());
  if (type == last) return known;
  const py::handle object(reinterpret_cast<PyObject*>(type));
  known = {exchange_api_of(object), py::isinstance<py::array>(tensor), py::hasattr(object, "data_ptr"),
           py::hasattr(object, "untyped_storage")};
  Py_INCREF(type);
  Py_XDECREF(last);
  last = type;
  return known;
}

void check_memory(py::handle tensor, TensorType type, const TensorView& view) {
  if (view.count == 0) return;
  if (view.data != nullptr && (!type.has_storage || fits_into_its_storage(tensor, view))) return;
  throw InputError("has no memory for its elements: it was freed", "", "give it memory again, or leave it out");
}

bool is_unmoved(py::handle tensor, TensorType type, const TensorView& view) {
  if (view.count == 0) return true;
  if (const std::optional<dlpack::Tensor> now = tensor_now(tensor, type)) return is_same(*now, view);
  if (type.has_data_ptr) return address_of(tensor) == reinterpret_cast<std::uintptr_t>(view.data);
  if (!type.is_array) return true;
  const auto array = py::reinterpret_borrow<py::array>(tensor);
  return array.data() == view.data && array.size() == view.count;
}
