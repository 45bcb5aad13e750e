// What nvcc adds to C++, for a C++ compiler; CMakeLists.txt rewrites launches, shared variables and grid constants.
//
// A launch is done when it returns. Each CUDA thread is a fiber, and a few blocks are in flight at once. A fiber runs
// up to its next barrier or fence; which one goes on is then drawn by chance. So a barrier that is missing shows in the
// results as soon as the order matters, and one that not all threads reach ends the program.
#ifndef LRPOLICY_KERNELS_CUDA_ON_HOST_CUDA_RUNTIME_H_
#define LRPOLICY_KERNELS_CUDA_ON_HOST_CUDA_RUNTIME_H_

#include <functional>

#include "cuda_runtime_api.h"

#define __global__
#define __host__
#define __device__
#define __launch_bounds__(threads)

struct CudaIndex {
  unsigned x;
};
extern CudaIndex threadIdx, blockIdx, blockDim, gridDim;  // of the fiber that runs

void __syncthreads();
void __syncwarp();
void __threadfence();
unsigned atomicInc(unsigned* address, unsigned most);
int atomicMin(int* address, int x);
double __ldcg(const double* address);

namespace cuda_on_host {

void run(unsigned grid, unsigned block, const std::function<void()>& kernel);

// The block's shared memory, which begins as NaNs.
void* shared_memory(std::size_t size);

template <typename T>
T& shared() {
  return *static_cast<T*>(shared_memory(sizeof(T)));
}

// kernel<<<grid, block, shared, stream>>>(arguments...)
struct Launch {
  unsigned grid, block;
  std::size_t dynamic_shared;
  cudaStream_t stream;

  template <typename... Parameters, typename... Arguments>
  void operator()(void (*kernel)(Parameters...), const Arguments&... arguments) const {
    static_assert((sizeof(Parameters) + ... + 0) <= 32764, "what CUDA 12.1 takes");
    run(grid, block, [&] { kernel(arguments...); });
  }
};

}  // namespace cuda_on_host

#endif  // LRPOLICY_KERNELS_CUDA_ON_HOST_CUDA_RUNTIME_H_
