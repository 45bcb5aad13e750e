// The verb draw_rates: ASLR's rates of all parameter tensors at one iteration, out[i] = aslr_draw(center, seed,
// iteration, i). Every implementation gives the same bits. The caller owns `out`; nothing allocates, nothing throws.
#ifndef LRPOLICY_KERNELS_DRAW_RATES_HPP_
#define LRPOLICY_KERNELS_DRAW_RATES_HPP_

#include <lrpolicy/aslr.hpp>

extern "C" {
void lrpolicy_draw_rates_reference(const lrpolicy::Decimal* center, std::uint64_t seed, std::uint64_t iteration,
                                   std::int64_t count, double* out);
void lrpolicy_draw_rates_simd(const lrpolicy::Decimal* center, std::uint64_t seed, std::uint64_t iteration,
                              std::int64_t count, double* out);
}

#endif  // LRPOLICY_KERNELS_DRAW_RATES_HPP_
