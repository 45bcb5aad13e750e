#include "settings.hpp"

#include <cstdlib>
#include <cstring>
#include <thread>
#if defined(__linux__)
#include <sched.h>
#endif

namespace lrpolicy {
namespace {

constexpr const char* kImplementationVariable = "LRPOLICY_IMPL";
constexpr const char* kThreadsVariable = "LRPOLICY_THREADS";

int usable_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned cores = std::thread::hardware_concurrency();
  return cores > 0 ? static_cast<int>(cores) : 1;
}

// 0 if the text is not a whole number from 1 to 1024.
int threads_of(const char* text) {
  char* end = nullptr;
  const long threads = std::strtol(text, &end, 10);
  return end != text && *end == '\0' && threads >= 1 && threads <= 1024 ? static_cast<int>(threads) : 0;
}

}  // namespace

Settings settings_of(const char* implementation, const char* threads) {
  Settings settings = {Status::kOk, Implementation::kSimd, implementation != nullptr, 0};
  if (implementation != nullptr) {
    settings.status = Status::kBadImplementation;
    for (int i = 0; i < 3; ++i) {
      if (std::strcmp(implementation, kImplementationNames[i]) != 0) continue;
      settings.implementation = static_cast<Implementation>(i);
      settings.status = Status::kOk;
    }
  }
  settings.threads = threads != nullptr ? threads_of(threads) : usable_cores();
  if (settings.threads == 0) settings.status = Status::kBadThreads;
  return settings;
}

const Settings& settings() {
  static const Settings read = settings_of(std::getenv(kImplementationVariable), std::getenv(kThreadsVariable));
  return read;
}

const char* wrong_setting(Status status) {
  const char* value = status == Status::kBadImplementation ? std::getenv(kImplementationVariable)
                      : status == Status::kBadThreads      ? std::getenv(kThreadsVariable)
                                                           : nullptr;
  return value != nullptr ? value : "";
}

}  // namespace lrpolicy
