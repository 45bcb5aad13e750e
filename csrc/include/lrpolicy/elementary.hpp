// log2, exp2 and the sine with a relative error near 2^-60 (C++11, host and device), the same bits on every machine:
// no call of the C library decides a bit, and no step branches, so that a compiler can turn a loop of them into
// vectors. The series are summed in pairs (Estrin's scheme), and what is known late is added last: a single rate waits
// for fewer operations in a row.
#ifndef LRPOLICY_ELEMENTARY_HPP_
#define LRPOLICY_ELEMENTARY_HPP_

#include <cstring>
#include <lrpolicy/elementary_tables.hpp>

namespace lrpolicy {

// Adding and subtracting this rounds |x| < 2^51 to the nearest whole number, which stands in the sum's lowest bits.
constexpr double kRounder = 6755399441055744.0;  // 1.5 * 2^52
// The same for |x| < 2^45 and the nearest 64th.
constexpr double kSixtyFourths = kRounder / 64;

// Powers of two: below 2^-1022 is 0 (the exponent field itself becomes 0), above 2^900 only that much is certain.
constexpr double kZeroExponent = -1023;
constexpr double kLargestExponent = 900;
constexpr double kLargestPower = 8.452712498170644e270;  // 2^900

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

LRPOLICY_FUNCTION double clamp(double x, double least, double most) {
  const double not_above = x > most ? most : x;
  return not_above < least ? least : not_above;
}

// 2^n for a whole n in -1022 .. 1023; 0 for n = -1023.
LRPOLICY_FUNCTION double power_of_two(double n) { return double_of(bits_of(n + (kRounder + 1023)) << 52); }

LRPOLICY_FUNCTION DoubleDouble log2_of_e() { return {1.4426950408889634, 2.0355273740931033e-17}; }
LRPOLICY_FUNCTION DoubleDouble half_pi() { return {1.5707963267948966, 6.123233995736766e-17}; }

// 2^y = 2^n * 2^(k/64) * 2^r with |r| <= 1/128; the Taylor series of 2^r - 1 ends at r^6 (2^-65). Its lo is up to
// hi/128 and rounded once, so that what is done with hi need not wait for the series.
LRPOLICY_FUNCTION DoubleDouble exp2_of(DoubleDouble y) {
  // Beyond, y.lo may be of any size, and 0 * infinity would be NaN. With && a loop would not become vectors.
  const bool within = (y.hi >= kZeroExponent) & (y.hi <= kLargestExponent);
  const double beyond = y.hi > 0 ? kLargestPower : 0;
  const double rounded = y.hi + kSixtyFourths;
  const std::uint64_t sixty_fourths = bits_of(rounded);  // its lowest bits hold 64 n + k
  const double two_to_n = within ? double_of(((sixty_fourths >> 6) + 1023) << 52) : beyond;
  const double rest = (y.hi - (rounded - kSixtyFourths)) + y.lo;
  const double r = within ? rest : 0, r2 = r * r;
  const DoubleDouble root = scale(root_of_two(sixty_fourths & 63), two_to_n);
  const double low_terms = r * 0.6931471805599453, middle = 0.2402265069591007 + r * 0.05550410866482158;
  const double high_terms = (0.009618129107628477 + r * 0.001333355814642844) + r2 * 0.0001540353039338161;
  const double up_to_r3 = (root.lo + root.hi * low_terms) + (root.hi * r2) * middle;
  return {root.hi, up_to_r3 + (root.hi * (r2 * r2)) * high_terms};
}

// log2(x) = n + log2(1/c) + log2(1 + z) for a positive, normal x, with z = c 2^-n x - 1, |z| <= 2^-8. The series in z
// ends at z^6, the terms of z^3 and z^5 standing in for z^7 as well as they can (2^-63); what x.lo adds to z is only
// multiplied by the slope at z = 0. The absolute error is near 2^-60.
LRPOLICY_FUNCTION DoubleDouble log2_of(DoubleDouble x) {
  const std::uint64_t first =
      0x3fe6900000000000;  // the bits of 0.705, where the intervals begin: 1 lies inside one of them
  const std::uint64_t offset = bits_of(x.hi) - first;
  const std::uint64_t field = (offset >> 52) & 0x7ff, whole_n = (field ^ 0x400) - 0x400;  // n, in two's complement
  const double n = double_of(bits_of(kRounder) + whole_n) - kRounder;
  const LogEntry entry = log_entry((offset >> 45) & 127);
  const double mantissa = double_of(bits_of(x.hi) - (whole_n << 52));
  const double rest = x.lo * double_of((1023 - whole_n) << 52);
  const double z = product_less_one(mantissa, entry.reciprocal), z2 = z * z;
  const double of_rest = rest * (entry.reciprocal * 1.4426950408889634);
  const double middle = -0.7213475204444817 + z * 0.4808983469382824;
  const double high_terms = (-0.36067376022224085 + z * 0.2885436898925706) + z2 * -0.2404491734814939;
  const DoubleDouble whole = quick_two_sum(n, entry.log2.hi);
  const double up_to_z3 = (((whole.lo + entry.log2.lo) + z * 1.4426950408889634) + of_rest) + z2 * middle;
  return quick_two_sum(whole.hi, up_to_z3 + (z2 * z2) * high_terms);
}

// x^p for x > 0, with a relative error near p * 2^-60.
LRPOLICY_FUNCTION DoubleDouble power_of(DoubleDouble x, double p) { return exp2_of(loose_product(log2_of(x), p)); }

// sin(pi/2 * x) for 0 <= x <= 1: the nearest k/64 from the table, the rest by the addition theorem. Its lo is up to
// hi/2^13 and rounded once. The table's sine is 0 or larger than what the rest adds. angle.lo counts in the square too:
// where x lies just below k/64, x.lo is not small beside the rest.
LRPOLICY_FUNCTION DoubleDouble sine_of_quarters(DoubleDouble x) {
  const double rounded = x.hi + kSixtyFourths;
  const std::uint64_t k = bits_of(rounded) & 127;
  const DoubleDouble angle = loose_product({x.hi - (rounded - kSixtyFourths), x.lo}, half_pi());
  const DoubleDouble sine = sine_entry(k), cosine = sine_entry(64 - k);
  const DoubleDouble product = two_product(cosine.hi, angle.hi), sum = quick_two_sum(sine.hi, product.hi);
  const double first_order = (sine.lo + product.lo) + (cosine.hi * angle.lo + cosine.lo * angle.hi);
  const double a2 = angle.hi * (angle.hi + 2 * angle.lo), a4 = a2 * a2;
  const double sine_tail = (-1.0 / 6 + a2 * (1.0 / 120)) + a4 * (-1.0 / 5040);  // (sin a - a)/a^3
  const double cosine_tail = (-0.5 + a2 * (1.0 / 24)) + a4 * (-1.0 / 720);      // (cos a - 1)/a^2
  return {sum.hi, (sum.lo + first_order) + ((sine.hi * a2) * cosine_tail + (product.hi * a2) * sine_tail)};
}

}  // namespace lrpolicy

#endif  // LRPOLICY_ELEMENTARY_HPP_
