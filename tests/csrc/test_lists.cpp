// Every instruction set and every number of threads gives the reference's bits, over lists with every kind of edge.
#include <gtest/gtest.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <cmath>
#include <cstring>
#include <functional>

#include "settings.hpp"
#include "simd/list_targets.hpp"
#include "simd/targets.hpp"
#include "tensor_lists.hpp"

namespace lrpolicy {
namespace {

std::vector<const ListTarget*> runnable_targets() {
  std::vector<const ListTarget*> targets = {&list_target_baseline};
#if defined(LRPOLICY_X86_TARGETS)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) targets.push_back(&list_target_avx2);
  if (&best_target() == &target_avx512) targets.push_back(&list_target_avx512);
#endif
  return targets;
}

template <typename T>
void expect_same_bits(const std::vector<T>& expected, const std::vector<T>& actual, const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size());
  EXPECT_EQ(0, std::memcmp(expected.data(), actual.data(), expected.size() * sizeof(T))) << what;
}

// compare(what, function): for each instruction set and number of threads.
template <typename Function, typename Compare>
void for_each_way(Function with, const Compare& compare) {
  for (const ListTarget* target : runnable_targets()) {
    for (int threads = 1; threads <= 4; ++threads) {
      compare(std::string(target->name) + " " + std::to_string(threads),
              [&](auto... arguments) { EXPECT_EQ(with(*target, threads, arguments...), Status::kOk); });
    }
  }
}

template <typename T>
class ListsOf : public testing::Test {};

using Types = testing::Types<float, double, BFloat16, Float16>;
TYPED_TEST_SUITE(ListsOf, Types);

template <typename T>
void compare_dot_pairs(bool roll, bool displaced) {
  using P = Wide<T>;
  const auto plan = make_plan(edge_counts());
  const std::size_t n = edge_counts().size();
  const TensorList<T> now(edge_counts(), 1);
  const auto run = [&](const std::function<void(Plan*, const DotPair*)>& verb, auto& previous, TensorList<T>& start) {
    std::vector<double> sums(2 * n, -1);
    const DotPair call = {
        kDTypeOf<T>, roll,           now.read(), previous.write(), displaced ? start.write() : nullptr,
        sums.data(), sums.data() + n};
    verb(plan.get(), &call);
    return sums;
  };
  const auto compare = [&](auto type) {
    using Previous = TensorList<decltype(type)>;
    Previous rolled(edge_counts(), 2);
    TensorList<T> started(edge_counts(), 3);
    const std::vector<double> expected =
        run([](Plan* p, const DotPair* call) { EXPECT_EQ(lrpolicy_dot_pair_reference(p, call), Status::kOk); }, rolled,
            started);
    for_each_way(&dot_pair_with, [&](const std::string& what, const auto& verb) {
      Previous previous(edge_counts(), 2);
      TensorList<T> start(edge_counts(), 3);
      expect_same_bits(expected, run(verb, previous, start), what);
      expect_same_bits(rolled.memory, previous.memory, what);
      expect_same_bits(started.memory, start.memory, what);
    });
  };
  if (displaced) {
    compare(P());
  } else {
    compare(T());
  }
}

TYPED_TEST(ListsOf, DotPairsAreTheReferences) { compare_dot_pairs<TypeParam>(false, false); }
TYPED_TEST(ListsOf, RollingDotPairsAreTheReferences) { compare_dot_pairs<TypeParam>(true, false); }
TYPED_TEST(ListsOf, DotPairsOfDisplacementsAreTheReferences) { compare_dot_pairs<TypeParam>(false, true); }
TYPED_TEST(ListsOf, RollingDotPairsOfDisplacementsAreTheReferences) { compare_dot_pairs<TypeParam>(true, true); }

TYPED_TEST(ListsOf, SumsOfGradientsAreTheReferences) {
  const auto plan = make_plan(edge_counts());
  const TensorList<TypeParam> gradients(edge_counts(), 1);
  const TensorList<Wide<TypeParam>> expected(edge_counts(), 2);
  Accumulate call = {kDTypeOf<TypeParam>, 1.0 / 3, gradients.read(), expected.write()};
  EXPECT_EQ(lrpolicy_accumulate_reference(plan.get(), &call), Status::kOk);
  for_each_way(&accumulate_with, [&](const std::string& what, const auto& verb) {
    const TensorList<Wide<TypeParam>> sums(edge_counts(), 2);
    call.sums = sums.write();
    verb(plan.get(), &call);
    expect_same_bits(expected.memory, sums.memory, what);
  });
}

TEST(Lists, MomentumStepsAreTheReferences) {
  const auto plan = make_plan(edge_counts());
  const TensorList<float> gradients(edge_counts(), 1);
  std::vector<float> rates, decays;
  for (std::size_t t = 0; t < edge_counts().size(); ++t) {
    rates.push_back(0.01f * static_cast<float>(t + 1));
    decays.push_back(t % 3 == 0 ? 0 : 5e-4f * static_cast<float>(t));
  }
  for (const bool nesterov : {false, true}) {
    for (const int rule : {0, 1, 2, 3}) {
      const bool rate_inside = rule % 2 == 0;
      const TensorList<float> weights(edge_counts(), 2), history(edge_counts(), 3);
      MomentumStep call = {nesterov,
                           rate_inside,
                           rule < 2 ? Regularization::kL2 : Regularization::kL1,
                           0.9f,
                           rates.data(),
                           decays.data(),
                           const_cast<const float* const*>(gradients.pointers.data()),
                           weights.pointers.data(),
                           history.pointers.data()};
      EXPECT_EQ(lrpolicy_momentum_step_reference(plan.get(), &call), Status::kOk);
      for_each_way(&momentum_step_with, [&](const std::string& what, const auto& verb) {
        const TensorList<float> own_weights(edge_counts(), 2), own_history(edge_counts(), 3);
        call.weights = own_weights.pointers.data();
        call.history = own_history.pointers.data();
        verb(plan.get(), &call);
        expect_same_bits(weights.memory, own_weights.memory, what);
        expect_same_bits(history.memory, own_history.memory, what);
      });
    }
  }
}

TEST(Lists, DrawsAreTheReferences) {
  for (const Decimal center : {Decimal{1, -22}, Decimal{3, -2}, Decimal{9, 0}, Decimal{2, 1}, Decimal{9, 22}}) {
    for (const std::int64_t count : {0, 1, 3, 4, 5, 63, 64, 65, 161, 1000}) {
      std::vector<double> expected(static_cast<std::size_t>(count) + 1, -1), actual(expected);
      lrpolicy_draw_rates_reference(&center, 0x123456789ABCDEFu, 98765432101, count, expected.data());
      for (const ListTarget* target : runnable_targets()) {
        std::fill(actual.begin(), actual.end(), -1);
        target->draw_rates(center, 0x123456789ABCDEFu, 98765432101, count, actual.data());
        expect_same_bits(expected, actual, target->name);
      }
    }
  }
}

TEST(Lists, EverySixteenBitNumberIsWidenedInEachLane) {
  std::vector<Float16> numbers(1 << 16);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i].bits = static_cast<std::uint16_t>(i);
  const auto plan = make_plan({1 << 16});
  const void* const gradients[] = {numbers.data()};
  const auto widened = [&](auto&& verb) {
    std::vector<float> sum(numbers.size(), -0.0f);
    void* const sums[] = {sum.data()};
    const Accumulate call = {DType::kFloat16, 1, gradients, sums};
    verb(plan.get(), &call);
    return sum;
  };
  const std::vector<float> expected =
      widened([](Plan* p, const Accumulate* c) { lrpolicy_accumulate_reference(p, c); });
  for_each_way(&accumulate_with,
               [&](const std::string& what, const auto& verb) { expect_same_bits(expected, widened(verb), what); });
}

