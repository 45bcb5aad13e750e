// fill_rates on an NVIDIA GPU: the same arithmetic, the same bits.
#ifndef LRPOLICY_KERNELS_CUDA_FILL_RATES_HPP_
#define LRPOLICY_KERNELS_CUDA_FILL_RATES_HPP_

#include <cuda_runtime_api.h>

#include <lrpolicy/policy_table.hpp>

extern "C" {

// out[i] = rate(policy, first + i * stride), 0 <= i < count, on the caller's stream. `out` and, for multistep,
// policy->parameters.stepvalue are device memory; the policy itself is read before the call returns. Every iteration
// lies in 0 .. kMaxIteration. Neither allocates nor waits, and may be captured in a graph, after a first call that
// brings the policy's kernel to the device. Returns the launch's status.
cudaError_t lrpolicy_fill_rates_cuda(const lrpolicy::Policy* policy, std::int64_t first, std::int64_t stride,
                                     std::int64_t count, double* out, cudaStream_t stream);
}

#endif  // LRPOLICY_KERNELS_CUDA_FILL_RATES_HPP_
