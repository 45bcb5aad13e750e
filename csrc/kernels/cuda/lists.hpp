// The verbs over lists of tensors in the memory of an NVIDIA GPU: the calls and the bits of the CPU's verbs.
//
// A call launches one kernel for hundreds of tensors (kListPointers addresses travel as its parameters; longer lists
// take one launch for as many) on the caller's stream. It neither allocates nor waits, and may be captured in a CUDA
// graph; a graph replays the addresses and host numbers that it was captured with, so that rates, scales, iterations
// and TLR's state lie in device memory. Pointer lists are host memory, what they point to is device memory.
//
// A plan's calls must follow one another on the device: one stream, or streams that wait for each other. Two at once
// would share its sums.
#ifndef LRPOLICY_KERNELS_CUDA_LISTS_HPP_
#define LRPOLICY_KERNELS_CUDA_LISTS_HPP_

#include <cuda_runtime_api.h>

#include "dot_pair_team.hpp"
#include "updates_team.hpp"

namespace lrpolicy {

constexpr int kListPointers = 3900;  // in the 32 KiB of a kernel's parameters

struct CudaPlan {
  std::vector<std::int64_t> counts;
  std::vector<std::int32_t> first_piece;  // of each tensor, and the number of pieces
  int device;
  void* memory;  // of all that follows
  TeamPiece* pieces;
  Group* groups;
  DotNode* nodes;
  unsigned* tickets;  // one for each group, and the list's
  std::int32_t group_count;
  std::atomic<bool> busy;
};

}  // namespace lrpolicy

extern "C" {

// A plan for tensors of these sizes on this device; allocates there, and may wait for it. To be freed by
// lrpolicy_cuda_plan_free, once the device is done with the plan's calls and graphs.
lrpolicy::Status lrpolicy_cuda_plan_make(const std::int64_t* counts, std::int64_t tensor_count, std::int32_t device,
                                         lrpolicy::CudaPlan** plan);
void lrpolicy_cuda_plan_free(lrpolicy::CudaPlan* plan);

// call->gg and gp are device memory. With `tlr`, whose pointers are device memory, the same launch then gives the rates
// of the window that has ended.
lrpolicy::Status lrpolicy_dot_pair_cuda(lrpolicy::CudaPlan* plan, const lrpolicy::DotPair* call,
                                        const lrpolicy::DeviceTlr* tlr, cudaStream_t stream);

// Where `scale`, one number in device memory, is not null, it counts instead of call->scale.
lrpolicy::Status lrpolicy_accumulate_cuda(lrpolicy::CudaPlan* plan, const lrpolicy::Accumulate* call,
                                          const double* scale, cudaStream_t stream);

// call->rates and decays are device memory. With `draws`, device memory too, the rate of tensor i is call->rates[i],
// Caffe's lr_mult, times float(ASLR's draw for it), and the iteration is counted.
lrpolicy::Status lrpolicy_momentum_step_cuda(lrpolicy::CudaPlan* plan, const lrpolicy::MomentumStep* call,
                                             lrpolicy::AslrDraws* draws, cudaStream_t stream);

// out[i] = aslr_draw(i) for i < count; then the iteration is counted. All device memory, of the current device.
lrpolicy::Status lrpolicy_draw_rates_cuda(lrpolicy::AslrDraws* draws, std::int64_t count, double* out,
                                          cudaStream_t stream);

// What CUDA said when this thread last got kCudaFailed.
const char* lrpolicy_cuda_error_text();
}

#endif  // LRPOLICY_KERNELS_CUDA_LISTS_HPP_
