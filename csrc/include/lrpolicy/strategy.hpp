// When a decaying sequence advances: the three strategies of the Yang-Huang report (section 3.2), and `plateau` of
// Caffe's SSD-derived forks (C++11).
//
// State is a value: each update takes one and returns the next.
#ifndef LRPOLICY_STRATEGY_HPP_
#define LRPOLICY_STRATEGY_HPP_

#include <lrpolicy/checks.hpp>
#include <lrpolicy/sequence.hpp>
#include <vector>

namespace lrpolicy {

struct StrategyState {
  std::int64_t advances;  // how often the sequence has moved on
  std::int64_t losses;    // finite losses seen
  double loss;            // the last of them
  double cutoff;          // by_cutoff: a change below this advances
  bool skipped;           // the last loss was not finite, and was not remembered
};

constexpr double kFirstCutoff = 0.01;  // of the first loss
constexpr double kCutoffFactor = 0.2;  // each time it fires

inline bool by_epoch(const StrategyState&, double) { return true; }

inline bool by_cutoff(const StrategyState& s, double loss) {
  return s.losses > 0 && std::abs(loss - s.loss) < s.cutoff;
}

inline bool by_oscillate(const StrategyState& s, double loss) { return s.losses > 0 && loss > s.loss; }

struct StrategyRow {
  const char* name;
  const char* condition;
  const char* meaning;
  bool needs_loss;  // a loss that is not finite never advances
  bool (*advances)(const StrategyState&, double loss);
};

constexpr StrategyRow kStrategies[] = {
    {"by_epoch", "always", "advances after every epoch", false, &by_epoch},
    {"by_cutoff", "abs(v_t - v_(t-1)) < cutoff",
     "advances when the validation loss hardly changes; the cutoff is 0.01 of the first loss, times 0.2 each time it "
     "fires",
     true, &by_cutoff},
    {"by_oscillate", "v_t > v_(t-1)", "advances when the validation loss has grown", true, &by_oscillate},
};

// The state after an epoch with this validation loss.
inline StrategyState strategy_update(const StrategyRow& row, StrategyState s, double loss) {
  const bool finite = std::isfinite(loss);
  const bool fires = (finite || !row.needs_loss) && row.advances(s, loss);
  s.skipped = !finite;
  if (fires) {
    ++s.advances;
    s.cutoff *= kCutoffFactor;
  }
  if (!finite) return s;
  if (s.losses == 0) s.cutoff = kFirstCutoff * std::abs(loss);
  ++s.losses;
  s.loss = loss;
  return s;
}

// A sequence, a strategy, and the rates that they give.
struct DecaySequence {
  const SequenceRow* sequence;
  const StrategyRow* strategy;
  double base_lr, min_lr;

  double rate(const StrategyState& s) const {
    const double eta = sequence_rate(*sequence, base_lr, s.advances);
    return eta < min_lr ? min_lr : eta;
  }
};

// Throws InputError for an unknown name and for a rate that is not above 0.
static inline DecaySequence make_decay_sequence(const std::string& sequence, const std::string& strategy,
                                                double base_lr, double min_lr) {
  check_positive("base_lr", base_lr);
  check_floor(min_lr, base_lr);
  return {&find_row(kSequences, "sequence", sequence), &find_row(kStrategies, "strategy", strategy), base_lr, min_lr};
}

// plateau: base_lr * gamma^k; k grows when the smoothed training loss has made no new minimum for winsize[k]
// iterations since the last event, an event being a new minimum or a lower rate. After the last winsize the rate stays.
struct PlateauState {
  std::int64_t lowered;     // k
  std::int64_t last_event;  // iteration
  double minimum;           // of the losses seen; infinite before the first
};

struct Plateau {
  Policy decay;  // `exp`, whose time is k
  std::vector<std::int64_t> winsize;

  PlateauState start() const { return {0, 0, HUGE_VAL}; }

  // A loss that is not a number is no new minimum.
  PlateauState update(PlateauState s, std::int64_t iteration, double loss) const {
    if (loss < s.minimum) {
      s.minimum = loss;
      s.last_event = iteration;
    }
    const bool more = s.lowered < static_cast<std::int64_t>(winsize.size());
    if (more && iteration - s.last_event >= winsize[static_cast<std::size_t>(s.lowered)]) {
      ++s.lowered;
      s.last_event = iteration;
    }
    return s;
  }

  double rate(const PlateauState& s) const { return lrpolicy::rate(decay, s.lowered); }
};

// Throws InputError.
static inline Plateau make_plateau(double base_lr, double gamma, const std::vector<std::int64_t>& winsize,
                                   double min_lr) {
  check_positive("base_lr", base_lr);
  if (winsize.empty()) throw InputError("plateau_winsize must name at least one number of iterations", "none");
  for (const std::int64_t iterations : winsize) {
    if (iterations < 1 || iterations > kMaxIteration) {
      throw InputError("plateau_winsize must hold whole numbers from 1 to 2^50", std::to_string(iterations));
    }
  }
  Parameters parameters{};
  parameters.base_lr = base_lr;
  parameters.gamma = gamma;
  parameters.min_lr = min_lr;
  return {prepare(*find_policy("exp"), parameters, kBaseLr | kGamma | kMinLr), winsize};
}

}  // namespace lrpolicy

#endif  // LRPOLICY_STRATEGY_HPP_
