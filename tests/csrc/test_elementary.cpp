// The tables against identities that tie every entry to exact numbers, and the functions against independent series.
#include <gtest/gtest.h>

#include <cmath>
#include <lrpolicy/prepare.hpp>

namespace lrpolicy {
namespace {

double distance(DoubleDouble a, DoubleDouble b) { return std::fabs(add(a, DoubleDouble{-b.hi, -b.lo}).hi); }

TEST(Tables, RootsOfTwoHaveTheRightPowers) {
  for (unsigned k = 0; k < 64; ++k) {
    DoubleDouble power = root_of_two(k);
    for (int square = 0; square < 6; ++square) power = multiply(power, power);
    EXPECT_LT(distance(power, exact(std::ldexp(1.0, static_cast<int>(k)))), std::ldexp(1.0, static_cast<int>(k) - 95));
  }
}

TEST(Tables, SinesObeyTheDoubleAngleIdentities) {
  EXPECT_EQ(sine_entry(0).hi, 0);
  EXPECT_EQ(sine_entry(64).hi, 1);
  for (unsigned k = 0; k <= 32; ++k) {
    const DoubleDouble sine = sine_entry(k), cosine = sine_entry(64 - k);
    EXPECT_LT(distance(scale(multiply(sine, cosine), 2), sine_entry(2 * k)), 1e-31);
    EXPECT_LT(distance(add(scale(multiply(sine, sine), -2), 1), sine_entry(64 - 2 * k)), 1e-31);
    EXPECT_LT(distance(add(multiply(sine, sine), multiply(cosine, cosine)), exact(1)), 1e-31);
  }
}

TEST(Tables, LogarithmsBelongToTheirReciprocals) {
  for (unsigned k = 0; k < 128; ++k) {
    const LogEntry entry = log_entry(k);
    EXPECT_LT(distance(log2_exactly(1 / entry.reciprocal), entry.log2), 2e-16);
    const DoubleDouble negated = {-entry.log2.hi, -entry.log2.lo};
    EXPECT_LT(distance(log2_exactly(entry.reciprocal), negated), 1e-31);
  }
}

TEST(Elementary, Log2AgreesWithItsSeries) {
  for (double x = 0.001; x < 1e6; x *= 1.00371) {
    EXPECT_LT(distance(log2_of(exact(x)), log2_exactly(x)), 2e-18 * std::fmax(1, std::fabs(std::log2(x)))) << x;
  }
  EXPECT_EQ(log2_of(exact(1)).hi, 0);
  EXPECT_EQ(log2_of(exact(1024)).hi, 10);
  EXPECT_LT(std::fabs(log2_of(exact(1 + 1e-13)).hi / log2_exactly(1 + 1e-13).hi - 1), 1e-15);
}

TEST(Elementary, Exp2UndoesLog2) {
  for (double x = 0.0011; x < 1e6; x *= 1.00373) {
    EXPECT_LT(distance(exp2_of(log2_exactly(x)), exact(x)), 3e-18 * x) << x;
  }
  EXPECT_EQ(exp2_of(exact(0)).hi, 1);
  EXPECT_EQ(exp2_of(exact(-1022)).hi, std::ldexp(1.0, -1022));
  EXPECT_EQ(exp2_of(exact(-1e30)).hi, 0);
  for (const double y : {901.0, 1e30, HUGE_VAL}) EXPECT_GE(exp2_of({y, y}).hi, std::ldexp(1.0, 900)) << y;
  for (const double y : {-1023.5, -1e30, -HUGE_VAL}) EXPECT_EQ(exp2_of({y, y}).hi + exp2_of({y, y}).lo, 0) << y;
  EXPECT_TRUE(std::isfinite(exp2_of({1e30, 1e300}).lo));
}

TEST(Elementary, SquaresOfSineAndCosineAddUpToOne) {
  Policy p{};
  for (int l = 3; l < 1000; ++l) {
    p.length = l;
    p.inverse = divide(exact(1), exact(l));
    for (int m = 0; m <= l; ++m) {
      const DoubleDouble sine = sine_of_quarters(fraction(p, m)), cosine = sine_of_quarters(fraction(p, l - m));
      const DoubleDouble sum = add(square_of_loose(sine), square_of_loose(cosine));
      EXPECT_LT(distance(sum, exact(1)), 5e-19) << m << "/" << l;
    }
  }
}

TEST(Elementary, ALargePowerOfASmallNumberIsZero) {
  EXPECT_EQ(power_of(exact(0.3), 1e100).hi, 0);
  EXPECT_EQ(power_of({0.3, 1e-17}, 1e100).lo, 0);
}

TEST(DoubleDouble, ProductsAndSumsAreExact) {
  for (int i = 1; i < 200; ++i) {
    const double a = std::sin(i) * std::ldexp(1.0, i % 40), b = std::cos(i);
    EXPECT_EQ(two_product(a, b).lo, std::fma(a, b, -(a * b)));
    const DoubleDouble sum = two_sum(a, b), difference = two_sum(sum.hi, -a);
    EXPECT_EQ(sum.hi, a + b);
    EXPECT_EQ(difference.hi + (difference.lo + sum.lo), b);
  }
}

}  // namespace
}  // namespace lrpolicy
