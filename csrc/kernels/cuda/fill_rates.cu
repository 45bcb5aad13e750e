#include <utility>

#include "fill_rates.hpp"

namespace {

using namespace lrpolicy;

constexpr int kThreads = 256;
constexpr std::int64_t kMostBlocks = 4096;

template <std::size_t row>
__global__ void fill_rates(Policy p, std::int64_t first, std::int64_t stride, std::int64_t count, double* out) {
  constexpr auto g = kPolicies[row].g;
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += threads) {
    const std::int64_t since = first + i * stride - p.parameters.start;
    out[i] = since < 0 ? p.parameters.base_lr : rate_of(p, g(p, static_cast<double>(since)));
  }
}

using Kernel = void (*)(Policy, std::int64_t, std::int64_t, std::int64_t, double*);

template <std::size_t... rows>
Kernel kernel_of(int row, std::index_sequence<rows...>) {
  static constexpr Kernel kernels[] = {&fill_rates<rows>...};
  return kernels[row];
}

}  // namespace

cudaError_t lrpolicy_fill_rates_cuda(const Policy* policy, std::int64_t first, std::int64_t stride, std::int64_t count,
                                     double* out, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  const Kernel kernel = kernel_of(policy->row, std::make_index_sequence<kPolicyCount>());
  const std::int64_t blocks = (count + kThreads - 1) / kThreads;
  kernel<<<static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks), kThreads, 0, stream>>>(
      *policy, first, stride, count, out);
  return cudaGetLastError();
}
