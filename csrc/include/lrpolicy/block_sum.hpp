// The sum of products, defined to the last bit, for any number of threads, any vector length and any device (C++11).
//
//   sum over i < count of x[i] * y[i]  =  T(S_0, S_1, ..., S_(B-1)),   B = ceil(count / 1024)
//   S_b      = L(s_0, ..., s_31)       a block: 1024 consecutive elements in 32 lanes
//   s_j      = ((0 + p[j]) + p[j + 32]) + ... + p[j + 31 * 32]      p[i]: the product of the block's element i
//   L        : s_j += s_(j + 16) for j < 16, then with 8, 4, 2 and 1; the sum is s_0
//   T        : neighbours, S_(2k) + S_(2k + 1), until one is left; a last one without neighbour goes up as it is
//
// All in double, each operation rounded once. Where the tensor ends, p and S are +0: a lane never holds -0, so that
// adding +0 changes no bit, and short blocks, padding and skipping are the same. Every run of 2^n blocks that begins
// at a multiple of 2^n is a node of the tree: its sum may be formed anywhere, and T continues over such nodes.
// A count of 0 gives +0. Which NaN comes out of a NaN is left open; that one does is not.
//
// Why these numbers: 32 double lanes are a warp, and with both sums 8 vectors of AVX-512 or 16 of AVX2. A block is one
// page of floats, one warp's loads in flight, and small enough that short lists fill a GPU.
//
// Error. A product of two floats (or 16-bit numbers) is exact in double, so that a fused multiply-add gives the same
// bits; a product of doubles is rounded once, and never fused. A term then passes at most 31 + 5 + ceil(log2 B)
// rounded additions, so that with u = 2^-53, d = 36 + ceil(log2 B), and d + 1 for doubles,
//   |sum - exact| <= d u / (1 - d u) * sum of |x[i] y[i]|    ( <= that times |x| |y|)
// For <g,g> this is a relative error: below 6e-15 for 1e8 floats. Two doubles whose product falls below 2^-1022 add at
// most 2^-1075 each.
#ifndef LRPOLICY_BLOCK_SUM_HPP_
#define LRPOLICY_BLOCK_SUM_HPP_

#include <cmath>
#include <lrpolicy/float16.hpp>

namespace lrpolicy {

constexpr int kLanes = 32;
constexpr int kBlock = 1024;

LRPOLICY_FUNCTION std::int64_t block_count(std::int64_t count) { return (count + kBlock - 1) / kBlock; }

// sum + x * y. The product of floats is exact, so that hardware which fuses may.
LRPOLICY_FUNCTION double add_product(double sum, float x, float y) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__CUDA_ARCH__)
  return std::fma(static_cast<double>(x), static_cast<double>(y), sum);
#else
  return sum + static_cast<double>(x) * static_cast<double>(y);
#endif
}

LRPOLICY_FUNCTION double add_product(double sum, double x, double y) { return sum + x * y; }

// L, in place.
LRPOLICY_FUNCTION double fold_lanes(double* lanes) {
  for (int step = kLanes / 2; step > 0; step /= 2) {
    for (int j = 0; j < step; ++j) lanes[j] += lanes[j + step];
  }
  return lanes[0];
}

// T, in place.
LRPOLICY_FUNCTION double fold_blocks(double* sums, std::int64_t count) {
  if (count == 0) return 0;
  for (std::int64_t step = 1; step < count; step *= 2) {
    for (std::int64_t k = 0; k + step < count; k += 2 * step) sums[k] += sums[k + step];
  }
  return sums[0];
}

}  // namespace lrpolicy

#endif  // LRPOLICY_BLOCK_SUM_HPP_