#if defined(__SSE__)
TEST(Lists, ACallersFlushingOfSubnormalsChangesNothing) {
  const std::vector<std::int64_t> counts = {300'000};
  const auto plan = make_plan(counts);
  std::vector<float> g(300'000, std::ldexp(1.0f, -149)), previous(g);
  const void* const now[] = {g.data()};
  void* const before[] = {previous.data()};
  double gg = 0, gp = 0;
  const DotPair call = {DType::kFloat32, false, now, before, nullptr, &gg, &gp};
  const unsigned normal = _mm_getcsr();
  _mm_setcsr(normal | 0x8040);  // flush to zero, subnormals are zeros
  for_each_way(&dot_pair_with, [&](const std::string& what, const auto& verb) {
    verb(plan.get(), &call);
    EXPECT_EQ(gg, std::ldexp(300'000.0, -298)) << what;
    EXPECT_EQ(_mm_getcsr() & 0x8040, 0x8040u);
  });
  _mm_setcsr(normal);
}
#endif

TEST(Settings, ComeFromTheEnvironment) {
  EXPECT_EQ(settings_of(nullptr, nullptr).status, Status::kOk);
  EXPECT_GE(settings_of(nullptr, nullptr).threads, 1);
  EXPECT_EQ(settings_of("reference", "3").implementation, Implementation::kReference);
  EXPECT_EQ(settings_of("reference", "3").threads, 3);
  for (const char* wrong : {"", "avx2", "SIMD", "simd "}) {
    EXPECT_EQ(settings_of(wrong, nullptr).status, Status::kBadImplementation) << wrong;
  }
  for (const char* wrong : {"", "0", "-1", "two", "2 ", "1025", "1.5"}) {
    EXPECT_EQ(settings_of(nullptr, wrong).status, Status::kBadThreads) << wrong;
  }
}

}  // namespace
}  // namespace lrpolicy
