// Numbers of about 106 bits as the unevaluated sum of two doubles, |lo| <= ulp(hi)/2 (C++11, host and device).
//
// Each function is exact or errs by a few units of 2^-104. Only +, -, *, / on doubles are used, each rounded by IEEE
// 754, so every machine gives the same bits; a fused multiply-add serves where it exists, because two_product is exact
// with it and without it.
#ifndef LRPOLICY_DOUBLE_DOUBLE_HPP_
#define LRPOLICY_DOUBLE_DOUBLE_HPP_

#include <lrpolicy/platform.hpp>

namespace lrpolicy {

struct DoubleDouble {
  double hi, lo;
};

// a + b exactly.
LRPOLICY_FUNCTION DoubleDouble two_sum(double a, double b) {
  const double sum = a + b;
  const double b_part = sum - a;
  return {sum, (a - (sum - b_part)) + (b - b_part)};
}

// a + b exactly, for a and b that are 0 or above: a comparison takes the place of two additions in a row.
LRPOLICY_FUNCTION DoubleDouble two_sum_of_positive(double a, double b) {
  const double sum = a + b;
  return {sum, a >= b ? b - (sum - a) : a - (sum - b)};
}

// a + b exactly, for |a| >= |b| or a = 0.
LRPOLICY_FUNCTION DoubleDouble quick_two_sum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

// a * b exactly, while the product stays within 2^-960 .. 2^970.
LRPOLICY_FUNCTION DoubleDouble two_product(double a, double b) {
  const double product = a * b;
#if defined(__CUDA_ARCH__)
  return {product, __fma_rn(a, b, -product)};
#elif defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return {product, __builtin_fma(a, b, -product)};
#else
  // Veltkamp's splitting: each half has 26 bits, so that the four partial products are exact (Dekker 1971).
  const double a_scaled = 134217729.0 * a, b_scaled = 134217729.0 * b;
  const double a_high = a_scaled - (a_scaled - a), b_high = b_scaled - (b_scaled - b);
  const double a_low = a - a_high, b_low = b - b_high;
  return {product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low};
#endif
}

// a * b - 1 rounded once, for 1/2 <= a * b <= 2.
LRPOLICY_FUNCTION double product_less_one(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __fma_rn(a, b, -1);
#elif defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fma(a, b, -1);
#else
  const DoubleDouble product = two_product(a, b);
  return (product.hi - 1) + product.lo;
#endif
}

LRPOLICY_FUNCTION DoubleDouble add(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble high = two_sum(a.hi, b.hi);
  const DoubleDouble low = two_sum(a.lo, b.lo);
  const DoubleDouble sum = quick_two_sum(high.hi, high.lo + low.hi);
  return quick_two_sum(sum.hi, sum.lo + low.lo);
}

LRPOLICY_FUNCTION DoubleDouble add(DoubleDouble a, double b) {
  const DoubleDouble high = two_sum(a.hi, b);
  return quick_two_sum(high.hi, high.lo + a.lo);
}

// a * b with a lo of up to a few ulp(hi): for a product that goes into one more operation.
LRPOLICY_FUNCTION DoubleDouble loose_product(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble product = two_product(a.hi, b.hi);
  return {product.hi, product.lo + (a.hi * b.lo + a.lo * b.hi)};
}

LRPOLICY_FUNCTION DoubleDouble loose_product(DoubleDouble a, double b) {
  const DoubleDouble product = two_product(a.hi, b);
  return {product.hi, product.lo + a.lo * b};
}

// The same for factors whose lo are large themselves: lo * lo is not left out.
LRPOLICY_FUNCTION DoubleDouble product_of_loose(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble product = two_product(a.hi, b.hi);
  return {product.hi, product.lo + (a.hi * b.lo + a.lo * (b.hi + b.lo))};
}

LRPOLICY_FUNCTION DoubleDouble multiply(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble product = loose_product(a, b);
  return quick_two_sum(product.hi, product.lo);
}

LRPOLICY_FUNCTION DoubleDouble multiply(DoubleDouble a, double b) {
  const DoubleDouble product = loose_product(a, b);
  return quick_two_sum(product.hi, product.lo);
}

LRPOLICY_FUNCTION DoubleDouble scale(DoubleDouble a, double power_of_two) {
  return {a.hi * power_of_two, a.lo * power_of_two};
}

// a / b by two steps of long division.
LRPOLICY_FUNCTION DoubleDouble divide(DoubleDouble a, DoubleDouble b) {
  const double first = a.hi / b.hi;
  const DoubleDouble rest = add(a, multiply(b, -first));
  const double second = rest.hi / b.hi;
  const DoubleDouble rest2 = add(rest, multiply(b, -second));
  return add(quick_two_sum(first, second), rest2.hi / b.hi);
}

// a^2, for an a whose lo is large.
LRPOLICY_FUNCTION DoubleDouble square_of_loose(DoubleDouble a) {
  const DoubleDouble square = two_product(a.hi, a.hi);
  return {square.hi, square.lo + a.lo * (2 * a.hi + a.lo)};
}

// a / b, for an a and a b whose lo are up to hi/128 and may be known late: the first quotient does not wait for them.
LRPOLICY_FUNCTION DoubleDouble divide_loose(DoubleDouble a, DoubleDouble b) {
  const double quotient = a.hi / b.hi;
  const DoubleDouble product = two_product(quotient, b.hi);
  return {quotient, (((a.hi - product.hi) - product.lo) + (a.lo - quotient * b.lo)) / (b.hi + b.lo)};
}

}  // namespace lrpolicy

#endif  // LRPOLICY_DOUBLE_DOUBLE_HPP_
