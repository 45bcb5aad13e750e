// accumulate and momentum_step: known answers whose every step can be followed by hand.
#include <gtest/gtest.h>

#include "accumulate.hpp"
#include "draw_rates.hpp"
#include "momentum_step.hpp"
#include "tensor_lists.hpp"

namespace lrpolicy {
namespace {

TEST(Accumulate, AddsTheScaledGradient) {
  const auto plan = make_plan({3, 0, 1});
  float first[] = {1, 2, 3}, second[] = {4};
  float sum[] = {10, 20, 30}, other[] = {40};
  const void* const gradients[] = {first, nullptr, second};
  void* const sums[] = {sum, nullptr, other};
  const Accumulate call = {DType::kFloat32, 0.5, gradients, sums};
  EXPECT_EQ(lrpolicy_accumulate_reference(plan.get(), &call), Status::kOk);
  EXPECT_EQ(std::vector<float>(sum, sum + 3), (std::vector<float>{10.5, 21, 31.5}));
  EXPECT_EQ(other[0], 42.0f);
}

TEST(Accumulate, RoundsTheProductAndThenTheSum) {
  const float third = 1.0f / 3, gradient = 16777213.0f;
  float sum[] = {0.1f};
  const volatile float product = third * gradient;
  const float expected = 0.1f + product;
  const auto plan = make_plan({1});
  const void* const gradients[] = {&gradient};
  void* const sums[] = {sum};
  const Accumulate call = {DType::kFloat32, third, gradients, sums};
  EXPECT_EQ(lrpolicy_accumulate_reference(plan.get(), &call), Status::kOk);
  EXPECT_EQ(sum[0], expected);
}

TEST(Accumulate, SumsOfShortNumbersAreFloats) {
  const auto plan = make_plan({2});
  const BFloat16 gradient[] = {{0x3F80}, {0xC000}};  // 1 and -2
  float sum[] = {0, 1};
  const void* const gradients[] = {gradient};
  void* const sums[] = {sum};
  const Accumulate call = {DType::kBFloat16, 1.0 / 1024, gradients, sums};
  EXPECT_EQ(lrpolicy_accumulate_reference(plan.get(), &call), Status::kOk);
  EXPECT_EQ(sum[0], 1.0f / 1024);
  EXPECT_EQ(sum[1], 1 - 1.0f / 512);
}

// One tensor of one weight through one step; {weight, history} after it.
std::vector<float> step(MomentumStep call, float rate, float decay, float gradient, float weight, float history) {
  const auto plan = make_plan({1});
  const float* const gradients[] = {&gradient};
  float *const weights[] = {&weight}, *const histories[] = {&history};
  call.rates = &rate;
  call.decays = &decay;
  call.gradients = gradients;
  call.weights = weights;
  call.history = histories;
  EXPECT_EQ(lrpolicy_momentum_step_reference(plan.get(), &call), Status::kOk);
  return {weight, history};
}

TEST(MomentumStep, FollowsCaffesSolvers) {
  const MomentumStep sgd = {false, true, Regularization::kL2, 0.5f, nullptr, nullptr, nullptr, nullptr, nullptr};
  MomentumStep nesterov = sgd, l1 = sgd;
  nesterov.nesterov = true;
  l1.regularization = Regularization::kL1;
  using Result = std::vector<float>;
  // d = 4, h' = 0.5 * 3 + 0.25 * 4 = 2.5
  EXPECT_EQ(step(sgd, 0.25f, 0, 4, 10, 3), (Result{7.5, 2.5}));
  // 1.5 * 2.5 - 0.5 * 3 = 2.25
  EXPECT_EQ(step(nesterov, 0.25f, 0, 4, 10, 3), (Result{7.75, 2.5}));
  // d = 4 + 0.2 * 10 = 6, h' = 3
  EXPECT_EQ(step(sgd, 0.25f, 0.2f, 4, 10, 3), (Result{7, 3}));
  // d = 4 - 2 * 1 = 2, h' = 2
  EXPECT_EQ(step(l1, 0.25f, 2, 4, -10, 3), (Result{-12, 2}));
  EXPECT_EQ(step(l1, 0.25f, 2, 4, 0, 3), (Result{-2.5, 2.5}));
}

TEST(MomentumStep, FollowsPyTorchsOptimizer) {
  const MomentumStep sgd = {false, false, Regularization::kL2, 0.5f, nullptr, nullptr, nullptr, nullptr, nullptr};
  MomentumStep nesterov = sgd;
  nesterov.nesterov = true;
  using Result = std::vector<float>;
  // d = 4 + 0.2 * 10 = 6, h' = 0.5 * 3 + 6 = 7.5
  EXPECT_EQ(step(sgd, 0.25f, 0.2f, 4, 10, 3), (Result{8.125, 7.5}));
  // 0.25 * (6 + 0.5 * 7.5) = 2.4375
  EXPECT_EQ(step(nesterov, 0.25f, 0.2f, 4, 10, 3), (Result{7.5625, 7.5}));
}

TEST(MomentumStep, ADecayOfZeroLeavesAnInfiniteWeightsGradientAlone) {
  const MomentumStep sgd = {false, true, Regularization::kL2, 0.5f, nullptr, nullptr, nullptr, nullptr, nullptr};
  EXPECT_EQ(step(sgd, 1, 0, 1, HUGE_VALF, 0)[1], 1.0f);
}

TEST(DrawRates, AreAslrsDraws) {
  const Decimal center = {3, -2};
  std::vector<double> rates(9, -1);
  lrpolicy_draw_rates_reference(&center, 7, 123456789012, 8, rates.data());
  for (std::uint32_t i = 0; i < 8; ++i) EXPECT_EQ(rates[i], aslr_draw(center, 7, 123456789012, i));
  EXPECT_EQ(rates[8], -1);
}

}  // namespace
}  // namespace lrpolicy
