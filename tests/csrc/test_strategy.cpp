#include <gtest/gtest.h>

#include <limits>
#include <lrpolicy/strategy.hpp>

namespace lrpolicy {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// How often the sequence has moved on after each loss.
std::vector<std::int64_t> advances(const char* strategy, const std::vector<double>& losses) {
  const StrategyRow& row = find_row(kStrategies, "strategy", strategy);
  std::vector<std::int64_t> counts;
  StrategyState state{};
  for (const double loss : losses) {
    state = strategy_update(row, state, loss);
    counts.push_back(state.advances);
  }
  return counts;
}

using Counts = std::vector<std::int64_t>;

TEST(Strategy, ByEpochAdvancesAfterEveryEpochWhateverTheLoss) {
  EXPECT_EQ(advances("by_epoch", {2.0, kNan, 3.0}), (Counts{1, 2, 3}));
}

// The cutoff: 0.01 * 2.0 = 0.02, then 0.004, then 0.0008.
TEST(Strategy, ByCutoffAdvancesWhenTheLossHardlyChanges) {
  EXPECT_EQ(advances("by_cutoff", {2.0, 1.5, 1.485, 1.475, 1.478, 1.478}), (Counts{0, 0, 1, 1, 2, 3}));
}

// A cutoff is a size, also where losses are below 0.
TEST(Strategy, ByCutoffTakesLossesOfEitherSign) {
  EXPECT_EQ(advances("by_cutoff", {-2.0, -1.5, -1.485}), (Counts{0, 0, 1}));
}

TEST(Strategy, ByOscillateAdvancesWhenTheLossGrows) {
  EXPECT_EQ(advances("by_oscillate", {2.0, 1.5, 1.6, 1.6, 1.7, 1.0}), (Counts{0, 0, 1, 1, 2, 2}));
}

TEST(Strategy, NeedsTwoFiniteLosses) {
  EXPECT_EQ(advances("by_oscillate", {kNan, 2.0, kInfinity, 1.9, 1.95}), (Counts{0, 0, 0, 0, 1}));
  EXPECT_EQ(advances("by_cutoff", {kNan, 2.0, kNan, 2.001}), (Counts{0, 0, 0, 1}));
}

TEST(Strategy, RefusesWhatItDoesNotKnow) {
  EXPECT_THROW(make_decay_sequence("seq5", "by_epoch", 0.1, 0), InputError);
  EXPECT_THROW(make_decay_sequence("seq1", "sometimes", 0.1, 0), InputError);
  EXPECT_THROW(make_decay_sequence("seq1", "by_epoch", 0, 0), InputError);
  EXPECT_THROW(make_decay_sequence("seq1", "by_epoch", 0.1, 0.2), InputError);
  EXPECT_EQ(make_decay_sequence("seq1", "by_epoch", 0.1, 0.09).rate({5, 5, 1, 0, false}), 0.09);
}

TEST(Plateau, FallsAfterSoManyIterationsWithoutANewMinimum) {
  const Plateau plateau = make_plateau(0.1, 0.5, {3, 2}, 0);
  PlateauState state = plateau.start();
  Counts lowered;
  for (const double loss : {5.0, 4.0, 4.0, 4.5, 4.0, kNan, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0}) {
    state = plateau.update(state, static_cast<std::int64_t>(lowered.size()), loss);
    lowered.push_back(state.lowered);
  }
  EXPECT_EQ(lowered, (Counts{0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2}));
  EXPECT_EQ(plateau.rate(state), 0.025);
}

TEST(Plateau, RefusesAnEmptyOrZeroWinsize) {
  EXPECT_THROW(make_plateau(0.1, 0.5, {}, 0), InputError);
  EXPECT_THROW(make_plateau(0.1, 0.5, {0}, 0), InputError);
  EXPECT_THROW(make_plateau(-0.1, 0.5, {1}, 0), InputError);
}

}  // namespace
}  // namespace lrpolicy
