#include <gtest/gtest.h>

#include "known_answers.hpp"

namespace lrpolicy {
namespace {

std::string message(const std::string& name, const std::string& text) {
  try {
    const NamedPolicy policy(name, text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Prepare, SaysWhatIsWrong) {
  EXPECT_EQ(message("tri2", "base_lr=0.01 stepsize=10"),
            "policy \"tri2\" needs max_lr (k1, the other end of the range); add for example  max_lr: 0.06");
  EXPECT_EQ(message("tri", "base_lr=0.01 max_lr=0.06 stepsize=0"),
            "stepsize must be a whole number from 1 to 2^50, got 0");
  EXPECT_EQ(message("exp", "base_lr=0.01 gamma=-0.5"), "gamma must be a number from 0 to 1e100, got -0.5");
  EXPECT_EQ(message("exp", "base_lr=nan gamma=0.5"), "base_lr must be a number from 0 to 1e100, got nan");
  EXPECT_EQ(message("exp", "base_lr=inf gamma=0.5"), "base_lr must be a number from 0 to 1e100, got inf");
  EXPECT_EQ(message("multistep", "base_lr=1 gamma=0.5 stepvalue=5,3"),
            "stepvalue must be strictly increasing, got 3 after 5");
  EXPECT_EQ(message("multistep", "base_lr=1 gamma=0.5 stepvalue=0,3"),
            "stepvalue must be a whole number from 1 to 2^50, got 0");
  EXPECT_EQ(message("multistep", "base_lr=1 gamma=0.5 stepvalue="),
            "stepvalue must name at least one iteration, got none");
  EXPECT_EQ(message("fixed", "base_lr=1 gamma=0.5"), "policy \"fixed\" takes no gamma; it takes base_lr");
  EXPECT_EQ(message("exp", "base_lr=0.1 min_lr=0.2 gamma=0.5"), "min_lr must not be above base_lr, got 0.2 > 0.1");
}

TEST(PolicyTable, HasThePapersThirteenAndCaffesSigmoid) {
  int papers = 0;
  for (const PolicyRow& row : kPolicies) {
    EXPECT_EQ(find_policy(row.name), &row);
    EXPECT_TRUE(row.required & kBaseLr) << row.name;
    EXPECT_FALSE(row.required & row.optional) << row.name;
    papers += row.family != Family::kExtra ? 1 : 0;
  }
  EXPECT_EQ(papers, 13);
  EXPECT_EQ(find_policy("tri3"), nullptr);
  for (const AliasRow& row : kAliases) {
    EXPECT_EQ(find_policy(row.alias), nullptr);
    EXPECT_NE(find_policy(row.name), nullptr);
  }
}

}  // namespace
}  // namespace lrpolicy
