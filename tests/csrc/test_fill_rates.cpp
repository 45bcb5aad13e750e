// Every implementation and instruction set gives the bits of the reference.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "fill_rates.hpp"
#include "known_answers.hpp"
#include "simd/targets.hpp"

namespace lrpolicy {
namespace {

struct Range {
  std::int64_t first, stride, count;
};

constexpr Range kRanges[] = {
    {0, 1, 4000}, {0, 1, 1},     {5, 1, 0},        {36, 1, 3},     {37, 1, 700},          {1000, 1, 2},
    {0, 7, 600},  {20, 17, 300}, {3500, -1, 3501}, {900, -30, 31}, {999999999990, 1, 50}, {1, 333333333333, 4}};

std::vector<const Target*> runnable_targets() {
  std::vector<const Target*> targets = {&target_baseline};
#if defined(LRPOLICY_X86_TARGETS)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) targets.push_back(&target_avx2);
  if (&best_target() == &target_avx512) targets.push_back(&target_avx512);
#endif
  return targets;
}

void expect_same_bits(const std::vector<double>& expected, const std::vector<double>& actual, const std::string& what) {
  EXPECT_EQ(0, std::memcmp(expected.data(), actual.data(), expected.size() * sizeof(double))) << what;
}

TEST(FillRates, EveryInstructionSetGivesTheReferencesBits) {
  for (const auto& each : one_of_each()) {
    const NamedPolicy policy(each.first, each.second);
    for (const Range& range : kRanges) {
      std::vector<double> expected(static_cast<std::size_t>(range.count) + 1, -1), actual(expected);
      lrpolicy_fill_rates_reference(&*policy, range.first, range.stride, range.count, expected.data());
      lrpolicy_fill_rates_simd(&*policy, range.first, range.stride, range.count, actual.data());
      expect_same_bits(expected, actual, each.first + " simd");
      for (const Target* target : runnable_targets()) {
        std::fill(actual.begin(), actual.end(), -1);
        target->fill_rates(*policy, range.first, range.stride, range.count, actual.data());
        expect_same_bits(expected, actual, each.first + " " + target->name + " from " + std::to_string(range.first));
      }
    }
  }
}

TEST(FillRates, Float32RatesAreTheDoubleOnesRounded) {
  for (const auto& each : one_of_each()) {
    const NamedPolicy policy(each.first, each.second);
    for (const Range& range : {Range{0, 1, 4000}, Range{17, 1, 300000}, Range{20, 17, 300}, Range{3500, -1, 3501}}) {
      const auto count = static_cast<std::size_t>(range.count);
      std::vector<double> doubles(count);
      std::vector<float> reference(count, -1), actual(count, -1);
      lrpolicy_fill_rates_reference(&*policy, range.first, range.stride, range.count, doubles.data());
      lrpolicy_fill_rates_float32_reference(&*policy, range.first, range.stride, range.count, reference.data());
      for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(reference[i], static_cast<float>(doubles[i])) << each.first;
      lrpolicy_fill_rates_float32_simd(&*policy, range.first, range.stride, range.count, actual.data());
      EXPECT_EQ(reference, actual) << each.first << " simd";
      for (const Target* target : runnable_targets()) {
        std::fill(actual.begin(), actual.end(), -1.0F);
        target->fill_rates_float32(*policy, range.first, range.stride, range.count, actual.data());
        EXPECT_EQ(reference, actual) << each.first << " " << target->name;
      }
    }
  }
}

TEST(FillRates, ShortPeriodsAndStepsKeepTheBits) {
  for (const char* name : {"step", "tri", "sin", "cos"}) {
    for (int stepsize : {1, 2, 3, 31, 32, 5000}) {
      const std::string rest = std::string(name) == "step" ? "gamma=0.999" : "max_lr=0.06";
      const NamedPolicy policy(name, "base_lr=0.01 " + rest + " stepsize=" + std::to_string(stepsize));
      std::vector<double> expected(23456), actual(expected.size());
      lrpolicy_fill_rates_reference(&*policy, 17, 1, 23456, expected.data());
      lrpolicy_fill_rates_simd(&*policy, 17, 1, 23456, actual.data());
      expect_same_bits(expected, actual, name + std::to_string(stepsize));
    }
  }
}

TEST(FillRates, ThreadsKeepTheBits) {
  constexpr std::int64_t kLong = 300000;  // more than two threads' ranges
  for (const auto& each : one_of_each()) {
    const NamedPolicy policy(each.first, each.second);
    for (const Range& range : {Range{17, 1, kLong}, Range{5, 3, kLong}, Range{kLong, -1, kLong}}) {
      std::vector<double> expected(kLong), actual(kLong);
      lrpolicy_fill_rates_reference(&*policy, range.first, range.stride, range.count, expected.data());
      lrpolicy_fill_rates_simd(&*policy, range.first, range.stride, range.count, actual.data());
      expect_same_bits(expected, actual, each.first);
    }
  }
}

TEST(FillRates, ThreadsShareALongPeriodAndItsRepetition) {
  constexpr std::int64_t kLong = 700000;
  for (const char* name : {"tri", "cos"}) {
    const NamedPolicy policy(name, "base_lr=0.01 max_lr=0.06 stepsize=140001 start=150001");
    std::vector<double> expected(kLong), actual(kLong);
    lrpolicy_fill_rates_reference(&*policy, 11, 1, kLong, expected.data());
    lrpolicy_fill_rates_simd(&*policy, 11, 1, kLong, actual.data());
    expect_same_bits(expected, actual, name);
  }
}

TEST(FillRates, SingleRatesAreTheSameOnEveryInstructionSet) {
  for (const auto& each : one_of_each()) {
    const NamedPolicy policy(each.first, each.second);
    for (const Target* target : runnable_targets()) {
      for (std::int64_t t : {0, 1, 36, 37, 38, 248, 1000, 3000, 999999}) {
        EXPECT_EQ(target->rate(*policy, t), rate(*policy, t)) << each.first << " " << target->name;
      }
    }
  }
}

TEST(FillRates, ReferenceIsTheSingleRate) {
  const NamedPolicy policy("sinexp", "base_lr=0.01 max_lr=0.06 stepsize=97 gamma=0.999");
  std::vector<double> rates(500);
  lrpolicy_fill_rates_reference(&*policy, 3, 11, 500, rates.data());
  for (std::size_t i = 0; i < rates.size(); ++i) EXPECT_EQ(rates[i], rate(*policy, 3 + 11 * static_cast<int>(i)));
}

}  // namespace
}  // namespace lrpolicy
