// dot_pair's definition: exact answers, the stated bound, the order, what rolls.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "dot_pair.hpp"
#include "known_answers.hpp"
#include "tensor_lists.hpp"

namespace lrpolicy {
namespace {

struct Dots {
  std::vector<double> gg, gp;
};

template <typename T, typename P>
Dots dots_of(Plan& plan, const TensorList<T>& now, const TensorList<P>& previous, bool roll,
             const TensorList<T>* start = nullptr) {
  Dots dots = {std::vector<double>(plan.counts.size(), -1), std::vector<double>(plan.counts.size(), -1)};
  const DotPair call = {
      kDTypeOf<T>,    roll,          now.read(), previous.write(), start != nullptr ? start->write() : nullptr,
      dots.gg.data(), dots.gp.data()};
  EXPECT_EQ(lrpolicy_dot_pair_reference(&plan, &call), Status::kOk);
  return dots;
}

template <typename T>
class DotPairOf : public testing::Test {};

using Types = testing::Types<float, double, BFloat16, Float16>;
TYPED_TEST_SUITE(DotPairOf, Types);

TYPED_TEST(DotPairOf, LiesWithinTheStatedBoundOfTheExactSums) {
  const auto plan = make_plan(edge_counts());
  const TensorList<TypeParam> g(edge_counts(), 1), previous(edge_counts(), 2);
  const Dots dots = dots_of(*plan, g, previous, false);
  for (std::size_t t = 0; t < edge_counts().size(); ++t) {
    long double gg = 0, gp = 0, size = 0;
    for (std::int64_t i = 0; i < edge_counts()[t]; ++i) {
      const long double x = widen(g.pointers[t][i]), y = widen(previous.pointers[t][i]);
      gg += x * x;
      gp += x * y;
      size += std::abs(x * y);
    }
    const double depth = 37 + std::ceil(std::log2(std::max<double>(1, static_cast<double>(edge_counts()[t]) / kBlock)));
    const long double bound = depth * std::ldexp(1.0L, -53) * (1 + 1e-3L);  // 1e-3: what the witness itself rounds
    EXPECT_LE(std::abs(dots.gg[t] - gg), bound * gg) << edge_counts()[t];
    EXPECT_LE(std::abs(dots.gp[t] - gp), bound * size) << edge_counts()[t];
  }
}

TYPED_TEST(DotPairOf, RollsTheGradientIntoThePreviousAndNothingElse) {
  const auto plan = make_plan(edge_counts());
  const TensorList<TypeParam> g(edge_counts(), 1), untouched(edge_counts(), 2), rolled(edge_counts(), 2);
  const Dots still = dots_of(*plan, g, untouched, false), rolling = dots_of(*plan, g, rolled, true);
  EXPECT_EQ(still.gg, rolling.gg);
  EXPECT_EQ(still.gp, rolling.gp);
  const TensorList<TypeParam> before(edge_counts(), 2);
  const std::size_t bytes = sizeof(TypeParam);
  EXPECT_EQ(0, std::memcmp(untouched.memory.data(), before.memory.data(), before.memory.size() * bytes));
  const TypeParam* gap = rolled.memory.data();
  for (std::size_t t = 0; t < edge_counts().size(); ++t) {
    const auto count = static_cast<std::size_t>(edge_counts()[t]);
    EXPECT_EQ(0, std::memcmp(g.pointers[t], rolled.pointers[t], count * bytes)) << count;
    EXPECT_EQ(0, std::memcmp(before.memory.data() + (gap - rolled.memory.data()), gap, bytes)) << "before " << count;
    gap = rolled.pointers[t] + count;
  }
}

TYPED_TEST(DotPairOf, TakesTheDisplacementOfTwoSnapshots) {
  using W = Wide<TypeParam>;
  const auto plan = make_plan(edge_counts());
  const TensorList<TypeParam> now(edge_counts(), 1), start(edge_counts(), 3);
  const TensorList<W> previous(edge_counts(), 2), formed(edge_counts(), 4);
  for (std::size_t t = 0; t < edge_counts().size(); ++t) {
    for (std::int64_t i = 0; i < edge_counts()[t]; ++i) {
      formed.pointers[t][i] = static_cast<W>(widen(start.pointers[t][i]) - widen(now.pointers[t][i]));
    }
  }
  const Dots expected = dots_of(*plan, formed, previous, false);
  const Dots actual = dots_of(*plan, now, previous, true, &start);
  EXPECT_EQ(expected.gg, actual.gg);
  EXPECT_EQ(expected.gp, actual.gp);
  for (std::size_t t = 0; t < edge_counts().size(); ++t) {
    const auto count = static_cast<std::size_t>(edge_counts()[t]);
    EXPECT_EQ(0, std::memcmp(previous.pointers[t], formed.pointers[t], count * sizeof(W))) << count;
    EXPECT_EQ(0, std::memcmp(start.pointers[t], now.pointers[t], count * sizeof(TypeParam))) << count;
  }
}

TYPED_TEST(DotPairOf, ANaNReachesItsOwnTensorOnly) {
  const auto plan = make_plan(edge_counts());
  TensorList<TypeParam> g(edge_counts(), 1), previous(edge_counts(), 2);
  const Dots clean = dots_of(*plan, g, previous, false);
  std::memset(g.pointers[14] + 1234, 0xFF, sizeof(TypeParam));  // all ones is a NaN in every format
  std::memset(previous.pointers[17] + 16384, 0xFF, sizeof(TypeParam));
  const Dots dots = dots_of(*plan, g, previous, false);
  for (std::size_t t = 0; t < edge_counts().size(); ++t) {
    EXPECT_EQ(std::isnan(dots.gg[t]), t == 14);
    EXPECT_EQ(std::isnan(dots.gp[t]), t == 14 || t == 17);
    if (t != 14) {
      EXPECT_EQ(dots.gg[t], clean.gg[t]);
    }
  }
}

// The numbers that the answer sheet is about (make_dot_pair_known_answers.py).
template <typename T>
std::vector<T> sheet_numbers(std::size_t count, std::uint32_t seed) {
  std::vector<T> numbers(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(i) * 2654435761u + seed * 40503u;
    numbers[i] = random_number<T>((bits ^ bits >> 15) * 2246822519u);
  }
  return numbers;
}

template <typename T>
void expect_answers(const std::vector<std::string>& row) {
  const auto count = std::stoll(row[1]);
  const auto g = sheet_numbers<T>(static_cast<std::size_t>(count), 1);
  auto before = sheet_numbers<T>(static_cast<std::size_t>(count), 2);
  const auto plan = make_plan({count});
  const void* const now[] = {g.data()};
  void* const previous[] = {before.data()};
  for (const auto verb : {&lrpolicy_dot_pair_reference, &lrpolicy_dot_pair_simd}) {
    double gg = -1, gp = -1;
    const DotPair call = {kDTypeOf<T>, false, now, previous, nullptr, &gg, &gp};
    EXPECT_EQ(verb(plan.get(), &call), Status::kOk);
    EXPECT_EQ(gg, std::strtod(row[2].c_str(), nullptr)) << row[0] << ' ' << count;
    EXPECT_EQ(gp, std::strtod(row[3].c_str(), nullptr)) << row[0] << ' ' << count;
  }
}

TEST(DotPair, GivesNumpysBitsOnEveryMachine) {
  const auto rows = read_sheet("dot_pair_known_answers.tsv");
  EXPECT_EQ(rows.size(), 20u);
  for (const auto& row : rows) row[0] == "float32" ? expect_answers<float>(row) : expect_answers<double>(row);
}

TEST(DotPair, TheOrderIsTheDefinitions) {
  // 1 + 2^-53 rounds to 1, 2^-53 + 2^-53 does not vanish: who meets whom first shows in the sum.
  const double one = 1, tiny = std::ldexp(1.0, -53);
  const auto sum = [&](std::vector<std::int64_t> tinies) {
    std::vector<double> g(4 * kBlock, 0.0), ones(4 * kBlock, 1.0);
    g[0] = one;
    for (const std::int64_t i : tinies) g[static_cast<std::size_t>(i)] = tiny;
    const auto plan = make_plan({4 * kBlock});
    double gg = 0, gp = 0;
    const void* const now[] = {g.data()};
    void* const previous[] = {ones.data()};
    const DotPair call = {DType::kFloat64, false, now, previous, nullptr, &gg, &gp};
    EXPECT_EQ(lrpolicy_dot_pair_reference(plan.get(), &call), Status::kOk);
    return gp;
  };
  EXPECT_EQ(sum({32, 64}), 1.0);                         // one lane, one by one
  EXPECT_EQ(sum({16, 8}), 1.0);                          // lane 16 meets lane 0 before lane 8 does
  EXPECT_EQ(sum({8, 24}), 1.0 + 2 * tiny);               // lane 24 meets lane 8 first
  EXPECT_EQ(sum({kBlock, kBlock + 1}), 1.0 + 2 * tiny);  // a block is summed before it meets another
  EXPECT_EQ(sum({kBlock, 2 * kBlock}), 1.0);             // block 1, then blocks 2 and 3
  EXPECT_EQ(sum({2 * kBlock, 3 * kBlock}), 1.0 + 2 * tiny);
}

TEST(DotPair, SubnormalFloatsCount) {
  const auto plan = make_plan({100});
  std::vector<float> g(100, std::ldexp(1.0f, -149)), previous(100, std::ldexp(1.0f, -140));
  double gg = 0, gp = 0;
  const void* const now[] = {g.data()};
  void* const before[] = {previous.data()};
  const DotPair call = {DType::kFloat32, false, now, before, nullptr, &gg, &gp};
  EXPECT_EQ(lrpolicy_dot_pair_reference(plan.get(), &call), Status::kOk);
  EXPECT_EQ(gg, std::ldexp(100.0, -298));
  EXPECT_EQ(gp, std::ldexp(100.0, -289));
}

TEST(DotPair, WrongCallsAreRefused) {
  const auto plan = make_plan({0, 3});
  float g[3] = {}, previous[3] = {};
  double gg[2] = {}, gp[2] = {};
  const void *now[] = {nullptr, g}, *missing[] = {g, nullptr};
  void* before[] = {nullptr, previous};
  DotPair call = {DType::kFloat32, false, now, before, nullptr, gg, gp};
  EXPECT_EQ(lrpolicy_dot_pair_reference(plan.get(), &call), Status::kOk);
  EXPECT_EQ(lrpolicy_dot_pair_reference(nullptr, &call), Status::kNullPointer);
  EXPECT_EQ(lrpolicy_dot_pair_reference(plan.get(), nullptr), Status::kNullPointer);
  call.now = missing;
  EXPECT_EQ(lrpolicy_dot_pair_reference(plan.get(), &call), Status::kNullPointer);
  call.now = now;
  call.gp = nullptr;
  EXPECT_EQ(lrpolicy_dot_pair_reference(plan.get(), &call), Status::kNullPointer);
  call.gp = gp;
  call.dtype = static_cast<DType>(4);
  EXPECT_EQ(lrpolicy_dot_pair_reference(plan.get(), &call), Status::kBadDType);
  call.dtype = DType::kFloat32;
  plan->busy = true;
  EXPECT_EQ(lrpolicy_dot_pair_reference(plan.get(), &call), Status::kBusy);
}

}  // namespace
}  // namespace lrpolicy
