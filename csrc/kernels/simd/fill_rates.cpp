#include "../fill_rates.hpp"

#include "targets.hpp"

namespace lrpolicy {

const Target& best_target() {
#if defined(LRPOLICY_X86_TARGETS)
  static const Target& best = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
                                  ? target_avx512
                              : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? target_avx2
                                                                                                : target_baseline;
  return best;
#else
  return target_baseline;
#endif
}

}  // namespace lrpolicy

void lrpolicy_fill_rates_simd(const lrpolicy::Policy* policy, std::int64_t first, std::int64_t stride,
                              std::int64_t count, double* out) {
  lrpolicy::best_target().fill_rates(*policy, first, stride, count, out);
}
