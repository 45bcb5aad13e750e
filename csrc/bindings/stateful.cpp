// The state machines as Python sees them: a machine is an object without state, a state is a tuple of plain values.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <lrpolicy/aslr.hpp>
#include <lrpolicy/strategy.hpp>
#include <lrpolicy/tlr.hpp>
#include <optional>
#include <tuple>

#include "bindings.hpp"
#include "dispatch.hpp"
#include "require.hpp"
#include "tlr_tuple.hpp"

namespace py = pybind11;
using namespace lrpolicy;

namespace {

void check(bool holds, const char* rule) {
  if (!holds) throw InputError(rule, "", "start from init(), or from a state that to_json() wrote");
}

bool is_count(std::int64_t n) { return n >= 0 && n <= kMaxIteration; }

void check_iteration(std::int64_t t) {
  if (t < 0 || t > kMaxIteration) {
    throw InputError("an iteration is a whole number from 0 to 2^50", std::to_string(t));
  }
}

// advances, losses, loss, cutoff, skipped
using StrategyTuple = std::tuple<std::int64_t, std::int64_t, double, double, bool>;

StrategyState unpack(const StrategyTuple& t) {
  const StrategyState s = {std::get<0>(t), std::get<1>(t), std::get<2>(t), std::get<3>(t), std::get<4>(t)};
  check(is_count(s.advances) && is_count(s.losses), "advances and losses must be whole numbers from 0 to 2^50");
  check(std::isfinite(s.loss), "loss must be a number");
  check(std::isfinite(s.cutoff) && s.cutoff >= 0, "cutoff must be a number, 0 or more");
  return s;
}

StrategyTuple pack(const StrategyState& s) { return StrategyTuple(s.advances, s.losses, s.loss, s.cutoff, s.skipped); }

// lowered, last_event, minimum
using PlateauTuple = std::tuple<std::int64_t, std::int64_t, double>;

PlateauState unpack(const PlateauTuple& t) {
  const PlateauState s = {std::get<0>(t), std::get<1>(t), std::get<2>(t)};
  check(is_count(s.lowered) && is_count(s.last_event), "lowered and last_event must be whole numbers from 0 to 2^50");
  check(!std::isnan(s.minimum), "minimum must be a number");
  return s;
}

PlateauTuple pack(const PlateauState& s) { return PlateauTuple(s.lowered, s.last_event, s.minimum); }

// digit, exponent, min_cost, search_direction, search_range, search_steps
using AslrTuple = std::tuple<std::int64_t, std::int64_t, double, std::int64_t, std::int64_t, std::int64_t>;

AslrState unpack(const AslrTuple& t) {
  const auto& [digit, exponent, min_cost, direction, range, steps] = t;
  constexpr std::int64_t most = kLargestDecimalExponent;
  check(digit >= 1 && digit <= 9 && exponent >= -most && exponent <= most,
        "the centre must be a digit from 1 to 9 and an exponent from -22 to 22");
  check(direction == 1 || direction == -1, "search_direction must be 1 or -1");
  check(steps >= 0 && steps < range, "search_steps must lie between 0 and search_range");
  check(is_count(range), "search_range must be a whole number from 1 to 2^50");
  check(min_cost > -HUGE_VAL, "min_cost must be a number");
  return {{static_cast<int>(digit), static_cast<int>(exponent)}, min_cost, static_cast<int>(direction), range, steps};
}

AslrTuple pack(const AslrState& s) {
  return AslrTuple(s.center.digit, s.center.exponent, s.min_cost, s.search_direction, s.search_range, s.search_steps);
}

struct AslrCore {
  Decimal center;
  std::uint64_t seed;

  AslrCore(double base_lr, std::uint64_t seed_) : center(nearest_decimal(base_lr)), seed(seed_) {
    check_positive("base_lr", base_lr);
  }

  double rate(const AslrTuple& state, std::int64_t t, std::uint32_t tensor) const {
    check_iteration(t);
    require(settings().status);
    return aslr_draw(unpack(state).center, seed, static_cast<std::uint64_t>(t), tensor);
  }

