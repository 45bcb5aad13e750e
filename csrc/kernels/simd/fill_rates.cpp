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

template <typename Fill, typename Real>
void fill_on_threads(Fill fill, const Policy& policy, std::int64_t first, std::int64_t stride, std::int64_t count,
                     Real* out) {
  const int threads = settings().threads;
  const std::int64_t grain = std::max(kRatesGrain, count / (kRangesPerThread * threads) + 1);
  for_ranges(count, grain, threads, [&](std::int64_t begin, std::int64_t end) {
    fill(policy, first + begin * stride, stride, end - begin, out + begin);
  });
}

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
  lrpolicy::fill_on_threads(lrpolicy::best_target().fill_rates, *policy, first, stride, count, out);
}

void lrpolicy_fill_rates_float32_simd(const lrpolicy::Policy* policy, std::int64_t first, std::int64_t stride,
                                      std::int64_t count, float* out) {
  lrpolicy::fill_on_threads(lrpolicy::best_target().fill_rates_float32, *policy, first, stride, count, out);
}
