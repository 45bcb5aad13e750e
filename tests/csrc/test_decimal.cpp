#include <gtest/gtest.h>

#include <lrpolicy/decimal.hpp>

#include "known_answers.hpp"

namespace lrpolicy {
namespace {

TEST(Decimal, WalksLikeTheKnownAnswers) {
  for (const auto& row : read_sheet("decimal_known_answers.tsv")) {
    Decimal decimal = nearest_decimal(std::stod(row[0]));
    for (int step = 0; step < std::stoi(row[2]); ++step) decimal = row[1] == "up" ? up(decimal) : down(decimal);
    EXPECT_EQ(value(decimal), std::stod(row[3])) << row[0] << " " << row[1] << " " << row[2];
  }
}

TEST(Decimal, UpUndoesDownEverywhere) {
  for (Decimal decimal = {9, kLargestDecimalExponent}; !(decimal == Decimal{1, -kLargestDecimalExponent});) {
    const Decimal below = down(decimal);
    EXPECT_TRUE(up(below) == decimal);
    EXPECT_LT(value(below), value(decimal));
    EXPECT_TRUE(nearest_decimal(value(decimal)) == decimal);
    decimal = below;
  }
  EXPECT_TRUE(down({1, -kLargestDecimalExponent}) == (Decimal{1, -kLargestDecimalExponent}));
  EXPECT_TRUE(up({9, kLargestDecimalExponent}) == (Decimal{9, kLargestDecimalExponent}));
}

// An earlier implementation truncated 0.25 to 0.2 and 0.0003 to 0.0002.
TEST(Decimal, SnapsByRounding) {
  EXPECT_TRUE(nearest_decimal(0.25) == (Decimal{3, -1}));
  EXPECT_TRUE(nearest_decimal(0.0003) == (Decimal{3, -4}));
  EXPECT_TRUE(nearest_decimal(0.096) == (Decimal{1, -1}));
  EXPECT_TRUE(nearest_decimal(1e-300) == (Decimal{1, -kLargestDecimalExponent}));
  EXPECT_TRUE(nearest_decimal(1e300) == (Decimal{9, kLargestDecimalExponent}));
}

TEST(Decimal, WidthIsThePowerOfTen) {
  EXPECT_EQ(width({7, -3}), 0.001);
  EXPECT_EQ(width({1, 2}), 100);
}

}  // namespace
}  // namespace lrpolicy
