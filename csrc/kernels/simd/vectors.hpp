// The vectors of the instruction set that this file is compiled for, in the compiler's own vector types: x86-64 and
// arm64 alike. A vector of doubles fills a register; its lanes come from as many floats or 16-bit numbers.
#ifndef LRPOLICY_KERNELS_SIMD_VECTORS_HPP_
#define LRPOLICY_KERNELS_SIMD_VECTORS_HPP_

#include <lrpolicy/block_sum.hpp>
#include <type_traits>

namespace lrpolicy {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

constexpr int kWidth = kVectorBytes / 8;  // lanes in a vector
constexpr int kVectors = kLanes / kWidth;

using Doubles = double __attribute__((vector_size(kVectorBytes)));
using Floats = float __attribute__((vector_size(kVectorBytes / 2)));
using Words = std::uint32_t __attribute__((vector_size(kVectorBytes / 2)));
using Shorts = std::uint16_t __attribute__((vector_size(kVectorBytes / 4)));

// Lane by lane; GCC makes one instruction of this loop, and several of __builtin_convertvector.
template <typename To, typename From>
inline To convert(From from) {
  To to;
  for (int i = 0; i < kWidth; ++i) to[i] = static_cast<std::decay_t<decltype(to[0])>>(from[i]);
  return to;
}

template <typename Vector>
inline Vector load(const void* from) {
  Vector v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

inline Doubles load_wide(const double* from) { return load<Doubles>(from); }
inline Floats load_wide(const float* from) { return load<Floats>(from); }

inline Floats load_wide(const BFloat16* from) { return (Floats)(convert<Words>(load<Shorts>(from)) << 16); }

// widen(Float16), with a choice in each lane.
inline Floats load_wide(const Float16* from) {
  const Words bits = convert<Words>(load<Shorts>(from));
  const Words sign = (bits & 0x8000u) << 16, rest = bits & 0x7FFFu;
  const Words small = (Words)(convert<Floats>(rest) * (1.0f / 16777216.0f));
  const Words normal = (rest << 13) + (rest >= 0x7C00u ? rest * 0 + (224u << 23) : rest * 0 + (112u << 23));
  return (Floats)(sign | (rest < 0x0400u ? small : normal));
}

inline Doubles to_doubles(Doubles v) { return v; }
inline Doubles to_doubles(Floats v) { return convert<Doubles>(v); }

// add_product in each lane; `exact` says that the products are, so that hardware which fuses may.
template <bool exact>
inline Doubles add_products(Doubles sums, Doubles x, Doubles y) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  if constexpr (exact) {
    for (int i = 0; i < kWidth; ++i) sums[i] = __builtin_fma(x[i], y[i], sums[i]);
    return sums;
  }
#endif
  return sums + x * y;
}

// L of block_sum.hpp; uses up the vectors.
inline double fold_vectors(Doubles* v) {
  for (int step = kVectors / 2; step > 0; step /= 2) {
    for (int j = 0; j < step; ++j) v[j] += v[j + step];
  }
  double lanes[kWidth];
  std::memcpy(lanes, v, sizeof(lanes));
  for (int step = kWidth / 2; step > 0; step /= 2) {
    for (int j = 0; j < step; ++j) lanes[j] += lanes[j + step];
  }
  return lanes[0];
}

}  // namespace
}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_SIMD_VECTORS_HPP_