  py::array_t<double> rates(const AslrTuple& state, std::int64_t t, std::uint32_t count) const {
    check_iteration(t);
    const Decimal around = unpack(state).center;
    py::array_t<double> out(count);
    require(lrpolicy_draw_rates(&around, seed, static_cast<std::uint64_t>(t), count, out.mutable_data()));
    return out;
  }
};

using Dots = py::array_t<double, py::array::c_style>;

TlrTuple tlr_update_of(const Tlr& tlr, const TlrTuple& state, const Dots& gg, const Dots& gp, std::int64_t updates) {
  const auto count = static_cast<py::ssize_t>(tlr.lr_mult.size());
  for (const Dots* const dots : {&gg, &gp}) {
    if (dots->ndim() == 1 && dots->size() == count) continue;
    throw InputError(std::string(dots == &gg ? "gg" : "gp") + " must hold one number for each of the " +
                         std::to_string(count) + " parameter tensors",
                     dots->ndim() == 1 ? std::to_string(dots->size()) : "an array that is not a list");
  }
  for (py::ssize_t i = 0; i < count; ++i) {
    if (!(gg.data()[i] < 0)) continue;
    throw InputError("gg of tensor " + std::to_string(i) + " is a squared length and cannot be below 0",
                     to_text(gg.data()[i]));
  }
  if (updates < 1 || updates > kMaxIteration) {
    throw InputError("updates, the length of the window, must be a whole number from 1 to 2^50",
                     std::to_string(updates));
  }
  return pack_tlr(tlr.update(unpack_tlr(tlr, state), gg.data(), gp.data(), updates));
}

void bind_tables(py::module_& module) {
  py::list sequences, strategies, variants, sources;
  for (const SequenceRow& row : kSequences) sequences.append(py::make_tuple(row.name, row.formula, row.meaning));
  for (const StrategyRow& row : kStrategies) strategies.append(py::make_tuple(row.name, row.condition, row.meaning));
  for (const TlrVariantRow& row : kTlrVariants) variants.append(py::make_tuple(row.name, row.formula, row.meaning));
  for (const TlrSourceRow& row : kTlrSources) sources.append(row.name);
  module.attr("sequence_table") = py::tuple(sequences);
  module.attr("strategy_table") = py::tuple(strategies);
  module.attr("tlr_variant_table") = py::tuple(variants);
  module.attr("tlr_sources") = py::tuple(sources);
}

void bind_strategies(py::module_& module) {
  py::class_<DecaySequence>(module, "DecaySequenceCore")
      .def(py::init(&make_decay_sequence), py::arg("sequence"), py::arg("strategy"), py::arg("base_lr"),
           py::arg("min_lr"))
      .def("update", [](const DecaySequence& self, const StrategyTuple& state,
                        double loss) { return pack(strategy_update(*self.strategy, unpack(state), loss)); })
      .def("rate", [](const DecaySequence& self, const StrategyTuple& state) { return self.rate(unpack(state)); });
  py::class_<Plateau>(module, "PlateauCore")
      .def(py::init(&make_plateau), py::arg("base_lr"), py::arg("gamma"), py::arg("winsize"), py::arg("min_lr"))
      .def("start", [](const Plateau& self) { return pack(self.start()); })
      .def("update",
           [](const Plateau& self, const PlateauTuple& state, std::int64_t iteration, double loss) {
             check_iteration(iteration);
             return pack(self.update(unpack(state), iteration, loss));
           })
      .def("rate", [](const Plateau& self, const PlateauTuple& state) { return self.rate(unpack(state)); });
}

}  // namespace

void bind_stateful(py::module_& module) {
  bind_tables(module);
  bind_strategies(module);
  py::class_<AslrCore>(module, "AslrCore")
      .def(py::init<double, std::uint64_t>(), py::arg("base_lr"), py::arg("seed"))
      .def("start", [](const AslrCore& self) { return pack(AslrState{self.center, HUGE_VAL, 1, 1, 0}); })
      .def("update",
           [](const AslrCore&, const AslrTuple& s, double cost) { return pack(aslr_update(unpack(s), cost)); })
      .def("center", [](const AslrCore&, const AslrTuple& state) { return value(unpack(state).center); })
      .def("rate", &AslrCore::rate)
      .def("rates", &AslrCore::rates);
  py::class_<Tlr>(module, "TlrCore")
      .def(py::init([](const std::string& variant, const std::string& source, double base_lr, double bound,
                       std::optional<double> eta, double window, std::int64_t epoch_iterations, double min_lr,
                       double max_lr, double divergence, const Reals& lr_mult, bool per_tensor, double restart_below) {
             return make_tlr({variant, source, base_lr, bound, eta.value_or(std::nan("")), window, epoch_iterations,
                              min_lr, max_lr, divergence, lr_mult, per_tensor, restart_below});
           }),
           py::arg("variant"), py::arg("source"), py::arg("base_lr"), py::arg("bound"), py::arg("eta"),
           py::arg("window"), py::arg("epoch_iterations"), py::arg("min_lr"), py::arg("max_lr"), py::arg("divergence"),
           py::arg("lr_mult"), py::arg("per_tensor"), py::arg("restart_below"))
      .def_readonly("window_updates", &Tlr::window)
      .def("is_due",
           [](const Tlr& self, std::int64_t t) {
             check_iteration(t);
             return self.is_due(t);
           })
      .def("start", [](const Tlr& self) { return pack_tlr(self.start()); })
      .def("update", &tlr_update_of);
}
