// The policy table as Python sees it: tuples of plain values, from which lrpolicy.policies builds its mappings.
#include <lrpolicy/policy_table.hpp>

#include "bindings.hpp"

namespace py = pybind11;
using namespace lrpolicy;

namespace {

py::tuple names_of(unsigned fields) {
  py::list names;
  for (const ParameterRow& row : kParameters) {
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

}  // namespace

void bind_policy_table(py::module_& module) {
  py::list parameters, policies, aliases;
  for (const ParameterRow& row : kParameters) {
    parameters.append(py::make_tuple(row.name, row.symbol, kind_of(row), row.least, row.meaning, row.example));
  }
  for (const PolicyRow& row : kPolicies) {
    policies.append(py::make_tuple(row.name, row.paper_name, text_of(row.family), names_of(row.required),
                                   names_of(row.optional), row.period, row.parameter_count, row.formula, row.meaning,
                                   row.note));
  }
  for (const AliasRow& row : kAliases) aliases.append(py::make_tuple(row.alias, row.name, row.note));
  module.attr("parameter_table") = py::tuple(parameters);
  module.attr("policy_table") = py::tuple(policies);
  module.attr("alias_table") = py::tuple(aliases);
}
