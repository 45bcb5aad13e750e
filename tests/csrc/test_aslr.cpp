#include <gtest/gtest.h>

#include <limits>
#include <lrpolicy/aslr.hpp>

#include "known_answers.hpp"

namespace lrpolicy {
namespace {

TEST(Aslr, WalksLikeDecimalArithmetic) {
  AslrState state{};
  for (const auto& row : read_sheet("aslr_walk_known_answers.tsv")) {
    if (row[1] == "1") state = aslr_start(std::stod(row[0]));
    state = aslr_update(state, std::stod(row[2]));
    ASSERT_EQ(value(state.center), std::stod(row[3])) << row[0] << " epoch " << row[1];
    ASSERT_EQ(state.search_direction, std::stoi(row[4])) << row[0] << " epoch " << row[1];
    ASSERT_EQ(state.search_range, std::stoll(row[5])) << row[0] << " epoch " << row[1];
    ASSERT_EQ(state.search_steps, std::stoll(row[6])) << row[0] << " epoch " << row[1];
  }
}

TEST(Aslr, DrawsLikeFractions) {
  const auto rows = read_sheet("aslr_draw_known_answers.tsv");
  ASSERT_EQ(rows.size(), 288u);
  for (const auto& row : rows) {
    const double rate = aslr_draw(nearest_decimal(std::stod(row[0])), std::stoull(row[1]), std::stoull(row[2]),
                                  static_cast<std::uint32_t>(std::stoul(row[3])));
    EXPECT_EQ(rate, std::stod(row[4])) << row[0] << " " << row[1] << " " << row[2] << " " << row[3];
  }
}

// A NaN first of all once ended an earlier implementation's search for ever.
TEST(Aslr, RecoversFromANanFirstOfAll) {
  AslrState state = aslr_update(aslr_start(0.1), std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(value(state.center), 0.2);
  state = aslr_update(state, 3.0);
  EXPECT_EQ(state.min_cost, 3.0);
  EXPECT_EQ(value(state.center), 0.2);
}

TEST(Aslr, DrawsStayBetweenTheNeighbours) {
  for (const Decimal center : {Decimal{1, -22}, Decimal{9, -3}, Decimal{9, 22}}) {
    EXPECT_GT(aslr_rate(center, 0x1p-33), 0);
    EXPECT_LE(aslr_rate(center, 1 - 0x1p-33), value(center) + width(center) / 2);
    EXPECT_GE(aslr_rate(center, 0x1p-33), value(center) - width(center) / 2);
  }
}

}  // namespace
}  // namespace lrpolicy
