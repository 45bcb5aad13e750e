// The policy tables as Python sees them: tuples of plain values, from which lrpolicy.policies builds its mappings.
#include <lrpolicy/adaptive_table.hpp>
#include <lrpolicy/policy_table.hpp>

#include "bindings.hpp"

namespace py = pybind11;
using namespace lrpolicy;

namespace {

template <typename Row, std::size_t count>
py::tuple names_of(unsigned fields, const Row (&rows)[count]) {
  py::list names;
  for (const Row& row : rows) {
    if (fields & row.field) names.append(row.name);
  }
  return py::tuple(names);
}

const char* kind_of(const ParameterRow& row) {
  return row.real != nullptr ? "real" : row.integer != nullptr ? "integer" : "integers";
}

const char* text_of(Family family) {
  switch (family) {
    case Family::kFixed:
      return "fixed";
    case Family::kDecaying:
      return "decaying";
    case Family::kCyclic:
      return "cyclic";
    default:
      return "extra";
  }
}

const char* text_of(AdaptiveKind kind) {
  switch (kind) {
    case AdaptiveKind::kReal:
      return "real";
    case AdaptiveKind::kInteger:
      return "integer";
    case AdaptiveKind::kIntegers:
      return "integers";
    case AdaptiveKind::kText:
      return "text";
    default:
      return "flag";
  }
}

const char* text_of(Feedback feedback) {
  switch (feedback) {
    case Feedback::kTestLoss:
      return "test loss";
    case Feedback::kTrainLoss:
      return "training loss";
    default:
      return "gradients";
  }
}

void bind_adaptive_table(py::module_& module) {
  py::list parameters, policies;
  for (const AdaptiveParameterRow& row : kAdaptiveParameters) {
    parameters.append(py::make_tuple(row.name, row.symbol, text_of(row.kind), row.rule, row.fallback, row.meaning));
  }
  for (const AdaptivePolicyRow& row : kAdaptivePolicies) {
    policies.append(py::make_tuple(row.name, row.paper_name, names_of(row.required, kAdaptiveParameters),
                                   names_of(row.optional, kAdaptiveParameters), row.parameter_count,
                                   text_of(row.feedback), row.formula, row.meaning, row.note));
  }
  module.attr("adaptive_parameter_table") = py::tuple(parameters);
  module.attr("adaptive_policy_table") = py::tuple(policies);
}

}  // namespace

void bind_policy_table(py::module_& module) {
  py::list parameters, policies, aliases;
  for (const ParameterRow& row : kParameters) {
    parameters.append(py::make_tuple(row.name, row.symbol, kind_of(row), row.least, row.meaning, row.example));
  }
  for (const PolicyRow& row : kPolicies) {
    policies.append(py::make_tuple(row.name, row.paper_name, text_of(row.family), names_of(row.required, kParameters),
                                   names_of(row.optional, kParameters), row.period, row.parameter_count, row.formula,
                                   row.meaning, row.note));
  }
  for (const AliasRow& row : kAliases) aliases.append(py::make_tuple(row.alias, row.name, row.note));
  module.attr("parameter_table") = py::tuple(parameters);
  module.attr("policy_table") = py::tuple(policies);
  module.attr("alias_table") = py::tuple(aliases);
  bind_adaptive_table(module);
}
