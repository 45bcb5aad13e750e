#include <gtest/gtest.h>

#include "plan.hpp"

namespace lrpolicy {
namespace {

TEST(Plan, PiecesCoverEachTensorOnceAndAreNodesOfTheTree) {
  const std::int64_t counts[] = {0, 1, kBlock - 1, kBlock, kBlock + 1, 100'000, 0, 16 * kBlock, 16 * kBlock + 1};
  for (const std::int64_t blocks : {1, 4, 16}) {
    std::int64_t covered[std::size(counts)] = {};
    for (const Piece& piece : pieces_of(counts, std::size(counts), blocks)) {
      EXPECT_EQ(covered[piece.tensor], piece.first);
      EXPECT_EQ(piece.first % (blocks * kBlock), 0);
      EXPECT_GT(piece.count, 0);
      EXPECT_LE(piece.count, blocks * kBlock);
      covered[piece.tensor] += piece.count;
    }
    for (std::size_t i = 0; i < std::size(counts); ++i) EXPECT_EQ(covered[i], counts[i]);
  }
}

TEST(Plan, WrongSizesAreRefused) {
  Plan* plan = nullptr;
  const std::int64_t negative[] = {3, -1}, huge[] = {std::int64_t{1} << 58, 1};
  EXPECT_EQ(lrpolicy_plan_make(negative, 2, &plan), Status::kBadCount);
  EXPECT_EQ(lrpolicy_plan_make(huge, 2, &plan), Status::kBadCount);
  EXPECT_EQ(lrpolicy_plan_make(negative, -1, &plan), Status::kBadCount);
  EXPECT_EQ(lrpolicy_plan_make(nullptr, 1, &plan), Status::kNullPointer);
  EXPECT_EQ(lrpolicy_plan_make(negative, 1, nullptr), Status::kNullPointer);
  EXPECT_EQ(plan, nullptr);
}

TEST(Plan, EveryStatusHasItsSentence) {
  for (int status = 0; status <= static_cast<int>(Status::kCudaFailed); ++status) {
    EXPECT_STRNE(lrpolicy_status_text(static_cast<Status>(status)), "unknown status");
  }
  EXPECT_STREQ(lrpolicy_status_text(static_cast<Status>(99)), "unknown status");
}

}  // namespace
}  // namespace lrpolicy
