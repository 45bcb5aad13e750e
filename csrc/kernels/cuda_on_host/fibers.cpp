#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "cuda_runtime.h"

CudaIndex threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_host {
namespace {

constexpr unsigned kWarpThreads = 32, kBlocksInFlight = 3, kMostThreads = 1024;
constexpr std::size_t kStack = 128 * 1024, kShared = 48 * 1024;

struct Block;

struct Fiber {
  Block* block;
  unsigned thread;
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStack]};  // not cleared: that would take most of a launch
};

struct Block {
  unsigned index = 0, running = 0;
  std::vector<Fiber> fibers;
  std::vector<Fiber*> at_barrier;
  std::vector<std::vector<Fiber*>> at_warp_barrier;
  std::vector<char> shared = std::vector<char>(kShared);
};

struct Scheduler {
  ucontext_t context;
  Fiber* current = nullptr;
  const std::function<void()>* kernel = nullptr;
  std::vector<Fiber*> ready;
  std::mt19937 random{1};

  void wait() { swapcontext(&current->context, &context); }

  void wake(std::vector<Fiber*>& waiting, std::size_t all) {
    if (waiting.size() < all) return;
    ready.insert(ready.end(), waiting.begin(), waiting.end());
    waiting.clear();
  }
  Fiber* next() {
    std::swap(ready[random() % ready.size()], ready.back());
    Fiber* const fiber = ready.back();
    ready.pop_back();
    return fiber;
  }
};

Scheduler scheduler;

void body() {
  (*scheduler.kernel)();
  --scheduler.current->block->running;
}

void prepare(Fiber& fiber) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStack;
  fiber.context.uc_link = &scheduler.context;
  makecontext(&fiber.context, &body, 0);
}

void start(Block& block, unsigned index) {
  block.index = index;
  block.running = static_cast<unsigned>(block.fibers.size());
  std::memset(block.shared.data(), 0xFF, block.shared.size());
  for (Fiber& fiber : block.fibers) {
    prepare(fiber);
    scheduler.ready.push_back(&fiber);
  }
}

void resume(Fiber& fiber) {
  scheduler.current = &fiber;
  threadIdx.x = fiber.thread;
  blockIdx.x = fiber.block->index;
  swapcontext(&scheduler.context, &fiber.context);
}

std::vector<Block> blocks_of(unsigned count, unsigned threads) {
  std::vector<Block> blocks(count);
  for (Block& block : blocks) {
    block.at_warp_barrier.resize((threads + kWarpThreads - 1) / kWarpThreads);
    for (unsigned thread = 0; thread < threads; ++thread) block.fibers.push_back({&block, thread, {}});
  }
  return blocks;
}

cudaError_t last_error = cudaSuccess;

}  // namespace

void run(unsigned grid, unsigned block, const std::function<void()>& kernel) {
  if (grid == 0 || block == 0 || block > kMostThreads) {
    last_error = cudaErrorInvalidConfiguration;
    return;
  }
  gridDim.x = grid;
  blockDim.x = block;
  scheduler.kernel = &kernel;
  std::vector<Block> blocks = blocks_of(std::min(grid, kBlocksInFlight), block);
  unsigned started = 0;
  for (Block& each : blocks) start(each, started++);
  while (!scheduler.ready.empty()) {
    Fiber& fiber = *scheduler.next();
    resume(fiber);
    if (fiber.block->running == 0 && started < grid) start(*fiber.block, started++);
  }
  for (const Block& each : blocks) {
    if (each.running == 0) continue;
    std::fprintf(stderr, "block %u: a barrier that not all threads reach\n", each.index);
    std::abort();
  }
}

void* shared_memory(std::size_t size) {
  if (size > kShared) std::abort();
  return scheduler.current->block->shared.data();
}

}  // namespace cuda_on_host

using cuda_on_host::scheduler;

void __syncthreads() {
  auto& block = *scheduler.current->block;
  block.at_barrier.push_back(scheduler.current);
  scheduler.wake(block.at_barrier, block.fibers.size());
  scheduler.wait();
}

void __syncwarp() {
  auto& waiting = scheduler.current->block->at_warp_barrier[scheduler.current->thread / cuda_on_host::kWarpThreads];
  waiting.push_back(scheduler.current);
  scheduler.wake(waiting, std::min<std::size_t>(cuda_on_host::kWarpThreads, blockDim.x));
  scheduler.wait();
}

void __threadfence() {
  scheduler.ready.push_back(scheduler.current);
  scheduler.wait();
}

unsigned atomicInc(unsigned* address, unsigned most) {
  const unsigned before = *address;
  *address = before >= most ? 0 : before + 1;
  return before;
}

int atomicMin(int* address, int x) {
  const int before = *address;
  *address = std::min(before, x);
  return before;
}

double __ldcg(const double* address) { return *address; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"the host", 0, 0};
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

cudaError_t cudaMalloc(void** memory, std::size_t size) {
  *memory = std::malloc(size);
  if (*memory == nullptr) return cuda_on_host::last_error = cudaErrorMemoryAllocation;
  std::memset(*memory, 0xFF, size);
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t size, cudaMemcpyKind) {
  std::memcpy(to, from, size);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size, cudaMemcpyKind kind, cudaStream_t) {
  return cudaMemcpy(to, from, size, kind);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaGetLastError() { return std::exchange(cuda_on_host::last_error, cudaSuccess); }

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : error == cudaErrorInvalidDevice ? "invalid device ordinal" : "an error";
}
