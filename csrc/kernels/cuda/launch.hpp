// From a call over a list to launches: which device, which addresses, which pieces.
#ifndef LRPOLICY_KERNELS_CUDA_LAUNCH_HPP_
#define LRPOLICY_KERNELS_CUDA_LAUNCH_HPP_

#include <algorithm>

#include "lists.hpp"

namespace lrpolicy {

// Remembers what is not cudaSuccess for lrpolicy_cuda_error_text().
Status status_of(cudaError_t error);

// Bring the kernels into the current device's memory, so that no call does so later, in a graph's capture perhaps.
Status load_dot_pair();
Status load_updates();

template <typename... Kernels>
Status load(Kernels*... kernels) {
  cudaFuncAttributes attributes;
  cudaError_t error = cudaSuccess;
  ((error = error == cudaSuccess ? cudaFuncGetAttributes(&attributes, kernels) : error), ...);
  return status_of(error);
}

// Makes a device the current one while it lives.
class OnDevice {
 public:
  explicit OnDevice(int device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  Status status() const { return status_; }

 private:
  int before_ = 0;
  bool changed_ = false;
  Status status_;
};

// The tensors of one launch.
struct LaunchRange {
  std::int32_t first_tensor, tensor_count, first_piece, piece_count;
};

// Addresses as a kernel's parameter: list l's tensor t at [l * tensor_count + t - first_tensor].
template <int capacity>
struct Pointers {
  LaunchRange range;
  void* at[capacity];

#if defined(__CUDACC__)
  __device__ std::int32_t piece() const { return range.first_piece + static_cast<std::int32_t>(blockIdx.x); }
  __device__ void* of(int list, std::int32_t tensor) const {
    return at[list * range.tensor_count + tensor - range.first_tensor];
  }
#endif
};

constexpr int kFewPointers = 488;  // most lists: a launch takes 4 KiB of parameters as it always did
static_assert(sizeof(DotWork) + sizeof(Pointers<kFewPointers>) <= 4096, "they fit, with the largest work");
static_assert(sizeof(DotWork) + sizeof(Pointers<kListPointers>) <= 32764, "what CUDA 12.1 takes");

template <int capacity, typename Launch>
void launch_range(const void* const* const* lists, int list_count, LaunchRange range, const Launch& launch) {
  Pointers<capacity> pointers;
  pointers.range = range;
  for (int l = 0; l < list_count; ++l) {
    for (std::int32_t t = 0; t < range.tensor_count; ++t) {
      const void* const* const list = lists[l];
      pointers.at[l * range.tensor_count + t] =
          list != nullptr ? const_cast<void*>(list[range.first_tensor + t]) : nullptr;
    }
  }
  launch(pointers);
}

// launch(pointers) for runs of tensors whose addresses fit: one run for hundreds of tensors. A list is null where the
// plan has empty tensors only.
template <int list_count, typename Launch>
Status launch_all(const CudaPlan& plan, const void* const* const (&lists)[list_count], const Launch& launch) {
  const OnDevice guard(plan.device);
  if (guard.status() != Status::kOk) return guard.status();
  const auto tensors = static_cast<std::int32_t>(plan.counts.size());
  for (std::int32_t first = 0; first < tensors; first += kListPointers / list_count) {
    const std::int32_t count = std::min(tensors - first, kListPointers / list_count);
    const std::int32_t piece = plan.first_piece[static_cast<std::size_t>(first)];
    const LaunchRange range = {first, count, piece, plan.first_piece[static_cast<std::size_t>(first + count)] - piece};
    if (list_count * count <= kFewPointers) {
      launch_range<kFewPointers>(lists, list_count, range, launch);
    } else {
      launch_range<kListPointers>(lists, list_count, range, launch);
    }
    const Status status = status_of(cudaGetLastError());
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_CUDA_LAUNCH_HPP_
