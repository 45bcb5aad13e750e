#include "../fill_rates.hpp"

#include "../settings.hpp"
#include "../threads.hpp"
#include "targets.hpp"

namespace lrpolicy {
namespace {

// Iterations in one thread's range: a thread that wakes up late costs little, and a period computed anew less.
constexpr std::int64_t kRatesGrain = 1 << 17;

}  // namespace

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
  const lrpolicy::Target& target = lrpolicy::best_target();
  lrpolicy::for_ranges(count, lrpolicy::kRatesGrain, lrpolicy::settings().threads,
                       [&](std::int64_t begin, std::int64_t end) {
                         target.fill_rates(*policy, first + begin * stride, stride, end - begin, out + begin);
                       });
}
