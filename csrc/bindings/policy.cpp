// lrpolicy._core.PolicyCore: a prepared policy and its rates.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <lrpolicy/prepare.hpp>
#include <type_traits>
#include <vector>

#include "bindings.hpp"
#include "dispatch.hpp"
#include "require.hpp"

namespace py = pybind11;
using namespace lrpolicy;

namespace {

// A policy and the list that its stepvalue points into.
struct PolicyCore {
  std::vector<std::int64_t> stepvalue;
  Policy policy;

  PolicyCore(const PolicyCore&) = delete;
  PolicyCore& operator=(const PolicyCore&) = delete;
  PolicyCore(const std::string& name, const py::dict& fields);
};

PolicyCore::PolicyCore(const std::string& name, const py::dict& fields) {
  const PolicyRow* row = find_policy(name);
  if (row == nullptr) throw InputError("lr_policy \"" + name + "\" is unknown");
  Parameters p{};
  unsigned given = 0;
  for (const ParameterRow& parameter : kParameters) {
    if (!fields.contains(parameter.name)) continue;
    const py::object value = fields[parameter.name];
    given |= parameter.field;
    if (parameter.real != nullptr) {
      p.*parameter.real = value.cast<double>();
    } else if (parameter.integer != nullptr) {
      p.*parameter.integer = value.cast<std::int64_t>();
    } else {
      stepvalue = value.cast<std::vector<std::int64_t>>();
    }
  }
  p.stepvalue = stepvalue.data();
  p.stepvalue_count = static_cast<std::int64_t>(stepvalue.size());
  policy = prepare(*row, p, given);
}

void check_iteration(std::int64_t t) {
  if (t < 0 || t > kMaxIteration) {
    throw InputError("an iteration is a whole number from 0 to 2^50", std::to_string(t));
  }
}

template <typename Real>
using Rates = py::array_t<Real, py::array::c_style>;
using Iterations = py::array_t<std::int64_t, py::array::c_style>;

// Both write into `out`, whose shape the caller has checked.
template <typename Real>
void fill_range(const PolicyCore& core, std::int64_t first, std::int64_t stride, Rates<Real>& out) {
  const std::int64_t count = out.size();
  if (count > 0) {
    check_iteration(first);
    check_iteration(first + stride * (count - 1));
  }
  Real* const rates = out.mutable_data();
  Status status;
  {
    const py::gil_scoped_release others_may_run;
    if constexpr (std::is_same_v<Real, float>) {
      status = lrpolicy_fill_rates_float32(&core.policy, first, stride, count, rates);
    } else {
      status = lrpolicy_fill_rates(&core.policy, first, stride, count, rates);
    }
  }
  require(status);
}

template <typename Real>
void fill_array(const PolicyCore& core, const Iterations& ts, Rates<Real>& out) {
  Real* const rates = out.mutable_data();
  require(settings().status);
  const RateFunction rate_at = rate_function();
  for (py::ssize_t i = 0; i < ts.size(); ++i) {
    check_iteration(ts.data()[i]);
    rates[i] = static_cast<Real>(rate_at(core.policy, ts.data()[i]));
  }
}

// The C++ object behind a bound one, for plain C methods: pybind11's dispatcher alone would cost more than a rate. It
// may count on two facts of pybind11's object layout: the type is the only bound base, so that the layout is "simple",
// and the first slot then holds the C++ pointer (null before __init__ has run).
void* pointer_of(PyObject* self) {
  const auto* instance = reinterpret_cast<py::detail::instance*>(self);
  return instance->simple_layout ? instance->simple_value_holder[0] : *instance->nonsimple.values_and_holders;
}

// Of an exact int; -1 with an error set beyond 64 bits. A number of one digit, below 2^30, takes no call.
long long value_of(PyObject* number) {
  auto* const digits = reinterpret_cast<PyLongObject*>(number);
#if PY_VERSION_HEX >= 0x030C0000
  if (PyUnstable_Long_IsCompact(digits)) return PyUnstable_Long_CompactValue(digits);
#else
  const Py_ssize_t sign_and_count = Py_SIZE(digits);
  if (sign_and_count == 1) return digits->ob_digit[0];
#endif
  return PyLong_AsLongLong(number);
}

// Sets an InputError, for plain C methods.
PyObject* raise(const char* rule, const py::object& got) {
  PyErr_Clear();
  const py::object type = py::module_::import("lrpolicy.errors").attr("InputError");
  const py::object error = type(rule, py::arg("got") = got);
  PyErr_SetObject(type.ptr(), error.ptr());
  return nullptr;
}

PyObject* rate_method(PyObject* self, PyObject* iteration) {
  const auto* core = static_cast<const PolicyCore*>(pointer_of(self));
  if (core == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "this policy was never initialised");
    return nullptr;
  }
  long long t = -1;
  if (PyLong_CheckExact(iteration)) {
    t = value_of(iteration);
  } else if (PyObject* const whole = PyNumber_Index(iteration)) {
    t = PyLong_AsLongLong(whole);
    Py_DECREF(whole);
  }
  if (t < 0 || t > kMaxIteration) {
    return raise("an iteration is a whole number from 0 to 2^50", py::repr(py::handle(iteration)));
  }
  static const RateFunction rate_at = rate_function();
  if (rate_at == nullptr) {
    const Status status = settings().status;
    return raise(lrpolicy_status_text(status), py::str(wrong_setting(status)));
  }
  return PyFloat_FromDouble(rate_at(core->policy, t));
}

