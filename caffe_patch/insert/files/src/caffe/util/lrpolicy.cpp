// Caffe's SolverParameter read as a policy of lrpolicy. All arithmetic and all rules are in the headers <lrpolicy/...>.
// clang-format off: it comes first, for it says how all that follows is compiled
#include "caffe/util/lrpolicy_strict.hpp"
// clang-format on

#include "caffe/util/lrpolicy.hpp"

#include <lrpolicy/prepare.hpp>
#include <string>

#include "caffe/common.hpp"
#include "caffe/util/lrpolicy_settings.hpp"

namespace caffe {

namespace {

bool IsCaffesOwn(const lrpolicy::PolicyRow& row) { return row.family != lrpolicy::Family::kCyclic; }

unsigned FieldsOf(const lrpolicy::PolicyRow& row) { return row.required | row.optional; }

// The row of an lr_policy, which may be another people's name for it; null for none.
const lrpolicy::PolicyRow* FindRow(const std::string& name) {
  for (const lrpolicy::AliasRow& alias : lrpolicy::kAliases) {
    if (name == alias.alias) return lrpolicy::find_policy(alias.name);
  }
  return lrpolicy::find_policy(name);
}

std::string KnownNames() {
  std::string names;
  for (const lrpolicy::PolicyRow& row : lrpolicy::kPolicies) names += std::string(names.empty() ? "" : ", ") + row.name;
  for (const lrpolicy::AdaptivePolicyRow& row : lrpolicy::kAdaptivePolicies) names += std::string(", ") + row.name;
  for (const lrpolicy::AliasRow& alias : lrpolicy::kAliases) names += std::string(", ") + alias.alias;
  return names;
}

bool HasStart(const SolverParameter& param) {
  return param.lr_policy_param().has_start() || param.has_start_lr_policy();
}

int StartOf(const SolverParameter& param) {
  return param.lr_policy_param().has_start() ? param.lr_policy_param().start() : param.start_lr_policy();
}

// stepvalue stays out: only Caffe's own multistep takes it, and Caffe computes that.
lrpolicy::Parameters ParametersOf(const SolverParameter& param) {
  lrpolicy::Parameters p{};
  p.base_lr = param.base_lr();
  p.max_lr = param.max_lr();
  p.min_lr = param.min_lr();
  p.gamma = param.gamma();
  p.power = param.power();
  p.stepsize = param.stepsize();
  p.max_iter = param.max_iter();
  p.start = StartOf(param);
  return p;
}

unsigned GivenFields(const SolverParameter& param) {
  return (param.has_base_lr() ? lrpolicy::kBaseLr : 0u) | (param.has_max_lr() ? lrpolicy::kMaxLr : 0u) |
         (param.has_min_lr() ? lrpolicy::kMinLr : 0u) | (param.has_gamma() ? lrpolicy::kGamma : 0u) |
         (param.has_power() ? lrpolicy::kPower : 0u) | (param.has_stepsize() ? lrpolicy::kStepsize : 0u) |
         (param.stepvalue_size() > 0 ? lrpolicy::kStepvalue : 0u) | (param.has_max_iter() ? lrpolicy::kMaxIter : 0u) |
         (HasStart(param) ? lrpolicy::kStart : 0u);
}

// What Caffe itself aborts on at the first update, said before it, and min_lr.
void CheckCaffesOwn(const lrpolicy::PolicyRow& row, const SolverParameter& param) {
  const unsigned checked = (row.required & (lrpolicy::kGamma | lrpolicy::kStepsize)) |
                           (row.optional & GivenFields(param) & lrpolicy::kMinLr);
  lrpolicy::check_values(ParametersOf(param), checked);
}

void CheckOneStart(const SolverParameter& param) {
  if (param.has_start_lr_policy() && StartOf(param) != param.start_lr_policy()) {
    throw lrpolicy::InputError("start_lr_policy and lr_policy_param.start say the same thing, but differ",
                               std::to_string(param.start_lr_policy()) + " and " + std::to_string(StartOf(param)),
                               "leave one out");
  }
}

lrpolicy::Policy Prepare(const lrpolicy::PolicyRow& row, const SolverParameter& param) {
  return lrpolicy::prepare(row, ParametersOf(param), GivenFields(param) & FieldsOf(row));
}

void WarnOfUnused(const lrpolicy::PolicyRow& row, const SolverParameter& param) {
  const unsigned added = lrpolicy::kMaxLr | lrpolicy::kMinLr | lrpolicy::kStart;
  const unsigned unused = GivenFields(param) & added & ~FieldsOf(row);
  for (const lrpolicy::ParameterRow& parameter : lrpolicy::kParameters) {
    if (unused & parameter.field) {
      LOG(WARNING) << "lr_policy \"" << row.name << "\" does not use " << parameter.name;
    }
  }
}

// Caffe reads a field that its file does not set as protobuf's 0, and such files train as they did.
void WarnOfUnset(const lrpolicy::PolicyRow& row, const SolverParameter& param) {
  for (const lrpolicy::ParameterRow& parameter : lrpolicy::kParameters) {
    if (!(row.required & ~GivenFields(param) & parameter.field)) continue;
    LOG(WARNING) << "lr_policy \"" << row.name << "\" reads " << parameter.name << ", which is not set and counts as "
                 << (parameter.field == lrpolicy::kStepvalue ? "an empty list" : "0") << "; add for example  "
                 << parameter.name << ": " << parameter.example;
  }
}

// Other people's names, and how they are understood.
void TellReadings(const lrpolicy::PolicyRow& row, const SolverParameter& param) {
  if (param.lr_policy() != row.name) {
    LOG(INFO) << "lr_policy \"" << param.lr_policy() << "\" is read as \"" << row.name << "\": " << row.meaning;
  }
  if (param.has_start_lr_policy()) {
    LOG(INFO) << "start_lr_policy is read as lr_policy_param { start: " << StartOf(param) << " }";
  }
}

// One that is a function of the iteration, Caffe's own or added.
void CheckFunction(const lrpolicy::PolicyRow& row, const SolverParameter& param) {
  CheckOneStart(param);
  CheckNoAdaptiveField(row.name, param);
  if (IsCaffesOwn(row)) {
    CheckCaffesOwn(row, param);
  } else {
    Prepare(row, param);
  }
  if (!Caffe::root_solver()) return;
  if (IsCaffesOwn(row)) WarnOfUnset(row, param);
  WarnOfUnused(row, param);
  TellReadings(row, param);
}

// One that observes the training.
void CheckAdaptive(const lrpolicy::AdaptivePolicyRow& row, const SolverParameter& param) {
  CheckAdaptivePolicy(row, param);
  for (const std::string& name : UnusedFields(row, param)) {
    LOG(WARNING) << "lr_policy \"" << row.name << "\" does not use " << name;
  }
}

}  // namespace

void CheckLearningRatePolicy(const SolverParameter& param) {
  if (!param.has_lr_policy()) return;
  const lrpolicy::PolicyRow* const function = FindRow(param.lr_policy());
  const lrpolicy::AdaptivePolicyRow* const adaptive = FindAdaptiveRow(param.lr_policy());
  try {
    if (function != NULL) return CheckFunction(*function, param);
    if (adaptive != NULL) return CheckAdaptive(*adaptive, param);
  } catch (const lrpolicy::InputError& error) {
    LOG(FATAL) << "lr_policy \"" << param.lr_policy() << "\": " << error.what();
  }
  LOG(FATAL) << "lr_policy \"" << param.lr_policy() << "\" is unknown; known: " << KnownNames();
}

void CheckLearningRatePolicyIsGiven(const SolverParameter& param) {
  if (param.has_lr_policy()) return;
  LOG(FATAL) << "lr_policy is missing; known: " << KnownNames() << "; add for example  lr_policy: \"fixed\"";
}

bool AddedPolicyRate(const SolverParameter& param, int iter, double* rate) {
  const lrpolicy::PolicyRow* row = FindRow(param.lr_policy());
  if (row == NULL || IsCaffesOwn(*row)) return false;
  *rate = lrpolicy::rate(Prepare(*row, param), iter);
  return true;
}

double NotBelowMinLr(const SolverParameter& param, double rate) {
  if (!param.has_min_lr() || rate >= param.min_lr()) return rate;
  const lrpolicy::PolicyRow* row = FindRow(param.lr_policy());
  const bool takes = row != NULL && (row->optional & lrpolicy::kMinLr) != 0;
  return takes ? static_cast<double>(param.min_lr()) : rate;
}

}  // namespace caffe
