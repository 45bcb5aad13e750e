#include "../fill_rates.hpp"

#include <algorithm>

#include "../settings.hpp"
#include "../threads.hpp"
#include "targets.hpp"

namespace lrpolicy {
namespace {

// What is worth waking a thread, and what a thread takes at a time: one that wakes up late leaves the rest to the
// others.
constexpr std::int64_t kWorthThreads = 1 << 17, kRatesGrain = 1 << 15;
// A copy of fewer numbers is not worth its call.
constexpr std::int64_t kLeastCopy = 1000;

template <typename Work>
void in_ranges(std::int64_t count, const Work& work) {
  for_ranges(count, kRatesGrain, count < kWorthThreads ? 1 : settings().threads, work);
}

// After how many iterations the rates repeat, 0 for never: as many periods as are worth a copy.
std::int64_t repetition(const Policy& p) {
  const Pattern pattern = kPolicies[p.row].pattern;
  if (pattern != Pattern::kRepeatsAfterL && pattern != Pattern::kRepeatsAfterTwoL) return 0;
  const std::int64_t period = (pattern == Pattern::kRepeatsAfterL ? 1 : 2) * p.parameters.stepsize;
  return period * ((kLeastCopy + period - 1) / period);
}

// Fills begin .. end of `out`, whose first `period` numbers are there, with their repetition.
template <typename Real>
void repeat(std::int64_t period, std::int64_t begin, std::int64_t end, Real* out) {
  for (std::int64_t done = begin, phase = begin % period; done < end; phase = 0) {
    const std::int64_t width = std::min(period - phase, end - done);
    std::copy_n(out + phase, width, out + done);
    done += width;
  }
}

template <typename Fill, typename Real>
void fill_on_threads(Fill fill, const Policy& policy, std::int64_t first, std::int64_t stride, std::int64_t count,
                     Real* out) {
  const std::int64_t period = stride == 1 ? repetition(policy) : 0;
  const std::int64_t before_start = std::max<std::int64_t>(policy.parameters.start - first, 0);
  const std::int64_t computed = period > 0 ? std::min(count, before_start + period) : count;
  in_ranges(computed, [&](std::int64_t begin, std::int64_t end) {
    fill(policy, first + begin * stride, stride, end - begin, out + begin);
  });
  in_ranges(count - computed, [&](std::int64_t begin, std::int64_t end) {
    repeat(period, period + begin, period + end, out + before_start);
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
