// What the compiler must know before the first formula (C++11, host and device).
//
// LRPOLICY_FUNCTION marks every arithmetic function. `static` is not decoration: the kernels compile these headers once
// per instruction set, and with external linkage the linker would be free to hand the AVX-512 copy to the baseline.
#ifndef LRPOLICY_PLATFORM_HPP_
#define LRPOLICY_PLATFORM_HPP_

#include <cstdint>

#if defined(__CUDACC__)
#define LRPOLICY_FUNCTION static __host__ __device__ inline
#else
#define LRPOLICY_FUNCTION static inline
#endif

#if defined(__FAST_MATH__)
#error "lrpolicy's arithmetic counts on IEEE rounding: compile without -ffast-math"
#endif

namespace lrpolicy {

// Iterations and lengths are whole numbers up to here; twice as much still adds exactly in a double.
constexpr std::int64_t kMaxIteration = std::int64_t{1} << 50;

}  // namespace lrpolicy

#endif  // LRPOLICY_PLATFORM_HPP_
