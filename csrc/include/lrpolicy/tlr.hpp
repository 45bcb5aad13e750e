// TLR: the rate is trained along with the weights (TLR paper, Algorithms 1 and 2, equations 3 to 10). C++11; the
// arithmetic of one rate serves host and device, the state machine over all tensors the host.
//
// Every `window` updates the caller gives, for each parameter tensor, two dot products of what it has accumulated: gg,
// of this window with itself, and gp, of this window with the one before. What is accumulated is
//   gradient:      A = the sum of the window's raw gradients           g = A / updates
//   displacement:  A = weights before the window less those after it   g = A / (updates * rate * lr_mult)
// so that g is a mean whatever the window's length, and windows of different length compare. The machine divides.
#ifndef LRPOLICY_TLR_HPP_
#define LRPOLICY_TLR_HPP_

#include <cfloat>
#include <lrpolicy/checks.hpp>
#include <vector>

namespace lrpolicy {

enum class TlrVariant { kEfficient, kNaive, kFixedEta, kHypergradient, kNewton };
enum class TlrSource { kGradient, kDisplacement };

struct TlrVariantRow {
  const char* name;
  TlrVariant variant;
  bool adds;          // eta * d to the rate; otherwise the rate is multiplied, and eta has no part in it
  bool every_update;  // whatever the window
  const char* formula;
  const char* meaning;
};

// d = <g_t, g_(t-1)>, n = <g_t, g_t>, m = <g_(t-1), g_(t-1)>, c = bound.
constexpr TlrVariantRow kTlrVariants[] = {
    {"efficient", TlrVariant::kEfficient, false, false, "alpha * (1 + min(d / max(4(n - d), 0), c))",
     "Algorithm 2, with the step of equation 9"},
    {"naive", TlrVariant::kNaive, true, false, "max(alpha + eta * <h_t, g_t>, 0)",
     "Algorithm 1: h_t is a second gradient, at w_t - alpha * g_t; gp is <h_t, g_t>"},
    {"fixed_eta", TlrVariant::kFixedEta, true, false, "max(alpha + eta * d, 0)", "the first order alone (section D.4)"},
    {"hypergradient", TlrVariant::kHypergradient, true, true, "max(alpha + eta * d, 0)",
     "fixed_eta after every update, whatever the window (Baydin and others, 2018)"},
    {"newton", TlrVariant::kNewton, false, false, "alpha * (1 + min(d / max(m - d, 0), c))",
     "a Newton step with the right curvature, <g_(t-1), g_(t-1) - g_t> / alpha"},
};

struct TlrSourceRow {
  const char* name;
  TlrSource source;
};

constexpr TlrSourceRow kTlrSources[] = {{"gradient", TlrSource::kGradient}, {"displacement", TlrSource::kDisplacement}};

// What the last update met; bits of TlrAlpha::events.
enum TlrEvent : unsigned {
  kTlrNonFinite = 1,  // d or n was not finite: the rate stayed
  kTlrAtLimit = 2,    // the rate was stopped at min_lr or max_lr, or at 0
  kTlrDiverging = 4,  // n has grown beyond `divergence` times the first window's
  kTlrRestarted = 8,  // the rate had fallen below `restart_below`, and is base_lr again
};

struct TlrRule {
  TlrVariant variant;
  TlrSource source;
  double bound, eta, min_lr, max_lr, divergence;
  double base_lr, restart_below;  // where rates start, and below which one starts again; 0: none does
};

// One learned rate, and what it remembers of the windows before.
struct TlrAlpha {
  double rate;
  double scale;    // the window before: A = scale * g; 0 before the first window
  double squared;  // its n; 0 where that was not finite
  double first;    // the first n that was finite and not 0
  unsigned events;
  std::int64_t restarts;
};

// gg and gp, of one tensor or summed over tensors.
struct TlrDots {
  double gg, gp;
};

// 1 + min(d / max(4(n - d), 0), c): in [1 - 1/4, 1 + c]. Where the curvature is not above 0, d is, and nothing is
// divided.
LRPOLICY_FUNCTION double efficient_factor(double d, double n, double bound) {
  if (d == 0 || n == 0) return 1;
  const double curvature = 4 * (n - d);
  if (!(curvature > 0)) return 1 + bound;
  const double ratio = d / curvature;
  return 1 + (ratio < bound ? ratio : bound);
}

// min(m / (m - d), 1 + c), which is 1 + d/(m - d) without the cancellation: in (0, 1 + c].
LRPOLICY_FUNCTION double newton_factor(double d, double m, double bound) {
  if (d == 0 || m == 0) return 1;
  const double curvature = m - d;
  if (!(curvature > 0)) return 1 + bound;
  const double factor = m / curvature;
  return factor < 1 + bound ? factor : 1 + bound;
}

// The new rate before limits.
LRPOLICY_FUNCTION double tlr_step(const TlrRule& rule, double rate, double d, double n, double m) {
  switch (rule.variant) {
    case TlrVariant::kEfficient:
      return rate * efficient_factor(d, n, rule.bound);
    case TlrVariant::kNewton:
      return rate * newton_factor(d, m, rule.bound);
    default:
      return rate + rule.eta * d;
  }
}

// One rate after a window of `updates` updates.
LRPOLICY_FUNCTION TlrAlpha tlr_update(const TlrRule& rule, TlrAlpha alpha, TlrDots dots, double updates) {
  const bool naive = rule.variant == TlrVariant::kNaive;
  const double scale = rule.source == TlrSource::kDisplacement ? updates * alpha.rate : updates;
  const double before = naive ? scale : alpha.scale;
  const double n = dots.gg / scale / scale;
  const double d = before == 0 ? 0 : dots.gp / scale / before;
  alpha.scale = scale;
  alpha.events = 0;
  if (std::isfinite(n) && std::isfinite(d)) {
    const double next = tlr_step(rule, alpha.rate, d, n, alpha.squared);
    alpha.rate = next < rule.min_lr ? rule.min_lr : next > rule.max_lr ? rule.max_lr : next;
    if (alpha.rate != next) alpha.events |= kTlrAtLimit;
    if (alpha.first == 0) alpha.first = n;
    if (n > rule.divergence * alpha.first) alpha.events |= kTlrDiverging;
  } else {
    alpha.events |= kTlrNonFinite;
  }
  if (alpha.rate < rule.restart_below) {
    alpha.rate = rule.base_lr;
    alpha.events = (alpha.events & ~kTlrAtLimit) | kTlrRestarted;
    ++alpha.restarts;
  }
  alpha.squared = std::isfinite(n) ? n : 0;
  return alpha;
}

// A tensor's part in the sums: its rate is alpha * lr_mult, so the loss's derivative by alpha has lr_mult once, and a
// displacement has it in both factors of a dot product. Tensors with lr_mult 0 take no part.
LRPOLICY_FUNCTION TlrDots weighted(TlrSource source, double lr_mult, TlrDots dots) {
  if (lr_mult == 0) return {0, 0};
  return source == TlrSource::kGradient ? TlrDots{dots.gg * lr_mult, dots.gp * lr_mult}
                                        : TlrDots{dots.gg / lr_mult, dots.gp / lr_mult};
}

struct TlrState {
  std::int64_t windows;            // seen so far
  std::int64_t non_finite_tensor;  // the first one of the last window; -1 where all dot products were finite
  std::vector<TlrAlpha> alphas;    // one, or one for each tensor
};

struct Tlr {
  TlrRule rule;
  std::int64_t window;          // K, in updates
  std::vector<double> lr_mult;  // one for each parameter tensor
  bool per_tensor;

