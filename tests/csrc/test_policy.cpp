#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "known_answers.hpp"

namespace lrpolicy {
namespace {

// Goal G8: 4e-16 where only arithmetic and sines are involved, 1e-15 for the powers.
double allowed_error(const std::string& name) {
  static const std::set<std::string> tight = {"fixed", "step", "multistep", "tri", "tri2", "sin", "sin2", "cos"};
  return tight.count(name) ? 4e-16 : 1e-15;
}

TEST(Policy, AgreesWithArbitraryPrecision) {
  std::set<std::string> seen;
  for (const auto& row : read_sheet("policy_known_answers.tsv")) {
    const NamedPolicy policy(row[0], row[1]);
    const double nearest = std::stod(row[3]), rest = std::stod(row[4]);
    const double result = rate(*policy, std::stoll(row[2]));
    const double error = std::fabs((result - nearest) - rest);
    EXPECT_LE(error, allowed_error(row[0]) * nearest) << row[0] << " " << row[1] << " at " << row[2];
    seen.insert(row[0]);
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kPolicyCount));
}

TEST(Policy, IsAPureFunctionOfTheIteration) {
  for (const auto& each : one_of_each()) {
    const NamedPolicy policy(each.first, each.second), other(each.first, each.second);
    std::map<std::int64_t, double> upwards;
    for (std::int64_t t = 0; t <= 3100; t += 7) upwards[t] = rate(*policy, t);
    for (auto entry = upwards.rbegin(); entry != upwards.rend(); ++entry) {
      EXPECT_EQ(rate(*policy, entry->first), entry->second) << each.first;
      EXPECT_EQ(rate(*other, entry->first), entry->second) << each.first;
    }
  }
}

TEST(Policy, TouchesBothEndsOfItsRangeExactly) {
  for (const std::string name : {"tri", "tri2", "sin", "sin2"}) {
    for (const std::string ends : {"base_lr=0.013 max_lr=0.067", "base_lr=0.067 max_lr=0.013"}) {
      const NamedPolicy policy(name, ends + " stepsize=1999");
      EXPECT_EQ(rate(*policy, 0), 0.013) << name;
      EXPECT_EQ(rate(*policy, 1999), 0.067) << name;
    }
  }
  const NamedPolicy cosine("cos", "base_lr=0.013 max_lr=0.067 stepsize=2000");
  EXPECT_EQ(rate(*cosine, 0), 0.067);
  EXPECT_EQ(rate(*cosine, 1000), 0.013);
}

TEST(Policy, VanishesWithoutNaN) {
  const NamedPolicy exponential("exp", "base_lr=0.1 gamma=0.1"), gone("exp", "base_lr=0.1 gamma=0");
  const NamedPolicy growing("triexp", "base_lr=0 max_lr=1 gamma=2 stepsize=10");
  EXPECT_EQ(rate(*exponential, kMaxIteration), 0);
  EXPECT_EQ(rate(*gone, 0), 0.1);
  EXPECT_EQ(rate(*gone, 1), 0);
  EXPECT_EQ(rate(*growing, 100000), 0);
  EXPECT_TRUE(std::isfinite(rate(*growing, 100007)));
  const NamedPolicy polynomial("poly", "base_lr=0.1 power=0.5 max_iter=100");
  EXPECT_EQ(rate(*polynomial, 100), 0);
  EXPECT_EQ(rate(*polynomial, kMaxIteration), 0);
}

}  // namespace
}  // namespace lrpolicy
