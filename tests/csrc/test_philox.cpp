#include <gtest/gtest.h>

#include <lrpolicy/philox.hpp>

#include "known_answers.hpp"

namespace lrpolicy {
namespace {

TEST(Philox, GivesThePublishedVectors) {
  const auto rows = read_sheet("philox_known_answers.tsv");
  ASSERT_EQ(rows.size(), 3u);
  for (const auto& row : rows) {
    const auto word = [&row](std::size_t column, std::size_t index) {
      return static_cast<std::uint32_t>(std::stoul(split(row[column], ' ')[index], nullptr, 16));
    };
    const PhiloxCounter result =
        philox4x32({{word(0, 0), word(0, 1), word(0, 2), word(0, 3)}}, {{word(1, 0), word(1, 1)}});
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(result.word[i], word(2, i)) << row[0];
  }
}

}  // namespace
}  // namespace lrpolicy
