// draw_rates in vectors: Philox blocks side by side, one in each lane, and the rates they give.
#ifndef LRPOLICY_KERNELS_SIMD_DRAW_RATES_BLOCK_HPP_
#define LRPOLICY_KERNELS_SIMD_DRAW_RATES_BLOCK_HPP_

#include <algorithm>
#include <lrpolicy/aslr.hpp>

namespace lrpolicy {
namespace {

constexpr int kSideBySide = 16;  // Philox blocks; 64 rates

// aslr_uniforms of 16 blocks, in the order of their tensors; the loops over `j` become vectors.
inline void uniforms_of(std::uint64_t seed, std::uint64_t iteration, std::uint32_t first_block, double* u) {
  for (std::uint32_t j = 0; j < kSideBySide; ++j) {
    const AslrUniforms four = aslr_uniforms(seed, iteration, first_block + j);
    for (std::uint32_t k = 0; k < 4; ++k) u[4 * j + k] = four.u[k];
  }
}

void draw_rates(Decimal center, std::uint64_t seed, std::uint64_t iteration, std::int64_t count, double* out) {
  constexpr std::int64_t kRates = 4 * kSideBySide;
  for (std::int64_t first = 0; first < count; first += kRates) {
    double u[kRates];
    uniforms_of(seed, iteration, static_cast<std::uint32_t>(first / 4), u);
    const std::int64_t rates = std::min(kRates, count - first);
    for (std::int64_t i = 0; i < rates; ++i) out[first + i] = aslr_rate(center, u[i]);
  }
}

}  // namespace
}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_SIMD_DRAW_RATES_BLOCK_HPP_
