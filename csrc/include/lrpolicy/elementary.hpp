// log2, exp2 and the sine with a relative error near 2^-60 (C++11, host and device), the same bits on every machine:
// no call of the C library decides a bit, and no step branches, so that a compiler can turn a loop of them into
// vectors. The series are summed in pairs (Estrin's scheme): a single rate waits for fewer operations in a row.
#ifndef LRPOLICY_ELEMENTARY_HPP_
#define LRPOLICY_ELEMENTARY_HPP_

#include <cstring>
#include <lrpolicy/elementary_tables.hpp>

namespace lrpolicy {

// Adding and subtracting this rounds |x| < 2^51 to the nearest whole number, which stands in the sum's lowest bits.
constexpr double kRounder = 6755399441055744.0;  // 1.5 * 2^52

// Powers of two: below 2^-1022 is 0 (the exponent field itself becomes 0), above stays at 2^900.
constexpr double kZeroExponent = -1023;
constexpr double kLargestExponent = 900;

LRPOLICY_FUNCTION std::uint64_t bits_of(double x) {
  std::uint64_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

LRPOLICY_FUNCTION double double_of(std::uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

LRPOLICY_FUNCTION DoubleDouble exact(double x) { return {x, 0.0}; }

// floor(x) for 0 <= x < 2^51.
LRPOLICY_FUNCTION double floor_of(double x) {
  const double nearest = (x + kRounder) - kRounder;
  return nearest > x ? nearest - 1 : nearest;
}

LRPOLICY_FUNCTION double clamp(double x, double least, double most) {
  const double not_above = x > most ? most : x;
  return not_above < least ? least : not_above;
}

// 2^n for a whole n in -1022 .. 1023; 0 for n = -1023.
LRPOLICY_FUNCTION double power_of_two(double n) { return double_of(bits_of(n + (kRounder + 1023)) << 52); }

LRPOLICY_FUNCTION DoubleDouble log2_of_e() { return {1.4426950408889634, 2.0355273740931033e-17}; }
LRPOLICY_FUNCTION DoubleDouble half_pi() { return {1.5707963267948966, 6.123233995736766e-17}; }

// 2^y = 2^n * 2^(k/64) * 2^r with |r| <= 1/128; the Taylor series of 2^r - 1 ends at r^6 (2^-65).
LRPOLICY_FUNCTION DoubleDouble exp2_of(DoubleDouble y) {
  const double high = clamp(y.hi, kZeroExponent, kLargestExponent);
  const double rounded = high * 64 + kRounder;
  const std::uint64_t sixty_fourths = bits_of(rounded);  // its lowest bits hold 64 n + k
  const double two_to_n = double_of(((sixty_fourths >> 6) + 1023) << 52);
  const double r = (high - (rounded - kRounder) * (1.0 / 64)) + y.lo;
  const double r2 = r * r;
  const double tail = (0.2402265069591007 + r * 0.05550410866482158) +
                      r2 * ((0.009618129107628477 + r * 0.001333355814642844) + r2 * 0.0001540353039338161);
  const double series = r * 0.6931471805599453 + r2 * tail;
  const DoubleDouble root = root_of_two(sixty_fourths & 63);
  const DoubleDouble power = quick_two_sum(root.hi, root.lo + root.hi * series);
  return scale(power, two_to_n);
}

// log2(x) = n + log2(1/c) + log2(1 + z) for a positive, normal x, with z = c 2^-n x - 1, |z| <= 2^-8; the series in z
// ends at z^7 (2^-66). The absolute error is near 2^-60, and relative to the result where x is near 1.
LRPOLICY_FUNCTION DoubleDouble log2_of(DoubleDouble x) {
  const std::uint64_t first =
      0x3fe6900000000000;  // the bits of 0.705, where the intervals begin: 1 lies inside one of them
  const std::uint64_t offset = bits_of(x.hi) - first;
  const std::uint64_t field = (offset >> 52) & 0x7ff, whole_n = (field ^ 0x400) - 0x400;  // n, in two's complement
  const double n = double_of(bits_of(kRounder) + whole_n) - kRounder;
  const LogEntry entry = log_entry((offset >> 45) & 127);
  const DoubleDouble mantissa = {double_of(bits_of(x.hi) - (whole_n << 52)), x.lo * double_of((1023 - whole_n) << 52)};
  const DoubleDouble product = loose_product(mantissa, entry.reciprocal);
  const double z = (product.hi - 1) + product.lo;
  const double z2 = z * z;
  const double tail =
      (-0.7213475204444817 + z * 0.4808983469629878) +
      z2 * ((-0.36067376022224085 + z * 0.28853900817779266) + z2 * (-0.2404491734814939 + z * 0.2060992915555662));
  const double series = z * 1.4426950408889634 + z2 * tail;
  const DoubleDouble whole = quick_two_sum(n, entry.log2.hi);
  return quick_two_sum(whole.hi, whole.lo + (entry.log2.lo + series));
}

// x^p for x > 0.
LRPOLICY_FUNCTION DoubleDouble power_of(DoubleDouble x, double p) { return exp2_of(loose_product(log2_of(x), p)); }

// sin(pi/2 * x) for 0 <= x <= 1: the nearest k/64 from the table, the rest by the addition theorem.
LRPOLICY_FUNCTION DoubleDouble sine_of_quarters(DoubleDouble x) {
  const double rounded = x.hi * 64 + kRounder;
  const std::uint64_t k = bits_of(rounded) & 127;
  const DoubleDouble rest = quick_two_sum(x.hi - (rounded - kRounder) * (1.0 / 64), x.lo);
  const DoubleDouble angle = loose_product(rest, half_pi());
  const double a2 = angle.hi * angle.hi;
  const double sine_tail = angle.hi * a2 * (-1.0 / 6 + a2 * (1.0 / 120 + a2 * (-1.0 / 5040)));
  const double cosine_less_1 = a2 * (-0.5 + a2 * (1.0 / 24 + a2 * (-1.0 / 720)));
  const DoubleDouble sine = sine_entry(k), cosine = sine_entry(64 - k);
  const DoubleDouble product = two_product(cosine.hi, angle.hi);
  const DoubleDouble sum = two_sum(sine.hi, product.hi);
  const double small = sine.lo + product.lo + cosine.hi * (angle.lo + sine_tail) + cosine.lo * angle.hi;
  return quick_two_sum(sum.hi, sum.lo + (small + sine.hi * cosine_less_1));
}

}  // namespace lrpolicy

#endif  // LRPOLICY_ELEMENTARY_HPP_
