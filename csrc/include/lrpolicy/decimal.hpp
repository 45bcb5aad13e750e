// ASLR's rates: one decimal digit times a power of ten (ASLR paper, Algorithm 1; C++11, host and device).
//
// The paper walks a double by its own power of ten: 0.1, 0.09, ..., 0.010000000000000011, 1e-17, and the training stops
// unnoticed. Here the digit and the exponent are whole numbers, so that a walk never drifts.
#ifndef LRPOLICY_DECIMAL_HPP_
#define LRPOLICY_DECIMAL_HPP_

#include <lrpolicy/platform.hpp>

namespace lrpolicy {

// digit * 10^exponent, digit 1 .. 9, exponent -22 .. 22: the powers of ten that a double holds exactly.
struct Decimal {
  int digit;
  int exponent;
};

constexpr int kLargestDecimalExponent = 22;

LRPOLICY_FUNCTION bool operator==(Decimal a, Decimal b) { return a.digit == b.digit && a.exponent == b.exponent; }

// 10^n for 0 <= n <= 22, exact.
LRPOLICY_FUNCTION double power_of_ten(int n) {
  double power = 1;
  for (int i = 0; i < n; ++i) power *= 10;
  return power;
}

// The double nearest to the decimal: one rounding, as of a literal.
LRPOLICY_FUNCTION double value(Decimal d) {
  return d.exponent < 0 ? d.digit / power_of_ten(-d.exponent) : d.digit * power_of_ten(d.exponent);
}

// The distance to the next decimal above, 10^exponent: the width s of ASLR's draws.
LRPOLICY_FUNCTION double width(Decimal d) { return value({1, d.exponent}); }

// The next decimal above: up from 9 is 1 with the next exponent. 9e22 stays.
LRPOLICY_FUNCTION Decimal up(Decimal d) {
  if (d.digit < 9) return {d.digit + 1, d.exponent};
  return d.exponent < kLargestDecimalExponent ? Decimal{1, d.exponent + 1} : d;
}

// The next decimal below: down from 1 is 9 with the exponent before (the paper's 0.9 branch). 1e-22 stays.
LRPOLICY_FUNCTION Decimal down(Decimal d) {
  if (d.digit > 1) return {d.digit - 1, d.exponent};
  return d.exponent > -kLargestDecimalExponent ? Decimal{9, d.exponent - 1} : d;
}

// The decimal nearest to x > 0, halves upwards: 0.25 is 0.3, 0.096 is 0.1. Beyond the ends, the end.
LRPOLICY_FUNCTION Decimal nearest_decimal(double x) {
  for (int exponent = -kLargestDecimalExponent; exponent <= kLargestDecimalExponent; ++exponent) {
    const double scaled = exponent < 0 ? x * power_of_ten(-exponent) : x / power_of_ten(exponent);
    if (scaled < 0.95) return {1, exponent};
    if (scaled < 9.5) return {static_cast<int>(scaled + 0.5), exponent};
  }
  return {9, kLargestDecimalExponent};
}

}  // namespace lrpolicy

#endif  // LRPOLICY_DECIMAL_HPP_
