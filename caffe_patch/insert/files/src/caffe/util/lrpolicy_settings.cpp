#include "caffe/util/lrpolicy_settings.hpp"

#include <limits>

#include "caffe/common.hpp"

namespace caffe {

namespace {

typedef LearningRatePolicyParameter Nested;

// TLR's limit where no max_lr is given.
const double kLargestRate = lrpolicy::kLargestReal;

const unsigned kInSolver =
    lrpolicy::kAdaptiveBaseLr | lrpolicy::kAdaptiveMinLr | lrpolicy::kAdaptiveMaxLr | lrpolicy::kAdaptiveGamma;

unsigned Given(const SolverParameter& param) {
  const Nested& nested = param.lr_policy_param();
  const bool winsize = nested.plateau_winsize_size() + param.plateau_winsize_size() > 0;
  return (param.has_base_lr() ? lrpolicy::kAdaptiveBaseLr : 0u) | (param.has_min_lr() ? lrpolicy::kAdaptiveMinLr : 0u) |
         (param.has_max_lr() ? lrpolicy::kAdaptiveMaxLr : 0u) | (param.has_gamma() ? lrpolicy::kAdaptiveGamma : 0u) |
         (winsize ? lrpolicy::kPlateauWinsize : 0u) | (nested.has_strategy() ? lrpolicy::kStrategyName : 0u) |
         (nested.has_variant() ? lrpolicy::kTlrVariantName : 0u) |
         (nested.has_source() ? lrpolicy::kTlrSourceName : 0u) | (nested.has_bound() ? lrpolicy::kTlrBound : 0u) |
         (nested.has_window() ? lrpolicy::kTlrWindow : 0u) | (nested.has_eta() ? lrpolicy::kTlrEta : 0u) |
         (nested.has_per_tensor() ? lrpolicy::kTlrPerTensor : 0u) |
         (nested.has_divergence() ? lrpolicy::kTlrDivergence : 0u) | (nested.has_epoch() ? lrpolicy::kTlrEpoch : 0u) |
         (nested.has_restart_below() ? lrpolicy::kTlrRestartBelow : 0u) |
         (nested.has_seed() ? lrpolicy::kAslrSeed : 0u);
}

std::string Quoted(const lrpolicy::AdaptivePolicyRow& row) { return std::string("policy \"") + row.name + "\""; }

// The names of these fields, in the table's order.
std::vector<std::string> Names(unsigned fields) {
  std::vector<std::string> names;
  for (const lrpolicy::AdaptiveParameterRow& parameter : lrpolicy::kAdaptiveParameters) {
    if (fields & parameter.field) names.push_back(parameter.name);
  }
  return names;
}

std::string Listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

void CheckFields(const lrpolicy::AdaptivePolicyRow& row, unsigned given) {
  for (const lrpolicy::AdaptiveParameterRow& parameter : lrpolicy::kAdaptiveParameters) {
    if (row.required & ~given & parameter.field) {
      throw lrpolicy::InputError(Quoted(row) + " needs " + parameter.name + " (" + parameter.meaning + "; " +
                                 parameter.rule + ")");
    }
  }
  const unsigned takes = row.required | row.optional;
  const std::vector<std::string> foreign = Names(given & ~takes & ~kInSolver);
  if (foreign.empty()) return;
  const std::string nested = Listed(Names(takes & ~kInSolver));
  throw lrpolicy::InputError(Quoted(row) + " does not use " + foreign.front(), "",
                             nested.empty() ? "remove it" : "remove it; its lr_policy_param has: " + nested);
}

void CheckFeedback(const lrpolicy::AdaptivePolicyRow& row, const SolverParameter& param) {
  if (row.feedback != lrpolicy::Feedback::kTestLoss) return;
  if (param.test_iter_size() > 0 && param.test_iter(0) < 1) {
    throw lrpolicy::InputError(Quoted(row) + " observes the loss of each test pass, and test_iter leaves it no batch",
                               std::to_string(param.test_iter(0)), "give test_iter the batches of the test set");
  }
  if (param.test_interval() > 0) return;
  throw lrpolicy::InputError(Quoted(row) + " observes the loss of each test pass, and test_interval is not set", "",
                             "add for example  test_interval: 500  (the iterations of an epoch), and test_iter");
}

void CheckTlrInCaffe(const SolverParameter& param) {
  const Nested& nested = param.lr_policy_param();
  if (nested.variant() == "naive") {
    throw lrpolicy::InputError("variant \"naive\" needs a second pass over each batch, which Caffe's data layers do not"
                               " give", "", "take variant \"efficient\", or train with lrpolicy's own engine");
  }
  if (!nested.has_epoch() && nested.variant() != "hypergradient") {
    throw lrpolicy::InputError("policy \"tlr\" needs epoch, which Caffe cannot count in the data", "",
                               "add for example  lr_policy_param { epoch: 500 }  (the iterations of an epoch)");
  }
  if (nested.has_epoch() && nested.epoch() < 1) {
    throw lrpolicy::InputError("epoch must be 1 or more", std::to_string(nested.epoch()));
  }
}

}  // namespace

const lrpolicy::AdaptivePolicyRow* FindAdaptiveRow(const std::string& lr_policy) {
  for (const lrpolicy::AdaptivePolicyRow& row : lrpolicy::kAdaptivePolicies) {
    if (lr_policy == row.name) return &row;
  }
  return NULL;
}

void CheckAdaptivePolicy(const lrpolicy::AdaptivePolicyRow& row, const SolverParameter& param) {
  CheckFields(row, Given(param));
  if (Caffe::solver_count() > 1) {
    throw lrpolicy::InputError(Quoted(row) + " observes the training, and with several GPUs each would see its own", "",
                               "train on one GPU, or take a policy that is a function of the iteration");
  }
  CheckFeedback(row, param);
  switch (row.feedback) {
    case lrpolicy::Feedback::kGradients:
      CheckTlrInCaffe(param);
      TlrOf(param, std::vector<double>(1, 1));
      break;
    case lrpolicy::Feedback::kTrainLoss:
      PlateauOf(param);
      break;
    default:
      lrpolicy::check_positive("base_lr", param.base_lr());
      if (row.optional & lrpolicy::kStrategyName) SequenceOf(param);
  }
}

void CheckNoAdaptiveField(const std::string& lr_policy, const SolverParameter& param) {
  const std::vector<std::string> foreign = Names(Given(param) & ~kInSolver);
  if (foreign.empty()) return;
  throw lrpolicy::InputError("policy \"" + lr_policy + "\" does not use " + foreign.front(), "", "remove it");
}

std::vector<std::string> UnusedFields(const lrpolicy::AdaptivePolicyRow& row, const SolverParameter& param) {
  std::vector<std::string> names = Names(Given(param) & kInSolver & ~(row.required | row.optional));
  if (param.has_power()) names.push_back("power");
  if (param.has_stepsize()) names.push_back("stepsize");
  if (param.stepvalue_size() > 0) names.push_back("stepvalue");
  if (param.lr_policy_param().has_start() || param.has_start_lr_policy()) names.push_back("start");
  return names;
}

lrpolicy::Tlr TlrOf(const SolverParameter& param, const std::vector<double>& lr_mult) {
  const Nested& nested = param.lr_policy_param();
  lrpolicy::TlrSettings settings;
  settings.variant = nested.variant();
  settings.source = nested.source();
  settings.base_lr = param.base_lr();
  settings.bound = nested.bound();
  settings.eta = nested.has_eta() ? nested.eta() : std::numeric_limits<double>::quiet_NaN();
  settings.window = nested.has_window() ? nested.window() : 1.0 / 3;  // the field's own default is a float
  settings.epoch_iterations = nested.has_epoch() ? nested.epoch() : 1;
  settings.min_lr = param.min_lr();
  settings.max_lr = param.has_max_lr() ? param.max_lr() : kLargestRate;
  settings.divergence = nested.divergence();
  settings.lr_mult = lr_mult;
  settings.per_tensor = nested.per_tensor();
  settings.restart_below = nested.restart_below();
  return lrpolicy::make_tlr(settings);
}

lrpolicy::DecaySequence SequenceOf(const SolverParameter& param) {
  return lrpolicy::make_decay_sequence(param.lr_policy(), param.lr_policy_param().strategy(), param.base_lr(),
                                       param.min_lr());
}

lrpolicy::Plateau PlateauOf(const SolverParameter& param) {
  const Nested& nested = param.lr_policy_param();
  if (nested.plateau_winsize_size() > 0 && param.plateau_winsize_size() > 0) {
    throw lrpolicy::InputError("plateau_winsize and lr_policy_param.plateau_winsize say the same thing", "",
                               "leave one out");
  }
  std::vector<std::int64_t> winsize(nested.plateau_winsize().begin(), nested.plateau_winsize().end());
  winsize.insert(winsize.end(), param.plateau_winsize().begin(), param.plateau_winsize().end());
  return lrpolicy::make_plateau(param.base_lr(), param.gamma(), winsize, param.min_lr());
}

}  // namespace caffe
