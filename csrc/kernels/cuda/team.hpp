// The threads of one CUDA block as this folder's arithmetic sees them. Compiled by nvcc they are the block's own;
// compiled by a C++ compiler the same code runs on the host, one thread after another between two barriers, so that its
// bits are tested where there is no GPU.
#ifndef LRPOLICY_KERNELS_CUDA_TEAM_HPP_
#define LRPOLICY_KERNELS_CUDA_TEAM_HPP_

#include <cstdint>

#if defined(__CUDACC__)
#define LRPOLICY_ON_TEAM __device__ inline
#define LRPOLICY_UNROLL _Pragma("unroll")
#else
#define LRPOLICY_ON_TEAM inline
#define LRPOLICY_UNROLL
#endif

namespace lrpolicy {
namespace {

constexpr int kTeam = 128;  // threads: a warp for each of a piece's four blocks
constexpr int kWarp = 32;

#if defined(__CUDACC__)

struct Team {
  template <typename Function>
  __device__ void each(const Function& function) const {
    function(static_cast<int>(threadIdx.x));
  }
  template <typename Function>
  __device__ void one(const Function& function) const {
    if (threadIdx.x == 0) function();
  }
  __device__ void sync() const { __syncthreads(); }
  __device__ void sync_warps() const { __syncwarp(); }

  // For one thread: counts up, from `count` back to 0. True for the call that makes it `count`; after it and a sync(),
  // the whole team sees through shared_load what the callers before had written.
  __device__ bool is_last(unsigned* ticket, unsigned count) const {
    __threadfence();
    const bool last = atomicInc(ticket, count - 1) == count - 1;
    __threadfence();
    return last;
  }
  // *address is at most x.
  __device__ void lower(std::int32_t* address, std::int32_t x) const { atomicMin(address, x); }
  // Past the L1 cache, which may hold what stood there before.
  __device__ double shared_load(const double* address) const { return __ldcg(address); }
};

#else

struct Team {
  bool backwards = false;  // the order of the threads, which must not matter

  template <typename Function>
  void each(const Function& function) const {
    for (int i = 0; i < kTeam; ++i) function(backwards ? kTeam - 1 - i : i);
  }
  template <typename Function>
  void one(const Function& function) const {
    function();
  }
  void sync() const {}
  void sync_warps() const {}
  bool is_last(unsigned* ticket, unsigned count) const {
    if (++*ticket < count) return false;
    *ticket = 0;
    return true;
  }
  void lower(std::int32_t* address, std::int32_t x) const { *address = x < *address ? x : *address; }
  double shared_load(const double* address) const { return *address; }
};

#endif

template <bool whole, int batch, int stride, typename Load, typename Use>
LRPOLICY_ON_TEAM void stream_batch(int first, int count, const Load& load, const Use& use) {
  decltype(load(0)) elements[batch] = {};
  LRPOLICY_UNROLL
  for (int b = 0; b < batch; ++b) {
    if (whole || first + b * stride < count) elements[b] = load(first + b * stride);
  }
  LRPOLICY_UNROLL
  for (int b = 0; b < batch; ++b) {
    if (whole || first + b * stride < count) use(first + b * stride, elements[b]);
  }
}

// One thread's part: use(i, load(i)) for i = first, first + stride, ... below count, in this order, with `batch` loads
// in flight.
template <int batch, int stride, typename Load, typename Use>
LRPOLICY_ON_TEAM void stream(int first, int count, const Load& load, const Use& use) {
  for (; first < count; first += batch * stride) {
    if (first + (batch - 1) * stride < count) {
      stream_batch<true, batch, stride>(first, count, load, use);
    } else {
      stream_batch<false, batch, stride>(first, count, load, use);
    }
  }
}

}  // namespace
}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_CUDA_TEAM_HPP_
