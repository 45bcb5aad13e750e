// The policies' arithmetic: g(t) of each, and the one line that turns g into a rate (C++11, host and device).
//
//   eta(t) = |k0 - k1| * g(t) + min(k0, k1)        LRBench paper, Table I; k1 = 0 for a policy that decays
//
// t is the number of updates already done, a whole number from 0 to 2^50 held in a double. g is carried with a relative
// error near 2^-59 (p * 2^-60 for a power p above 2) and the rate rounded once. Nothing branches on t, so that a loop
// over t becomes vectors.
#ifndef LRPOLICY_POLICY_HPP_
#define LRPOLICY_POLICY_HPP_

#include <cmath>
#include <lrpolicy/elementary.hpp>

namespace lrpolicy {

// A policy's parameters under their prototxt names. Fields that a policy does not take are left at zero.
struct Parameters {
  double base_lr, max_lr, min_lr, gamma, power;
  std::int64_t stepsize, max_iter, start;
  const std::int64_t* stepvalue;  // strictly increasing; the caller keeps it alive
  std::int64_t stepvalue_count;
};

// Parameters together with what is computed once from them; prepare() in prepare.hpp makes one.
struct Policy {
  Parameters parameters;
  int row;                  // in kPolicies, which names g
  DoubleDouble span;        // |k0 - k1|
  double low;               // min(k0, k1)
  double length;            // l: stepsize, or max_iter for poly
  DoubleDouble inverse;     // 1/l
  DoubleDouble log2_gamma;  // -2000 for gamma = 0, so that gamma^0 = 1 and gamma^t = 0
};

// t - n l, exactly, for a whole n near t/l: from -l to l, nearer to zero than l/2 but for the rounding of the estimate.
struct Division {
  double n, rest;
};

LRPOLICY_FUNCTION Division divide(double t, double l, double inverse) {
  const double n = (t * inverse + kRounder) - kRounder;
  return {n, t - n * l};
}

LRPOLICY_FUNCTION double floor_of(Division t_by_l) { return t_by_l.rest < 0 ? t_by_l.n - 1 : t_by_l.n; }

// By steps of l, and by cycles of 2l iterations.
LRPOLICY_FUNCTION Division steps(const Policy& p, double t) { return divide(t, p.length, p.inverse.hi); }
LRPOLICY_FUNCTION Division cycles(const Policy& p, double t) { return divide(t, 2 * p.length, 0.5 * p.inverse.hi); }

// The triangle wave of period 2l and height l: the distance from t to the nearest multiple of 2l.
LRPOLICY_FUNCTION double fold(const Policy& p, double t) {
  const double distance = std::fabs(cycles(p, t).rest);
  return distance <= p.length ? distance : 2 * p.length - distance;
}

// m/l for a whole m.
LRPOLICY_FUNCTION DoubleDouble fraction(const Policy& p, double m) { return loose_product(p.inverse, m); }

// gamma^n.
LRPOLICY_FUNCTION DoubleDouble gamma_to_the(const Policy& p, double n) {
  return exp2_of(loose_product(p.log2_gamma, n));
}

// 2^(-floor(t/(2l))), 0 below 2^-1022.
LRPOLICY_FUNCTION double halving(const Policy& p, double t) {
  return power_of_two(clamp(-floor_of(cycles(p, t)), kZeroExponent, 0));
}

LRPOLICY_FUNCTION DoubleDouble fixed(const Policy&, double) { return exact(1); }

LRPOLICY_FUNCTION DoubleDouble step(const Policy& p, double t) { return gamma_to_the(p, floor_of(steps(p, t))); }

LRPOLICY_FUNCTION DoubleDouble multistep(const Policy& p, double t) {
  double passed = 0;
  for (std::int64_t j = 0; j < p.parameters.stepvalue_count; ++j) {
    passed += static_cast<double>(p.parameters.stepvalue[j]) <= t ? 1 : 0;
  }
  return gamma_to_the(p, passed);
}

LRPOLICY_FUNCTION DoubleDouble exp(const Policy& p, double t) { return gamma_to_the(p, t); }

LRPOLICY_FUNCTION DoubleDouble inv(const Policy& p, double t) {
  const DoubleDouble product = two_product(p.parameters.gamma, t), sum = two_sum_of_positive(product.hi, 1);
  return power_of({sum.hi, sum.lo + product.lo}, -p.parameters.power);
}

// Zero from max_iter on (one for p = 0), where Caffe has NaN beyond it.
LRPOLICY_FUNCTION DoubleDouble poly(const Policy& p, double t) {
  const double left = p.length - t, power = p.parameters.power;
  const DoubleDouble result = power_of(fraction(p, left), power);  // of no use, but harmless, for left <= 0
  return {left > 0 ? result.hi : (power == 0 ? 1 : 0), left > 0 ? result.lo : 0};
}

LRPOLICY_FUNCTION DoubleDouble tri(const Policy& p, double t) { return fraction(p, fold(p, t)); }

LRPOLICY_FUNCTION DoubleDouble tri2(const Policy& p, double t) { return scale(tri(p, t), halving(p, t)); }

LRPOLICY_FUNCTION DoubleDouble triexp(const Policy& p, double t) {
  return loose_product(gamma_to_the(p, t), tri(p, t));
}

LRPOLICY_FUNCTION DoubleDouble sin(const Policy& p, double t) { return sine_of_quarters(fraction(p, fold(p, t))); }

LRPOLICY_FUNCTION DoubleDouble sin2(const Policy& p, double t) { return scale(sin(p, t), halving(p, t)); }

LRPOLICY_FUNCTION DoubleDouble sinexp(const Policy& p, double t) {
  return product_of_loose(gamma_to_the(p, t), sin(p, t));
}

// (1 + cos(2 pi t/l))/2 = cos^2(pi r/l) = sin^2(pi/2 * |l - 2r|/l), r the distance from t to the nearest multiple of l:
// nothing cancels near the zero.
LRPOLICY_FUNCTION DoubleDouble cos(const Policy& p, double t) {
  const double from_zero = std::fabs(p.length - 2 * std::fabs(steps(p, t).rest));
  return square_of_loose(sine_of_quarters(fraction(p, from_zero)));
}

// 1/(1 + e^x), x = gamma (l - t), by way of q = e^-|x|, which cannot overflow: rises for gamma > 0.
LRPOLICY_FUNCTION DoubleDouble sigmoid(const Policy& p, double t) {
  const double l_less_t = p.length - t;
  const DoubleDouble q = exp2_of(loose_product(two_product(-p.parameters.gamma, std::fabs(l_less_t)), log2_of_e()));
  const DoubleDouble above = {l_less_t > 0 ? q.hi : 1, l_less_t > 0 ? q.lo : 0};
  const DoubleDouble sum = two_sum(1, q.hi);
  return divide_loose(above, {sum.hi, sum.lo + q.lo});
}

// |k0 - k1| * g + min(k0, k1), rounded once, not below min_lr. g.lo is often known last, so it comes last.
LRPOLICY_FUNCTION double rate_of(const Policy& p, DoubleDouble g) {
  const DoubleDouble height = two_product(g.hi, p.span.hi), sum = two_sum_of_positive(height.hi, p.low);
  const double eta = sum.hi + ((sum.lo + (height.lo + g.hi * p.span.lo)) + g.lo * p.span.hi);
  return eta < p.parameters.min_lr ? p.parameters.min_lr : eta;
}

}  // namespace lrpolicy

#endif  // LRPOLICY_POLICY_HPP_
