// The verbs over lists for one instruction set: each works on one piece of one tensor, or on a list of tensors' draws.
#ifndef LRPOLICY_KERNELS_SIMD_LIST_TARGETS_HPP_
#define LRPOLICY_KERNELS_SIMD_LIST_TARGETS_HPP_

#include "../accumulate.hpp"
#include "../dot_pair.hpp"
#include "../draw_rates.hpp"
#include "../momentum_step.hpp"

namespace lrpolicy {

struct DotSums {
  double gg, gp;
};

// One compilation of the *_target.cpp files.
struct ListTarget {
  const char* name;
  DotSums (*dot_pair)(const DotPair&, const Piece&);
  void (*accumulate)(const Accumulate&, const Piece&);
  void (*momentum_step)(const MomentumStep&, const Piece&);
  void (*draw_rates)(Decimal center, std::uint64_t seed, std::uint64_t iteration, std::int64_t count, double* out);
};

extern const ListTarget list_target_baseline;
#if defined(LRPOLICY_X86_TARGETS)
extern const ListTarget list_target_avx2;
extern const ListTarget list_target_avx512;
#endif

// The one for this processor, chosen as best_target() is.
const ListTarget& best_list_target();

// The verbs with a given target and at most so many threads. Every choice gives the same bits.
Status dot_pair_with(const ListTarget& target, int threads, Plan* plan, const DotPair* call);
Status accumulate_with(const ListTarget& target, int threads, Plan* plan, const Accumulate* call);
Status momentum_step_with(const ListTarget& target, int threads, Plan* plan, const MomentumStep* call);

}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_SIMD_LIST_TARGETS_HPP_
