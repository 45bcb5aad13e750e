// draw_rates in vectors: a Philox block in each lane of 64 bits, its four words in four vectors.
#ifndef LRPOLICY_KERNELS_SIMD_DRAW_RATES_BLOCK_HPP_
#define LRPOLICY_KERNELS_SIMD_DRAW_RATES_BLOCK_HPP_

#include <algorithm>
#include <lrpolicy/aslr.hpp>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "vectors.hpp"

namespace lrpolicy {
namespace {

using Longs = std::uint64_t __attribute__((vector_size(kVectorBytes)));

struct PhiloxVectors {
  Longs word[4];  // each lane below 2^32
};

// Products of the lower halves of the lanes, in all 64 bits.
inline Longs multiply_words(Longs x, std::uint32_t factor) {
#if defined(__AVX512F__)
  return (Longs)_mm512_maskz_mul_epu32(0xFF, (__m512i)x, _mm512_set1_epi64(factor));  // without a mask GCC 12 warns
#elif defined(__AVX2__)
  return (Longs)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi64x(factor));
#elif defined(__SSE2__)
  return (Longs)_mm_mul_epu32((__m128i)x, _mm_set1_epi64x(factor));
#else
  return x * factor;
#endif
}

// philox_round in each lane.
inline PhiloxVectors philox_round(const PhiloxVectors& c, PhiloxKey k) {
  const Longs first = multiply_words(c.word[0], 0xD2511F53), second = multiply_words(c.word[2], 0xCD9E8D57);
  constexpr std::uint64_t kLower = 0xFFFFFFFF;
  return {{second >> 32 ^ c.word[1] ^ k.word[0], second & kLower, first >> 32 ^ c.word[3] ^ k.word[1], first & kLower}};
}

// aslr_uniforms of the blocks first_block, first_block + 1, ...
struct UniformVectors {
  Doubles u[4];
};

inline UniformVectors uniforms_of(std::uint64_t seed, std::uint64_t iteration, std::uint64_t first_block) {
  PhiloxVectors c = {};
  for (int j = 0; j < kWidth; ++j) c.word[0][j] = first_block + static_cast<std::uint64_t>(j);
  c.word[1] += iteration & 0xFFFFFFFF;
  c.word[2] += iteration >> 32;
  PhiloxKey key = {{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    c = philox_round(c, key);
    key.word[0] += 0x9E3779B9;
    key.word[1] += 0xBB67AE85;
  }
  UniformVectors uniforms;
  for (int k = 0; k < 4; ++k) {
    constexpr double kTwo52 = 4503599627370496.0;  // its fraction takes up a whole number below 2^52
    const Doubles whole = (Doubles)(c.word[k] | 0x4330000000000000u) - kTwo52;
    uniforms.u[k] = (whole + 0.5) * (1.0 / 4294967296.0);
  }
  return uniforms;
}

// aslr_rate in each lane.
inline Doubles rates_of(Decimal center, Doubles u) {
  const Doubles digits = center.digit - 0.5 + u;
  return center.exponent < 0 ? digits / power_of_ten(-center.exponent) : digits * power_of_ten(center.exponent);
}

constexpr std::int64_t kRates = 4 * kWidth;

// out[4 j + k] = lane j of rates[k].
inline void store_woven(const Doubles (&rates)[4], double* out) {
#if defined(__AVX512F__)
  const __m512i lower = (__m512i)Longs{0, 8, 1, 9, 2, 10, 3, 11}, upper = (__m512i)Longs{4, 12, 5, 13, 6, 14, 7, 15};
  const auto weave = [](Doubles a, __m512i lanes, Doubles b) { return (Doubles)_mm512_permutex2var_pd(a, lanes, b); };
  const Doubles even[] = {weave(rates[0], lower, rates[2]), weave(rates[0], upper, rates[2])};
  const Doubles odd[] = {weave(rates[1], lower, rates[3]), weave(rates[1], upper, rates[3])};
  for (int j = 0; j < 2; ++j) {
    const Doubles woven[] = {weave(even[j], lower, odd[j]), weave(even[j], upper, odd[j])};
    std::memcpy(out + 2 * j * kWidth, woven, sizeof(woven));
  }
#else
  for (int i = 0; i < kRates; ++i) out[i] = rates[i % 4][i / 4];
#endif
}

void draw_rates(Decimal center, std::uint64_t seed, std::uint64_t iteration, std::int64_t count, double* out) {
  for (std::int64_t first = 0; first < count; first += kRates) {
    const UniformVectors uniforms = uniforms_of(seed, iteration, static_cast<std::uint64_t>(first / 4));
    Doubles rates[4];
    for (int k = 0; k < 4; ++k) rates[k] = rates_of(center, uniforms.u[k]);
    if (count - first >= kRates) {
      store_woven(rates, out + first);
    } else {
      double last[kRates];
      store_woven(rates, last);
      std::copy_n(last, count - first, out + first);
    }
  }
}

}  // namespace
}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_SIMD_DRAW_RATES_BLOCK_HPP_
