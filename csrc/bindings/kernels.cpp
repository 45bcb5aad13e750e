// The verbs over lists as Python sees them: lists of borrowed tensors, a plan, and calls without the interpreter's
// lock.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <lrpolicy/error.hpp>

#include "bindings.hpp"
#include "dispatch.hpp"
#include "list_checks.hpp"
#include "require.hpp"
#include "simd/list_targets.hpp"

namespace py = pybind11;
using namespace lrpolicy;

namespace {

struct PlanCore {
  Plan* plan = nullptr;

  explicit PlanCore(const std::vector<std::int64_t>& counts) {
    require(lrpolicy_plan_make(counts.data(), static_cast<std::int64_t>(counts.size()), &plan));
  }
  ~PlanCore() { lrpolicy_plan_free(plan); }
  PlanCore(const PlanCore&) = delete;
  PlanCore& operator=(const PlanCore&) = delete;
};

// The call, without the interpreter's lock.
template <typename Call>
void run(Status (*verb)(Plan*, const Call*), PlanCore& plan, const Call& call) {
  Status status;
  {
    const py::gil_scoped_release release;
    status = verb(plan.plan, &call);
  }
  require(status);
}

const void* const* read(const TensorList& list) { return const_cast<const void* const*>(list.pointers()); }

py::tuple dot_pair_of(PlanCore& plan, const TensorList& now, const TensorList& previous, const TensorList* start,
                      bool roll) {
  const std::vector<std::int64_t>& counts = plan.plan->counts;
  check_dot_pair(counts, now, previous, start, roll);
  check_on_cpu(now);
  const auto size = static_cast<py::ssize_t>(counts.size());
  py::array_t<double> gg(size), gp(size);
  const DotPair call = {now.dtype(),
                        roll,
                        read(now),
                        previous.pointers(),
                        start != nullptr ? start->pointers() : nullptr,
                        gg.mutable_data(),
                        gp.mutable_data()};
  run(&lrpolicy_dot_pair, plan, call);
  return py::make_tuple(gg, gp);
}

void accumulate_of(PlanCore& plan, const TensorList& gradients, const TensorList& sums, double scale) {
  check_accumulate(plan.plan->counts, gradients, sums);
  check_on_cpu(gradients);
  run(&lrpolicy_accumulate, plan, Accumulate{gradients.dtype(), scale, read(gradients), sums.pointers()});
}

using Numbers = py::array_t<float, py::array::c_style | py::array::forcecast>;

void momentum_step_of(PlanCore& plan, const TensorList& gradients, const TensorList& weights, const TensorList& history,
                      const Numbers& rates, const Numbers& decays, float momentum, bool nesterov, bool rate_inside,
                      bool l1) {
  check_momentum_step(plan.plan->counts, gradients, weights, history);
  check_on_cpu(gradients);
  for (const Numbers* const numbers : {&rates, &decays}) {
    if (numbers->ndim() == 1 && numbers->size() == static_cast<py::ssize_t>(gradients.size())) continue;
    throw InputError(std::string(numbers == &rates ? "rates" : "decays") +
                         " must be a list of one number for each of the " + std::to_string(gradients.size()) +
                         " tensors",
                     std::to_string(numbers->size()));
  }
  const MomentumStep call = {nesterov,
                             rate_inside,
                             l1 ? Regularization::kL1 : Regularization::kL2,
                             momentum,
                             rates.data(),
                             decays.data(),
                             reinterpret_cast<const float* const*>(gradients.pointers()),
                             reinterpret_cast<float* const*>(weights.pointers()),
                             reinterpret_cast<float* const*>(history.pointers())};
  run(&lrpolicy_momentum_step, plan, call);
}

// implementation, forced, instruction set, threads. Throws InputError for a setting that makes no sense.
py::tuple settings_in_use() {
  const Settings& chosen = settings();
  require(chosen.status);
  const char* const name = kImplementationNames[static_cast<int>(chosen.implementation)];
  return py::make_tuple(name, chosen.forced, best_list_target().name, chosen.threads);
}

}  // namespace

void bind_kernels(py::module_& module) {
  py::class_<TensorList>(module, "TensorList")
      .def(py::init<const py::sequence&, std::string, std::vector<std::string>>(), py::arg("tensors"), py::arg("kind"),
           py::arg("names"))
      .def("__len__", &TensorList::size)
      .def("is_current", &TensorList::is_current)
      .def_property_readonly("counts", &TensorList::counts)
      .def_property_readonly(
          "dtype", [](const TensorList& list) { return std::string(kDTypeNames[static_cast<int>(list.dtype())]); });
  py::class_<PlanCore>(module, "PlanCore")
      .def(py::init<const std::vector<std::int64_t>&>(), py::arg("counts"))
      .def("dot_pair", &dot_pair_of, py::arg("now"), py::arg("previous"), py::arg("start").none(true), py::arg("roll"))
      .def("accumulate", &accumulate_of, py::arg("gradients"), py::arg("sums"), py::arg("scale"))
      .def("momentum_step", &momentum_step_of, py::arg("gradients"), py::arg("weights"), py::arg("history"),
           py::arg("rates"), py::arg("decays"), py::arg("momentum"), py::arg("nesterov"), py::arg("rate_inside"),
           py::arg("l1"));
  module.def("kernel_settings", &settings_in_use);
}
