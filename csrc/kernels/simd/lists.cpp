// The verbs over lists: which instruction set, how many threads, and from the pieces' sums to the tensors'.
#include "../call.hpp"
#include "../settings.hpp"
#include "../threads.hpp"
#include "list_targets.hpp"
#include "targets.hpp"

namespace lrpolicy {
namespace {

constexpr std::int64_t kGrain = 4;                    // pieces that a thread takes at a time
constexpr std::int64_t kOneThreadElements = 1 << 16;  // below, 256 KiB of floats, a second thread wakes up too late

template <typename Work>
void for_pieces(const Plan& plan, int threads, const Work& work) {
  const auto count = static_cast<std::int64_t>(plan.pieces.size());
  for_ranges(count, kGrain, plan.element_count < kOneThreadElements ? 1 : threads,
             [&](std::int64_t i, std::int64_t end) {
               for (; i < end; ++i) work(static_cast<std::size_t>(i));
             });
}

// T of block_sum.hpp over the pieces of each tensor; uses up the pieces' sums.
void fold_pieces(Plan& plan, const DotPair& call) {
  std::int64_t first = 0;
  for (std::size_t t = 0; t < plan.counts.size(); ++t) {
    const std::int64_t pieces = (block_count(plan.counts[t]) + kPieceBlocks - 1) / kPieceBlocks;
    call.gg[t] = fold_blocks(plan.gg.data() + first, pieces);
    call.gp[t] = fold_blocks(plan.gp.data() + first, pieces);
    first += pieces;
  }
}

}  // namespace

const ListTarget& best_list_target() {
#if defined(LRPOLICY_X86_TARGETS)
  if (&best_target() == &target_avx512) return list_target_avx512;
  if (&best_target() == &target_avx2) return list_target_avx2;
#endif
  return list_target_baseline;
}

Status dot_pair_with(const ListTarget& target, int threads, Plan* plan, const DotPair* call) {
  return checked(plan, call, [&] {
    for_pieces(*plan, threads, [&](std::size_t i) {
      const DotSums sums = target.dot_pair(*call, plan->pieces[i]);
      plan->gg[i] = sums.gg;
      plan->gp[i] = sums.gp;
    });
    fold_pieces(*plan, *call);
  });
}

Status accumulate_with(const ListTarget& target, int threads, Plan* plan, const Accumulate* call) {
  return checked(plan, call, [&] {
    for_pieces(*plan, threads, [&](std::size_t i) { target.accumulate(*call, plan->pieces[i]); });
  });
}

Status momentum_step_with(const ListTarget& target, int threads, Plan* plan, const MomentumStep* call) {
  return checked(plan, call, [&] {
    for_pieces(*plan, threads, [&](std::size_t i) { target.momentum_step(*call, plan->pieces[i]); });
  });
}

}  // namespace lrpolicy

using namespace lrpolicy;

Status lrpolicy_dot_pair_simd(Plan* plan, const DotPair* call) {
  return dot_pair_with(best_list_target(), settings().threads, plan, call);
}

Status lrpolicy_accumulate_simd(Plan* plan, const Accumulate* call) {
  return accumulate_with(best_list_target(), settings().threads, plan, call);
}

Status lrpolicy_momentum_step_simd(Plan* plan, const MomentumStep* call) {
  return momentum_step_with(best_list_target(), settings().threads, plan, call);
}

void lrpolicy_draw_rates_simd(const Decimal* center, std::uint64_t seed, std::uint64_t iteration, std::int64_t count,
                              double* out) {
  best_list_target().draw_rates(*center, seed, iteration, count, out);
}