PyMethodDef rate_definition = {"rate", &rate_method, METH_O,
                               "rate($self, t, /)\n--\n\nThe rate at iteration t, the number of updates already done."};

// The hot path of a scheduler (lrpolicy.integrations.torch): counts steps and sets "lr" in a list of dicts. Done in
// Python, its attribute look-ups would cost three times as much as the rate.
struct PolicyStepper {
  py::object policy;  // keeps `core` alive
  const PolicyCore* core;
  std::int64_t t;      // the iteration whose rate was set last; -1 before the first
  std::int64_t steps;  // how often one was set

  PolicyStepper(const py::object& owner, std::int64_t t, std::int64_t steps)
      : policy(owner), core(&owner.cast<const PolicyCore&>()), t(t), steps(steps) {}
};

bool is_list_of_float_rates(PyObject* groups, PyObject* key) {
  if (!PyList_CheckExact(groups)) return false;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(groups); ++i) {
    PyObject* const group = PyList_GET_ITEM(groups, i);
    PyObject* const rate = PyDict_CheckExact(group) ? PyDict_GetItemWithError(group, key) : nullptr;
    if (rate == nullptr || !PyFloat_CheckExact(rate)) return false;
  }
  return true;
}

// The first two steps are the caller's, who warns of a wrong order there, and so is every group without a float rate,
// and what settings() says.
PyObject* advance_method(PyObject* self, PyObject* groups) {
  static PyObject* const key = PyUnicode_InternFromString("lr");
  static const RateFunction rate_at = rate_function();
  auto* const stepper = static_cast<PolicyStepper*>(pointer_of(self));
  if (stepper == nullptr || stepper->steps < 2 || stepper->t < 0 || stepper->t >= kMaxIteration || rate_at == nullptr ||
      !is_list_of_float_rates(groups, key)) {
    if (PyErr_Occurred()) return nullptr;
    Py_RETURN_FALSE;
  }
  PyObject* const rate = PyFloat_FromDouble(rate_at(stepper->core->policy, stepper->t + 1));
  if (rate == nullptr) return nullptr;
  int trouble = 0;
  for (Py_ssize_t i = 0; trouble == 0 && i < PyList_GET_SIZE(groups); ++i) {
    trouble = PyDict_SetItem(PyList_GET_ITEM(groups, i), key, rate);
  }
  Py_DECREF(rate);
  if (trouble != 0) return nullptr;
  ++stepper->t;
  ++stepper->steps;
  Py_RETURN_TRUE;
}

PyMethodDef advance_definition = {
    "advance", &advance_method, METH_O,
    "advance($self, groups, /)\n--\n\nSets every group's \"lr\" to the next rate, or returns False untouched."};

void add_method(const py::type& type, PyMethodDef* definition) {
  type.attr(definition->ml_name) =
      py::reinterpret_steal<py::object>(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), definition));
}

// CPython takes its shortest way to a method that belongs to the object's very type: an inherited one costs 11 ns more.
py::type with_own_rate(const py::type& type) {
  if (!PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type.ptr()),
                        reinterpret_cast<PyTypeObject*>(py::type::of<PolicyCore>().ptr()))) {
    throw py::type_error("with_own_rate takes a subclass of PolicyCore");
  }
  add_method(type, &rate_definition);
  return type;
}

}  // namespace

void bind_policy(py::module_& module) {
  const py::class_<PolicyCore> type =
      py::class_<PolicyCore>(module, "PolicyCore", "A policy, prepared: lrpolicy.policies.Policy is its Python face.")
          .def(py::init<const std::string&, const py::dict&>(), py::arg("name"), py::arg("fields"))
          .def("_fill_range", &fill_range<double>, py::arg("first"), py::arg("stride"), py::arg("out").noconvert())
          .def("_fill_range", &fill_range<float>, py::arg("first"), py::arg("stride"), py::arg("out").noconvert())
          .def("_fill_array", &fill_array<double>, py::arg("ts"), py::arg("out").noconvert())
          .def("_fill_array", &fill_array<float>, py::arg("ts"), py::arg("out").noconvert());
  add_method(type, &rate_definition);
  module.def("with_own_rate", &with_own_rate, py::arg("type"),
             "Gives a subclass a `rate` of its own; for a decorator.");

  const py::class_<PolicyStepper> stepper =
      py::class_<PolicyStepper>(module, "PolicyStepper", "Sets the rates of parameter groups, one iteration at a call.")
          .def(py::init<const py::object&, std::int64_t, std::int64_t>(), py::arg("policy"), py::arg("t"),
               py::arg("steps"))
          .def_readwrite("t", &PolicyStepper::t)
          .def_readwrite("steps", &PolicyStepper::steps);
  add_method(stepper, &advance_definition);
}
