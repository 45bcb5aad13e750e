// The CUDA kernels' arithmetic, played on the host: the same code, thread after thread and block after block in any
// order, gives the reference's bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "cuda/dot_pair_team.hpp"
#include "cuda/updates_team.hpp"
#include "draw_rates.hpp"
#include "tensor_lists.hpp"

namespace lrpolicy {
namespace {

// Sizes that need no group and one, and with `large` a full group and groups of groups.
std::vector<std::int64_t> counts_of_the_tests(bool large) {
  std::vector<std::int64_t> counts = edge_counts();
  constexpr std::int64_t kPiece = kTeamBlocks * kBlock;
  counts.insert(counts.end(), {kPiece, kPiece + 1});
  if (large) counts.insert(counts.end(), {kGroupNodes * kPiece, kGroupNodes * kPiece + 1});
  return counts;
}

// A plan whose memory is the host's.
struct HostPlan {
  explicit HostPlan(bool large = false) : counts(counts_of_the_tests(large)) {}

  std::vector<std::int64_t> counts;
  Table table = table_of(counts);
  std::vector<DotNode> nodes = std::vector<DotNode>(table.pieces.size() + table.groups.size());
  std::vector<unsigned> tickets = std::vector<unsigned>(table.groups.size() + 1);
  PlanPointer reference = make_plan(counts);

