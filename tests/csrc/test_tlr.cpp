#include <gtest/gtest.h>

#include <limits>
#include <lrpolicy/tlr.hpp>

#include "known_answers.hpp"

namespace lrpolicy {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TlrSettings settings() { return {"efficient", "gradient", 0.1, 0.25, kNan, 1.0 / 3, 1, 0, 1e100, 1e6, {1}, false, 0}; }

std::vector<double> doubles(const std::string& text) {
  std::vector<double> values;
  for (const std::string& part : split(text, ',')) values.push_back(std::stod(part));
  return values;
}

TlrSettings settings_of(const std::vector<std::string>& row) {
  TlrSettings s = settings();
  s.variant = row[0];
  s.source = row[1];
  s.lr_mult = {1, 2, 0, 0.5};
  s.divergence = 1e300;
  for (const std::string& assignment : split(row[2], ' ')) {
    const std::string key = assignment.substr(0, assignment.find('='));
    const double number = std::stod(assignment.substr(assignment.find('=') + 1));
    if (key == "base_lr") s.base_lr = number;
    if (key == "bound") s.bound = number;
    if (key == "min_lr") s.min_lr = number;
    if (key == "max_lr") s.max_lr = number;
    if (key == "eta") s.eta = number;
    if (key == "per_tensor") s.per_tensor = number != 0;
    if (key == "restart_below") s.restart_below = number;
  }
  return s;
}

TEST(Tlr, GivesTheKnownAnswersToTheBit) {
  const auto rows = read_sheet("tlr_known_answers.tsv");
  ASSERT_EQ(rows.size(), 264u);
  TlrState state{};
  for (const auto& row : rows) {
    const Tlr tlr = make_tlr(settings_of(row));
    if (row[3] == "0") state = tlr.start();
    state = tlr.update(state, doubles(row[5]).data(), doubles(row[6]).data(), std::stoll(row[4]));
    const std::vector<double> rates = doubles(row[7]), events = doubles(row[8]);
    ASSERT_EQ(rates.size(), state.alphas.size());
    for (std::size_t i = 0; i < rates.size(); ++i) {
      ASSERT_EQ(state.alphas[i].rate, rates[i]) << row[0] << " " << row[1] << " " << row[2] << " window " << row[3];
      ASSERT_EQ(state.alphas[i].events, events[i]) << row[0] << " " << row[1] << " " << row[2] << " window " << row[3];
    }
  }
}

// Without the cap an earlier implementation's factor was -1.2.
TEST(Tlr, FactorsStayWithinTheirBounds) {
  const double lengths[] = {5e-324, 1e-300, 1e-3, 1, 1.0000000000000002, 7, 1e150, 1e307};
  for (const double n : lengths) {
    for (const double size : lengths) {
      for (const double d : {size, -size}) {
        for (const double bound : {0.1, 0.25, 10.0}) {
          EXPECT_GE(efficient_factor(d, n, bound), 0.75);
          EXPECT_LE(efficient_factor(d, n, bound), 1 + bound);
          EXPECT_GE(newton_factor(d, n, bound), 0);
          EXPECT_LE(newton_factor(d, n, bound), 1 + bound);
        }
      }
    }
  }
}

TEST(Tlr, FactorsAtTheEdges) {
  EXPECT_EQ(efficient_factor(0, 1, 0.25), 1);
  EXPECT_EQ(efficient_factor(1, 0, 0.25), 1);
  EXPECT_EQ(efficient_factor(2, 1, 0.25), 1.25);  // negative curvature
  EXPECT_EQ(efficient_factor(1, 1, 0.25), 1.25);  // none
  EXPECT_EQ(efficient_factor(-1, 1, 0.25), 0.875);
  EXPECT_EQ(newton_factor(-1, 1, 0.25), 0.5);
  EXPECT_EQ(newton_factor(3, 1, 0.25), 1.25);
}

// On f(x) = a x^2 / 2 one Newton step lands on the rate 1/a, where the line search ends.
TEST(Tlr, NewtonIsExactOnAQuadratic) {
  TlrSettings s = settings();
  s.variant = "newton";
  s.bound = 100;
  const Tlr tlr = make_tlr(s);
  const double a = 2, before = 3, after = before * (1 - 0.1 * a);
  double gg = before * before, gp = 0;
  TlrState state = tlr.update(tlr.start(), &gg, &gp, 1);
  gg = after * after, gp = before * after;
  state = tlr.update(state, &gg, &gp, 1);
  EXPECT_NEAR(state.alphas[0].rate, 1 / a, 1e-15);
}

TEST(Tlr, AProductNeverRoundsToZero) {
  TlrSettings s = settings();
  s.variant = "newton";
  const Tlr tlr = make_tlr(s);
  TlrState state = tlr.start();
  for (int i = 0; i < 20; ++i) {
    const double gg = 1e-200, gp = -1e100;
    state = tlr.update(state, &gg, &gp, 1);
    ASSERT_GT(state.alphas[0].rate, 0);
  }
  EXPECT_EQ(state.alphas[0].events, kTlrAtLimit);
}

TEST(Tlr, LeavesOutTensorsThatDoNotLearn) {
  TlrSettings s = settings();
  s.lr_mult = {1, 0};
  const Tlr tlr = make_tlr(s);
  const double gg[] = {1, kNan}, gp[] = {1, kNan};
  const TlrState state = tlr.update(tlr.update(tlr.start(), gg, gp, 1), gg, gp, 1);
  EXPECT_EQ(state.non_finite_tensor, -1);
  EXPECT_EQ(state.alphas[0].rate, 0.125);
}

TEST(Tlr, ReportsTheTensorThatIsNotFiniteAndStays) {
  TlrSettings s = settings();
  s.lr_mult = {1, 1, 1};
  const Tlr tlr = make_tlr(s);
  const double gg[] = {1, 1, 1}, gp[] = {1, kNan, kNan};
  const TlrState state = tlr.update(tlr.update(tlr.start(), gg, gp, 1), gg, gp, 1);
  EXPECT_EQ(state.non_finite_tensor, 1);
  EXPECT_EQ(state.alphas[0].events, kTlrNonFinite);
  EXPECT_EQ(state.alphas[0].rate, 0.1);
}

// There is no window before the first, so whatever stands in its gp is not an event.
TEST(Tlr, DoesNotLookAtTheFirstWindowsGp) {
  const double gg = 1, gp = kNan;
  const Tlr tlr = make_tlr(settings());
  const TlrState state = tlr.update(tlr.start(), &gg, &gp, 1);
  EXPECT_EQ(state.non_finite_tensor, -1);
  EXPECT_EQ(state.alphas[0].events, 0u);
}

// newton divides by what the window before left behind.
TEST(Tlr, AWindowThatOverflowedDoesNotSpoilTheNextOne) {
  TlrSettings s = settings();
  s.variant = "newton";
  const Tlr tlr = make_tlr(s);
  TlrState state = tlr.start();
  for (const double gg : {1.0, std::numeric_limits<double>::infinity(), 4.0, 4.0}) {
    const double gp = 0.5 * gg;
    state = tlr.update(state, &gg, &gp, 1);
    ASSERT_TRUE(std::isfinite(state.alphas[0].rate));
    ASSERT_TRUE(std::isfinite(state.alphas[0].squared));
  }
  EXPECT_EQ(state.alphas[0].rate, 0.125);
}

TEST(Tlr, SaysThatItDiverges) {
  const Tlr tlr = make_tlr(settings());
  double gg = 1;
  const double gp = 0;
  TlrState state = tlr.update(tlr.start(), &gg, &gp, 1);
  gg = 1e6;
  state = tlr.update(state, &gg, &gp, 1);
  EXPECT_EQ(state.alphas[0].events, 0u);
  gg = 1.01e6;
  state = tlr.update(state, &gg, &gp, 1);
  EXPECT_EQ(state.alphas[0].events, kTlrDiverging);
}

// The floor is below the value, and being stopped there is not what happened.
TEST(Tlr, ARateThatHasFallenStartsAgainAndIsCounted) {
  TlrSettings s = settings();
  s.min_lr = 0.088;
  s.restart_below = 0.09;
  const Tlr tlr = make_tlr(s);
  TlrState state = tlr.start();
  for (int window = 0; window < 5; ++window) {
    const double gg = 1, gp = -1;
    state = tlr.update(state, &gg, &gp, 1);
    EXPECT_EQ(state.alphas[0].rate, 0.1);
    EXPECT_EQ(state.alphas[0].events, window == 0 ? 0u : kTlrRestarted);
    EXPECT_EQ(state.alphas[0].restarts, window);
  }
}

TEST(Tlr, ARestartLiesBetweenTheFloorAndTheStart) {
  TlrSettings s = settings();
  s.min_lr = 0.01;
  for (const double below : {0.1, 0.01, 0.2, -1.0, kNan}) {
    s.restart_below = below;
    EXPECT_THROW(make_tlr(s), InputError) << below;
  }
}

TEST(Tlr, CountsTheUpdatesOfAWindow) {
  EXPECT_EQ(tlr_window(1.0 / 3, 391), 130);
  EXPECT_EQ(tlr_window(1.0 / 3, 9), 3);
  EXPECT_EQ(tlr_window(1.0 / 3, 2), 1);
  EXPECT_EQ(tlr_window(0.29, 100), 29);  // 0.29 * 100 is below 29 in doubles
  TlrSettings s = settings();
  s.epoch_iterations = 12;
  EXPECT_FALSE(make_tlr(s).is_due(2));
  EXPECT_TRUE(make_tlr(s).is_due(3));
  s.variant = "hypergradient";
  s.eta = 0.1;
  EXPECT_TRUE(make_tlr(s).is_due(0));
}

}  // namespace
}  // namespace lrpolicy
