// The policies that observe the training, told as kPolicies tells those that are functions of the iteration (C++11).
//
// Their values are checked by the machines: tlr.hpp, aslr.hpp, strategy.hpp. Adding one: its machine, its row here.
#ifndef LRPOLICY_ADAPTIVE_TABLE_HPP_
#define LRPOLICY_ADAPTIVE_TABLE_HPP_

namespace lrpolicy {

enum AdaptiveField : unsigned {
  kAdaptiveBaseLr = 1u << 0,
  kAdaptiveMinLr = 1u << 1,
  kAdaptiveMaxLr = 1u << 2,
  kAdaptiveGamma = 1u << 3,
  kPlateauWinsize = 1u << 4,
  kStrategyName = 1u << 5,
  kTlrVariantName = 1u << 6,
  kTlrSourceName = 1u << 7,
  kTlrBound = 1u << 8,
  kTlrWindow = 1u << 9,
  kTlrEta = 1u << 10,
  kTlrPerTensor = 1u << 11,
  kTlrDivergence = 1u << 12,
  kTlrEpoch = 1u << 13,
  kAslrSeed = 1u << 14,
  kTlrRestartBelow = 1u << 15,
};

enum class AdaptiveKind { kReal, kInteger, kIntegers, kText, kFlag };

struct AdaptiveParameterRow {
  AdaptiveField field;
  const char* name;    // in prototxt
  const char* symbol;  // in the formulas; empty where they have none
  AdaptiveKind kind;
  const char* rule;
  const char* fallback;  // what holds where it is not set; empty: nothing
  const char* meaning;
};

constexpr AdaptiveParameterRow kAdaptiveParameters[] = {
    {kAdaptiveBaseLr, "base_lr", "r_0", AdaptiveKind::kReal, "above 0", "", "the rate to start from"},
    {kAdaptiveMinLr, "min_lr", "floor", AdaptiveKind::kReal, "from 0 to base_lr", "0",
     "the rate never falls below this"},
    {kAdaptiveMaxLr, "max_lr", "ceiling", AdaptiveKind::kReal, "at least base_lr", "",
     "the rate never rises above this"},
    {kAdaptiveGamma, "gamma", "gamma", AdaptiveKind::kReal, "at least 0", "", "the factor of each fall"},
    {kPlateauWinsize, "plateau_winsize", "w_k", AdaptiveKind::kIntegers, "whole, at least 1, repeated", "",
     "iterations without a new minimum of the loss before a fall, one number for each fall"},
    {kStrategyName, "strategy", "", AdaptiveKind::kText, "by_epoch, by_cutoff or by_oscillate", "by_epoch",
     "when the sequence advances"},
    {kTlrVariantName, "variant", "", AdaptiveKind::kText, "efficient, naive, fixed_eta, hypergradient or newton",
     "efficient", "how the rate is trained"},
    {kTlrSourceName, "source", "", AdaptiveKind::kText, "displacement or gradient", "displacement",
     "what a window accumulates: how far the weights moved, or the raw gradients"},
    {kTlrBound, "bound", "c", AdaptiveKind::kReal, "above 0", "0.25", "the most by which an update raises the rate"},
    {kTlrWindow, "window", "p", AdaptiveKind::kReal, "in (0, 1]", "1/3",
     "the part of an epoch between two updates of the rate"},
    {kTlrEta, "eta", "eta", AdaptiveKind::kReal, "above 0", "",
     "the rate at which the rate learns: naive, fixed_eta and hypergradient need it, the others take none"},
    {kTlrPerTensor, "per_tensor", "", AdaptiveKind::kFlag, "true or false", "false",
     "a rate of its own for each parameter tensor"},
    {kTlrDivergence, "divergence", "", AdaptiveKind::kReal, "above 1", "1e6",
     "how far the squared gradient may grow before a note says so"},
    {kTlrRestartBelow, "restart_below", "", AdaptiveKind::kReal, "between min_lr and base_lr; 0: never", "0",
     "a rate that has fallen below this starts again from base_lr"},
    {kTlrEpoch, "epoch", "N", AdaptiveKind::kInteger, "whole, at least 1", "",
     "iterations of an epoch; counted in the data where it is left out, but Caffe needs it"},
    {kAslrSeed, "seed", "", AdaptiveKind::kInteger, "whole, from 0 to 2^64 - 1", "0", "what the draws are made from"},
};

// What a policy observes: the validation (or test) loss after each test pass, the smoothed training loss of each
// iteration, or gradients.
enum class Feedback { kTestLoss, kTrainLoss, kGradients };

struct AdaptivePolicyRow {
  const char* name;        // lr_policy
  const char* paper_name;  // in the paper it is from; empty where there is none
  unsigned required, optional;
  const char* parameter_count;  // numbers that it sets at least
  Feedback feedback;
  const char* formula;  // the rate
  const char* meaning;
  const char* note;
};

constexpr unsigned kSequenceOptions = kStrategyName | kAdaptiveMinLr;
constexpr unsigned kTlrOptions = kTlrVariantName | kTlrSourceName | kTlrBound | kTlrWindow | kTlrEta | kTlrPerTensor |
                                 kAdaptiveMinLr | kAdaptiveMaxLr | kTlrDivergence | kTlrRestartBelow | kTlrEpoch;
constexpr const char* kSequenceNote = "a test pass stands for an epoch: set test_interval to the iterations of one";

constexpr AdaptivePolicyRow kAdaptivePolicies[] = {
    {"tlr", "TLR", kAdaptiveBaseLr, kTlrOptions, "1", Feedback::kGradients,
     "alpha * (1 + min(d / max(4(n - d), 0), c)), d = <g_t, g_(t-1)>, n = <g_t, g_t>",
     "learns the rate along with the weights: it rises while successive gradients agree",
     "the formula is that of the variant efficient; naive does two passes in every iteration"},
    {"aslr", "ASLR", kAdaptiveBaseLr, kAslrSeed, "1", Feedback::kTestLoss, "U(c - s/2, c + s/2), s = 10^floor(log10 c)",
     "searches for the rate from epoch to epoch, and draws one around it for each iteration and tensor", kSequenceNote},
    {"seq1", "", kAdaptiveBaseLr, kSequenceOptions, "1", Feedback::kTestLoss, "r_0 / n",
     "falls with each advance, fastest at first", kSequenceNote},
    {"seq2", "", kAdaptiveBaseLr, kSequenceOptions, "1", Feedback::kTestLoss, "r_0 / sqrt(n)",
     "falls with each advance, slower than seq1", kSequenceNote},
    {"seq3", "", kAdaptiveBaseLr, kSequenceOptions, "1", Feedback::kTestLoss, "r_0 * 0.9^n",
     "falls by a tenth with each advance", kSequenceNote},
    {"seq4", "", kAdaptiveBaseLr, kSequenceOptions, "1", Feedback::kTestLoss,
     "r_0 * (1 - ((n-1) mod 10)/10) / (floor((n-1)/10) + 1)",
     "falls by tenths with each advance, again and again, ever lower", kSequenceNote},
    {"plateau", "", kAdaptiveBaseLr | kAdaptiveGamma | kPlateauWinsize, kAdaptiveMinLr, "n+2", Feedback::kTrainLoss,
     "r_0 * gamma^k, k falls so far", "falls when the training loss has made no new minimum for a while",
     "the loss is the smoothed one that is displayed: set average_loss to smooth it"},
};

}  // namespace lrpolicy

#endif  // LRPOLICY_ADAPTIVE_TABLE_HPP_
