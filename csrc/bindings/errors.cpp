// The core's InputError becomes lrpolicy.errors.InputError.
#include <lrpolicy/error.hpp>

#include "bindings.hpp"

namespace py = pybind11;

namespace {

py::object text_or_none(const std::string& text) { return text.empty() ? py::none() : py::object(py::str(text)); }

}  // namespace

void bind_errors(py::module_&) {
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const lrpolicy::InputError& error) {
      const py::object type = py::module_::import("lrpolicy.errors").attr("InputError");
      const py::object value =
          type(error.rule(), py::arg("where") = text_or_none(error.where()), py::arg("got") = text_or_none(error.got()),
               py::arg("remedy") = text_or_none(error.remedy()));
      PyErr_SetObject(type.ptr(), value.ptr());
    }
  });
}