  // Whether iteration t is the last of a window.
  bool is_due(std::int64_t t) const { return t % window == window - 1; }

  TlrState start() const {
    return {0, -1, std::vector<TlrAlpha>(per_tensor ? lr_mult.size() : 1, TlrAlpha{rule.base_lr, 0, 0, 0, 0, 0})};
  }

  // The state after a window of `updates` updates; gg and gp have one number for each tensor, and the gp of the first
  // window is not looked at (but for `naive`). Sums run in the tensors' order.
  TlrState update(TlrState state, const double* gg, const double* gp, std::int64_t updates) const {
    const double count = static_cast<double>(updates);
    const bool compares = state.windows > 0 || rule.variant == TlrVariant::kNaive;
    TlrDots sum = {0, 0};
    state.non_finite_tensor = -1;
    for (std::size_t i = 0; i < lr_mult.size(); ++i) {
      if (lr_mult[i] == 0) continue;
      const TlrDots dots = weighted(rule.source, lr_mult[i], {gg[i], compares ? gp[i] : 0});
      if (state.non_finite_tensor < 0 && !(std::isfinite(dots.gg) && std::isfinite(dots.gp))) {
        state.non_finite_tensor = static_cast<std::int64_t>(i);
      }
      if (per_tensor) state.alphas[i] = tlr_update(rule, state.alphas[i], dots, count);
      sum = {sum.gg + dots.gg, sum.gp + dots.gp};
    }
    if (!per_tensor) state.alphas[0] = tlr_update(rule, state.alphas[0], sum, count);
    ++state.windows;
    return state;
  }

