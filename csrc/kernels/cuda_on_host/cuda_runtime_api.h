// As much of CUDA's runtime as csrc/kernels/cuda calls, with the host's memory as the device's. Its contents begin as
// NaNs, and each allocation is one of the heap's, so that AddressSanitizer sees a kernel that leaves it.
#ifndef LRPOLICY_KERNELS_CUDA_ON_HOST_CUDA_RUNTIME_API_H_
#define LRPOLICY_KERNELS_CUDA_ON_HOST_CUDA_RUNTIME_API_H_

#include <cstddef>

enum cudaError_t {
  cudaSuccess,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevice = 101
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
using cudaStream_t = struct CUstream_st*;
struct cudaFuncAttributes {};
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone };
struct cudaDeviceProp {
  const char* name;
  int major, minor;
};

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMalloc(void** memory, std::size_t size);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t size, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);

template <typename Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, Kernel*) {
  return cudaSuccess;
}

#endif  // LRPOLICY_KERNELS_CUDA_ON_HOST_CUDA_RUNTIME_API_H_
