#include "../fill_rates.hpp"

#include <algorithm>

#include "../settings.hpp"
#include "../threads.hpp"
#include "targets.hpp"

namespace lrpolicy {
namespace {

// Iterations in one range, at least: worth a thread's waking up, and much more than a period that is computed anew.
constexpr std::int64_t kRatesGrain = 1 << 17;
// Ranges for each thread: one that wakes up late leaves the rest to the others.
constexpr std::int64_t kRangesPerThread = 2;

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
  const int threads = lrpolicy::settings().threads;
  const std::int64_t grain = std::max(lrpolicy::kRatesGrain, count / (lrpolicy::kRangesPerThread * threads) + 1);
  lrpolicy::for_ranges(count, grain, threads, [&](std::int64_t begin, std::int64_t end) {
    target.fill_rates(*policy, first + begin * stride, stride, end - begin, out + begin);
  });
}