  // run(team, piece) for every piece, in an order of its own for each round.
  template <typename Run>
  void for_pieces(unsigned round, const Run& run) const {
    std::vector<std::int32_t> order(table.pieces.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
    if (round > 0) std::shuffle(order.begin(), order.end(), std::mt19937(round));
    for (const std::int32_t piece : order) run(Team{round % 2 == 1}, piece);
  }
  std::size_t tensor_of(std::int32_t piece) const {
    return static_cast<std::size_t>(table.pieces[static_cast<std::size_t>(piece)].tensor);
  }
  DotWork work(bool roll, std::vector<double>& sums) {
    return {table.pieces.data(),
            table.groups.data(),
            nodes.data(),
            tickets.data(),
            &tickets.back(),
            static_cast<std::int32_t>(table.pieces.size()),
            static_cast<std::int32_t>(counts.size()),
            roll,
            false,
            sums.data(),
            sums.data() + counts.size(),
            {}};
  }
};

template <typename T>
void expect_same_bits(const std::vector<T>& expected, const std::vector<T>& actual, unsigned round) {
  ASSERT_EQ(expected.size(), actual.size());
  EXPECT_EQ(0, std::memcmp(expected.data(), actual.data(), expected.size() * sizeof(T))) << "round " << round;
}

TEST(CudaTable, CoversEachTensorAndClimbsToOneSum) {
  const std::vector<std::int64_t> counts = {0, 1, 4096, 4097, 0, 300 * 4096, 256 * 256 * 4096LL + 1};
  const Table table = table_of(counts);
  const auto pieces = static_cast<std::int32_t>(table.pieces.size());
  ASSERT_EQ(table.first_piece.size(), counts.size() + 1);
  std::vector<std::int64_t> covered(counts.size());
  std::vector<int> arrivals(table.groups.size());
  for (const TeamPiece& piece : table.pieces) {
    EXPECT_EQ(piece.first, covered[static_cast<std::size_t>(piece.tensor)]);
    covered[static_cast<std::size_t>(piece.tensor)] += piece.count;
    if (piece.group != kTop) ++arrivals[static_cast<std::size_t>(piece.group)];
  }
  EXPECT_EQ(covered, counts);
  int tops = 0;
  for (std::size_t g = 0; g < table.groups.size(); ++g) {
    const Group& group = table.groups[g];
    EXPECT_LT(group.first_node, pieces + static_cast<std::int32_t>(g));  // what is below comes before
    EXPECT_LE(group.count, kGroupNodes);
    if (group.group != kTop) ++arrivals[static_cast<std::size_t>(group.group)];
    tops += group.group == kTop;
  }
  EXPECT_EQ(tops, 3);  // 4097, 300 pieces, 65537 pieces; the others are one piece each
  for (std::size_t g = 0; g < arrivals.size(); ++g) EXPECT_EQ(arrivals[g], table.groups[g].count);
  EXPECT_TRUE(table_of({}).pieces.empty());
}

template <typename T>
class CudaBlocksOf : public testing::Test {};

using Types = testing::Types<float, double, BFloat16, Float16>;
TYPED_TEST_SUITE(CudaBlocksOf, Types);

template <typename T, bool displaced>
void compare_dot_pairs(bool roll) {
  using P = std::conditional_t<displaced, Wide<T>, T>;
  HostPlan plan(std::is_same_v<T, float>);
  const std::size_t n = plan.counts.size();
  const TensorList<T> now(plan.counts, 1), started(plan.counts, 3);
  const TensorList<P> rolled(plan.counts, 2);
  std::vector<double> expected(2 * n, -1);
  const DotPair call = {
      kDTypeOf<T>,        roll, now.read(), rolled.write(), displaced ? started.write() : nullptr, expected.data(),
      expected.data() + n};
  ASSERT_EQ(lrpolicy_dot_pair_reference(plan.reference.get(), &call), Status::kOk);
  DotShared shared;
  for (unsigned round = 0; round < 4; ++round) {
    const TensorList<T> start(plan.counts, 3);
    const TensorList<P> previous(plan.counts, 2);
    std::vector<double> sums(2 * n, -1);
    const DotWork work = plan.work(roll, sums);
    plan.for_pieces(round, [&](Team team, std::int32_t piece) {
      const std::size_t t = plan.tensor_of(piece);
      dot_pair_team<T, displaced>(team, work, piece, now.pointers[t], previous.pointers[t], start.pointers[t], shared);
    });
    expect_same_bits(expected, sums, round);
    expect_same_bits(rolled.memory, previous.memory, round);
    expect_same_bits(started.memory, start.memory, round);
    EXPECT_EQ(plan.tickets, std::vector<unsigned>(plan.tickets.size())) << "tickets are back at 0";
  }
}

TYPED_TEST(CudaBlocksOf, DotPairsAreTheReferences) { compare_dot_pairs<TypeParam, false>(false); }
TYPED_TEST(CudaBlocksOf, RollingDotPairsAreTheReferences) { compare_dot_pairs<TypeParam, false>(true); }
TYPED_TEST(CudaBlocksOf, DotPairsOfDisplacementsAreTheReferences) { compare_dot_pairs<TypeParam, true>(false); }
TYPED_TEST(CudaBlocksOf, RollingDotPairsOfDisplacementsAreTheReferences) { compare_dot_pairs<TypeParam, true>(true); }

TYPED_TEST(CudaBlocksOf, SumsOfGradientsAreTheReferences) {
  const HostPlan plan;
  const TensorList<TypeParam> gradients(plan.counts, 1);
  const TensorList<Wide<TypeParam>> expected(plan.counts, 2);
  const double third = 1.0 / 3;
  const Accumulate call = {kDTypeOf<TypeParam>, third, gradients.read(), expected.write()};
  ASSERT_EQ(lrpolicy_accumulate_reference(plan.reference.get(), &call), Status::kOk);
  for (const AccumulateWork& work : {AccumulateWork{plan.table.pieces.data(), third, nullptr},
                                     AccumulateWork{plan.table.pieces.data(), -1, &third}}) {
    const TensorList<Wide<TypeParam>> sums(plan.counts, 2);
    plan.for_pieces(1, [&](Team team, std::int32_t piece) {
      const std::size_t t = plan.tensor_of(piece);
      accumulate_team<TypeParam>(team, work, piece, gradients.pointers[t], sums.pointers[t]);
    });
    expect_same_bits(expected.memory, sums.memory, 1);
  }
}

TEST(CudaBlocks, MomentumStepsAreTheReferences) {
  HostPlan plan;
  const TensorList<float> gradients(plan.counts, 1);
  std::vector<float> multipliers, decays;
  for (std::size_t t = 0; t < plan.counts.size(); ++t) {
    multipliers.push_back(0.01f * static_cast<float>(t + 1));
    decays.push_back(t % 3 == 0 ? 0 : 5e-4f * static_cast<float>(t));
  }
  for (int variant = 0; variant < 16; ++variant) {
    const bool is_drawn = variant / 4 % 2 == 1;
    AslrDraws draws = {{3, -2}, 17, 1234567890123};
    std::vector<float> rates = multipliers;
    if (is_drawn) {
      for (std::size_t t = 0; t < rates.size(); ++t) {
        rates[t] *= static_cast<float>(aslr_draw(draws.center, 17, 1234567890123, static_cast<std::uint32_t>(t)));
      }
    }
    const TensorList<float> weights(plan.counts, 2), history(plan.counts, 3);
    const TensorList<float> own_weights(plan.counts, 2), own_history(plan.counts, 3);
    const MomentumStep call = {variant % 2 == 1,
                               variant < 8,
                               variant / 2 % 2 == 1 ? Regularization::kL1 : Regularization::kL2,
                               0.9f,
                               rates.data(),
                               decays.data(),
                               const_cast<const float* const*>(gradients.pointers.data()),
                               weights.pointers.data(),
                               history.pointers.data()};
    ASSERT_EQ(lrpolicy_momentum_step_reference(plan.reference.get(), &call), Status::kOk);
    const MomentumWork work = {plan.table.pieces.data(),
                               &plan.tickets.back(),
                               static_cast<std::int32_t>(plan.table.pieces.size()),
                               call.nesterov,
                               call.rate_inside,
                               call.regularization,
                               0.9f,
                               multipliers.data(),
                               decays.data(),
                               is_drawn ? &draws : nullptr};
    float shared_rate = 0;
    plan.for_pieces(static_cast<unsigned>(variant), [&](Team team, std::int32_t piece) {
      const std::size_t t = plan.tensor_of(piece);
      momentum_team(team, work, piece, gradients.pointers[t], own_weights.pointers[t], own_history.pointers[t],
                    shared_rate);
    });
    expect_same_bits(weights.memory, own_weights.memory, static_cast<unsigned>(variant));
    expect_same_bits(history.memory, own_history.memory, static_cast<unsigned>(variant));
    EXPECT_EQ(draws.iteration, is_drawn ? 1234567890124u : 1234567890123u);
  }
}

TEST(CudaBlocks, DrawsAreTheReferences) {
  for (const std::size_t count : {0u, 1u, 5u, 161u, 512u, 513u, 2000u}) {
    AslrDraws draws = {{9, 1}, 0x123456789ABCDEFu, 98765432101};
    std::vector<double> expected(count + 1, -1), actual(expected);
    lrpolicy_draw_rates_reference(&draws.center, draws.seed, draws.iteration, static_cast<std::int64_t>(count),
                                  expected.data());
    draw_team(Team{count % 2 == 1}, &draws, static_cast<std::int64_t>(count), actual.data());
    expect_same_bits(expected, actual, static_cast<unsigned>(count));
    EXPECT_EQ(draws.iteration, 98765432102u);
  }
}

// Three windows of TLR on the device against the state machine.
void compare_rates(TlrVariant variant, TlrSource source, bool per_tensor, bool poisoned) {
  HostPlan plan;
  const std::size_t n = plan.counts.size();
  const TlrRule rule = {variant, source, 0.25, 1e-3, 1e-6, 1.0, 1e4, 0.01, 0.008};
  std::vector<double> lr_mult(n);
  for (std::size_t t = 0; t < n; ++t) lr_mult[t] = static_cast<double>(t % 4) / 2;  // some learn nothing
  const Tlr tlr = {rule, 1, lr_mult, per_tensor};
  TlrState state = tlr.start();
  std::vector<TlrAlpha> alphas = state.alphas;
  DeviceTlrCounts counts = {0, -1, 0};
  std::vector<float> rates(n);
  std::vector<double> sums(2 * n);
  DotShared shared;
  TensorList<float> previous(plan.counts, 2);
  for (unsigned window = 0; window < 3; ++window) {
    const TensorList<float> g(plan.counts, 10 + window);
    if (poisoned && window == 1) g.pointers[7][3] = HUGE_VALF;
    DotWork work = plan.work(true, sums);
    work.learns = true;
    counts.updates = 3 + window;
    work.tlr = {rule, per_tensor, lr_mult.data(), alphas.data(), &counts, rates.data()};
    plan.for_pieces(window, [&](Team team, std::int32_t piece) {
      const std::size_t t = plan.tensor_of(piece);
      dot_pair_team<float, false>(team, work, piece, g.pointers[t], previous.pointers[t], nullptr, shared);
    });
    state = tlr.update(state, sums.data(), sums.data() + n, 3 + window);
    EXPECT_EQ(counts.windows, state.windows);
    EXPECT_EQ(counts.non_finite_tensor, state.non_finite_tensor);
    for (std::size_t i = 0; i < alphas.size(); ++i) {
      EXPECT_EQ(alphas[i].rate, state.alphas[i].rate) << i;
      EXPECT_EQ(alphas[i].scale, state.alphas[i].scale);
      EXPECT_EQ(alphas[i].squared, state.alphas[i].squared);
      EXPECT_EQ(alphas[i].first, state.alphas[i].first);
      EXPECT_EQ(alphas[i].events, state.alphas[i].events);
      EXPECT_EQ(alphas[i].restarts, state.alphas[i].restarts);
    }
    for (std::size_t t = 0; t < n; ++t) {
      EXPECT_EQ(rates[t], static_cast<float>(tlr.rate(state, t)) * static_cast<float>(lr_mult[t]));
    }
    EXPECT_EQ(plan.tickets, std::vector<unsigned>(plan.tickets.size()));
  }
}

TEST(CudaBlocks, TlrsRatesAreTheStateMachines) {
  for (const TlrVariantRow& row : kTlrVariants) {
    for (const TlrSource source : {TlrSource::kGradient, TlrSource::kDisplacement}) {
      for (const bool per_tensor : {false, true}) compare_rates(row.variant, source, per_tensor, false);
    }
  }
  compare_rates(TlrVariant::kEfficient, TlrSource::kGradient, true, true);
  compare_rates(TlrVariant::kEfficient, TlrSource::kGradient, false, true);
}

}  // namespace
}  // namespace lrpolicy
