// The two 16-bit formats of gradients, widened to float exactly (C++11, host and device). Nothing is ever narrowed.
#ifndef LRPOLICY_FLOAT16_HPP_
#define LRPOLICY_FLOAT16_HPP_

#include <cstring>
#include <lrpolicy/platform.hpp>

namespace lrpolicy {

// sign 1, exponent 8, fraction 7: the upper half of a float.
struct BFloat16 {
  std::uint16_t bits;
};

// IEEE 754 binary16: sign 1, exponent 5 with bias 15, fraction 10.
struct Float16 {
  std::uint16_t bits;
};

LRPOLICY_FUNCTION float float_of_bits(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

LRPOLICY_FUNCTION double widen(double x) { return x; }
LRPOLICY_FUNCTION float widen(float x) { return x; }
LRPOLICY_FUNCTION float widen(BFloat16 x) { return float_of_bits(std::uint32_t{x.bits} << 16); }

// Exponent 31 is infinity or NaN, exponent 0 a fraction in units of 2^-24; in between only the bias changes, by 112.
LRPOLICY_FUNCTION float widen(Float16 x) {
#if defined(__CUDA_ARCH__)
  float wide;  // one instruction, where the bits below would take longer than the memory
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
  return wide;
#else
  const std::uint32_t sign = (x.bits & 0x8000u) << 16, exponent = x.bits & 0x7C00u, fraction = x.bits & 0x03FFu;
  if (exponent == 0x7C00u) return float_of_bits(sign | 0x7F800000u | fraction << 13);
  if (exponent != 0) return float_of_bits(sign | (((exponent | fraction) << 13) + (112u << 23)));
  const float magnitude = static_cast<float>(fraction) * (1.0f / 16777216.0f);
  return sign != 0 ? -magnitude : magnitude;
#endif
}

// What differences and sums of a type are kept in: float for the 16-bit formats, and the type itself otherwise.
template <typename T>
struct WideOf {
  using type = float;
};

template <>
struct WideOf<double> {
  using type = double;
};

template <typename T>
using Wide = typename WideOf<T>::type;

}  // namespace lrpolicy

#endif  // LRPOLICY_FLOAT16_HPP_
