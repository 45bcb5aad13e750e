// The verb fill_rates: the rates of many iterations in one call. Every implementation gives the same bits.
//
// out[i] = rate(policy, first + i * stride), 0 <= i < count. The caller owns `out`, keeps the policy alive, and has
// checked that every iteration lies in 0 .. kMaxIteration. Nothing throws, and nothing allocates, apart from the first
// calls on several threads, once, for the threads. The float32 rates are the double ones, rounded: half the memory to
// write, which takes most of the time where rates repeat or hold.
#ifndef LRPOLICY_KERNELS_FILL_RATES_HPP_
#define LRPOLICY_KERNELS_FILL_RATES_HPP_

#include <lrpolicy/policy_table.hpp>

extern "C" {

// One plain loop: the oracle of the others.
void lrpolicy_fill_rates_reference(const lrpolicy::Policy* policy, std::int64_t first, std::int64_t stride,
                                   std::int64_t count, double* out);

void lrpolicy_fill_rates_float32_reference(const lrpolicy::Policy* policy, std::int64_t first, std::int64_t stride,
                                           std::int64_t count, float* out);

// Vectors, for the best instruction set that this processor has.
void lrpolicy_fill_rates_simd(const lrpolicy::Policy* policy, std::int64_t first, std::int64_t stride,
                              std::int64_t count, double* out);

void lrpolicy_fill_rates_float32_simd(const lrpolicy::Policy* policy, std::int64_t first, std::int64_t stride,
                                      std::int64_t count, float* out);
}

#endif  // LRPOLICY_KERNELS_FILL_RATES_HPP_
