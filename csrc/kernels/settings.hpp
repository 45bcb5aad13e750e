// What a user asks of the kernels through the environment, read once.
//
//   LRPOLICY_IMPL     reference, simd or cuda: the only implementation to use; otherwise simd for tensors in memory.
//                     cuda refuses the CPU's tensors; rates and draws, which are asked for as numbers, are simd then
//   LRPOLICY_THREADS  1 .. 1024: the most threads a call may use; otherwise as many as this process may use cores
#ifndef LRPOLICY_KERNELS_SETTINGS_HPP_
#define LRPOLICY_KERNELS_SETTINGS_HPP_

#include "plan.hpp"

namespace lrpolicy {

enum class Implementation : std::int32_t { kReference, kSimd, kCuda };

constexpr const char* kImplementationNames[] = {"reference", "simd", "cuda"};

struct Settings {
  Status status;  // kOk, kBadImplementation or kBadThreads
  Implementation implementation;
  bool forced;  // by LRPOLICY_IMPL
  int threads;  // 0 with kBadThreads
};

const Settings& settings();

// The value of the variable that a status of `settings` complains of; empty for any other status.
const char* wrong_setting(Status status);

// The settings of these values of the two variables, each of which may be null.
Settings settings_of(const char* implementation, const char* threads);

}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_SETTINGS_HPP_