  double rate(const TlrState& state, std::size_t tensor) const { return state.alphas[per_tensor ? tensor : 0].rate; }
};

// K = max(1, floor(p * N)), N iterations to an epoch (TLR paper, section 4). A product that rounding alone keeps below
// a whole number counts as that number.
inline std::int64_t tlr_window(double p, std::int64_t epoch_iterations) {
  const double product = p * static_cast<double>(epoch_iterations);
  const std::int64_t window = static_cast<std::int64_t>(product * (1 + 4 * DBL_EPSILON));
  return window < 1 ? 1 : window;
}

// What a user sets. `bound` is the paper's c, `window` its p, `epoch_iterations` its N; `divergence` is the growth of n
// since the first window from which on an event is recorded; `restart_below` is 0 where no rate restarts, and `eta` NaN
// where it was not set.
struct TlrSettings {
  std::string variant, source;
  double base_lr, bound, eta, window;
  std::int64_t epoch_iterations;
  double min_lr, max_lr, divergence;
  std::vector<double> lr_mult;
  bool per_tensor;
  double restart_below;
};

inline void check_limits(const TlrSettings& s) {
  check_positive("base_lr", s.base_lr);
  check_positive("max_lr", s.max_lr);
  if (!(s.min_lr >= 0 && s.min_lr <= s.base_lr && s.base_lr <= s.max_lr)) {
    throw InputError("base_lr must lie between min_lr and max_lr, and min_lr must not be below 0",
                     to_text(s.base_lr) + " with " + to_text(s.min_lr) + " and " + to_text(s.max_lr));
  }
  if (s.restart_below == 0 || (s.min_lr < s.restart_below && s.restart_below < s.base_lr)) return;
  throw InputError("restart_below must lie between min_lr and base_lr, or be 0 for no restart",
                   to_text(s.restart_below) + " with " + to_text(s.min_lr) + " and " + to_text(s.base_lr));
}

inline void check_window(const TlrSettings& s) {
  if (!(s.window > 0 && s.window <= 1)) {
    throw InputError("window, the part of an epoch between two updates of the rate, must lie in (0, 1]",
                     to_text(s.window));
  }
  if (s.epoch_iterations < 1 || s.epoch_iterations > kMaxIteration) {
    throw InputError("epoch_iterations must be a whole number from 1 to 2^50", std::to_string(s.epoch_iterations));
  }
}

inline void check_lr_mult(const std::vector<double>& lr_mult) {
  bool any = false;
  for (std::size_t i = 0; i < lr_mult.size(); ++i) {
    if (!(lr_mult[i] >= 0 && lr_mult[i] <= kLargestReal)) {
      throw InputError("lr_mult of tensor " + std::to_string(i) + " must be a number from 0 to 1e100",
                       to_text(lr_mult[i]));
    }
    any = any || lr_mult[i] > 0;
  }
  if (!any) throw InputError("lr_mult must name at least one tensor that learns", "none above 0");
}

inline void check_eta(const TlrVariantRow& row, double eta) {
  const std::string quoted = std::string("variant \"") + row.name + "\"";
  if (row.adds && std::isnan(eta)) throw InputError(quoted + " needs eta, the rate at which the rate learns");
  if (row.adds) return check_positive("eta", eta);
  if (!std::isnan(eta)) throw InputError(quoted + " takes no eta", to_text(eta));
}

// Throws InputError.
static inline Tlr make_tlr(const TlrSettings& s) {
  const TlrVariantRow& row = find_row(kTlrVariants, "variant", s.variant);
  const TlrSource source = find_row(kTlrSources, "source", s.source).source;
  check_limits(s);
  check_window(s);
  check_lr_mult(s.lr_mult);
  check_positive("bound", s.bound);
  check_eta(row, s.eta);
  if (!(s.divergence > 1)) throw InputError("divergence must be above 1", to_text(s.divergence));
  if (row.adds && source == TlrSource::kDisplacement && s.min_lr == 0) {
    throw InputError("variant \"" + s.variant + "\" can reach the rate 0, where a displacement says nothing", "",
                     "give min_lr above 0, or source \"gradient\"");
  }
  const double floor = row.adds || s.min_lr > DBL_MIN ? s.min_lr : DBL_MIN;  // a product must not round to 0
  const std::int64_t window = row.every_update ? 1 : tlr_window(s.window, s.epoch_iterations);
  return {{row.variant, source, s.bound, s.eta, floor, s.max_lr, s.divergence, s.base_lr, s.restart_below},
          window,
          s.lr_mult,
          s.per_tensor};
}

}  // namespace lrpolicy

#endif  // LRPOLICY_TLR_HPP_
