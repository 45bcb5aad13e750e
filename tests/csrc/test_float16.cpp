#include <gtest/gtest.h>

#include <cmath>
#include <lrpolicy/float16.hpp>

namespace lrpolicy {
namespace {

// The value of a 16-bit number as its definition says: (-1)^s * fraction * 2^exponent.
double value(unsigned bits, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1, all_ones = (1 << exponent_bits) - 1;
  const int exponent = static_cast<int>(bits >> fraction_bits) & all_ones;
  const int fraction = static_cast<int>(bits) & ((1 << fraction_bits) - 1);
  const double sign = bits >> 15 != 0 ? -1 : 1;
  if (exponent == all_ones) return fraction != 0 ? std::nan("") : sign * HUGE_VAL;
  const int implicit = exponent > 0 ? 1 << fraction_bits : 0;
  return sign * std::ldexp(implicit + fraction, (exponent > 0 ? exponent : 1) - bias - fraction_bits);
}

void expect_equal(double expected, double actual, unsigned bits) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(actual)) << bits;
  } else {
    EXPECT_EQ(expected, actual) << bits;
    EXPECT_EQ(std::signbit(expected), std::signbit(actual)) << bits;
  }
}

TEST(Float16, EveryNumberIsWidenedExactly) {
  for (unsigned bits = 0; bits < 1u << 16; ++bits) {
    expect_equal(value(bits, 5, 10), widen(Float16{static_cast<std::uint16_t>(bits)}), bits);
    expect_equal(value(bits, 8, 7), widen(BFloat16{static_cast<std::uint16_t>(bits)}), bits);
  }
}

}  // namespace
}  // namespace lrpolicy
