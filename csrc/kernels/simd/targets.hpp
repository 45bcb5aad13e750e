// The instruction sets that the simd kernels are compiled for.
#ifndef LRPOLICY_KERNELS_SIMD_TARGETS_HPP_
#define LRPOLICY_KERNELS_SIMD_TARGETS_HPP_

#include "../fill_rates.hpp"

namespace lrpolicy {

// One compilation of fill_rates_target.cpp.
struct Target {
  const char* name;
  double (*rate)(const Policy&, std::int64_t t);
  void (*fill_rates)(const Policy&, std::int64_t first, std::int64_t stride, std::int64_t count, double* out);
  void (*fill_rates_float32)(const Policy&, std::int64_t first, std::int64_t stride, std::int64_t count, float* out);
};

extern const Target target_baseline;
#if defined(LRPOLICY_X86_TARGETS)
extern const Target target_avx2;
extern const Target target_avx512;
#endif

// The best target that this processor and operating system can run, chosen once.
const Target& best_target();

}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_SIMD_TARGETS_HPP_
