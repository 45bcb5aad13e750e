#include <gtest/gtest.h>

#include <lrpolicy/strategy.hpp>

#include "known_answers.hpp"

namespace lrpolicy {
namespace {

TEST(Sequence, EqualsTheKnownAnswers) {
  const auto rows = read_sheet("sequence_known_answers.tsv");
  ASSERT_EQ(rows.size(), 136u);
  for (const auto& row : rows) {
    const double rate = sequence_rate(find_row(kSequences, "sequence", row[0]), std::stod(row[1]), std::stoll(row[2]));
    EXPECT_EQ(rate, std::stod(row[3])) << row[0] << " after " << row[2];
  }
}

// The authors' saved optimizers: r0/51, r0/sqrt(51), 0.9^50 r0, 0.02 r0.
TEST(Sequence, AfterFiftyAdvancesStandsWhereTheAuthorsRunsStood) {
  const double r0 = 0.01;
  EXPECT_DOUBLE_EQ(sequence_rate(kSequences[0], r0, 50), r0 / 51);
  EXPECT_DOUBLE_EQ(sequence_rate(kSequences[1], r0, 50), r0 / std::sqrt(51.0));
  EXPECT_NEAR(sequence_rate(kSequences[2], r0, 50), r0 * std::pow(0.9, 50), 1e-18);
  EXPECT_DOUBLE_EQ(sequence_rate(kSequences[3], r0, 50), 0.02 * r0);
}

TEST(Sequence, StaysFiniteAndNeverNegative) {
  for (const SequenceRow& row : kSequences) {
    for (const std::int64_t advances : {std::int64_t{1} << 20, kMaxIteration}) {
      const double rate = sequence_rate(row, 0.5, advances);
      EXPECT_GE(rate, 0) << row.name;
      EXPECT_LT(rate, 1e-3) << row.name;
    }
  }
}

}  // namespace
}  // namespace lrpolicy
