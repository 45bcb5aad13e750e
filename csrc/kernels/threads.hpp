// Fork and join: a few threads that sleep between calls, and the arithmetic they all compute with.
#ifndef LRPOLICY_KERNELS_THREADS_HPP_
#define LRPOLICY_KERNELS_THREADS_HPP_

#include <cfenv>
#include <cstdint>

namespace lrpolicy {

// IEEE arithmetic while it lives: rounding to nearest and no flushing of subnormals, whatever the caller has set.
class PlainArithmetic {
 public:
  PlainArithmetic() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~PlainArithmetic() { std::fesetenv(&before_); }
  PlainArithmetic(const PlainArithmetic&) = delete;
  PlainArithmetic& operator=(const PlainArithmetic&) = delete;

 private:
  std::fenv_t before_;
};

using RangeFunction = void (*)(const void* work, std::int64_t begin, std::int64_t end);

// Calls function(work, begin, end) for ranges that cover 0 .. count, each at most `grain` long, on this thread and at
// most threads - 1 others, and returns when all are done. Who does which range is left to chance. While another
// thread's call is under way, or where no thread can be started, for want of memory or else, this thread does
// everything itself. Threads are started by the first calls that want them, which allocate for them and nothing else;
// nothing throws. A process made by fork() starts threads of its own.
void for_ranges(std::int64_t count, std::int64_t grain, int threads, RangeFunction function, const void* work);

template <typename Work>
void for_ranges(std::int64_t count, std::int64_t grain, int threads, const Work& work) {
  for_ranges(
      count, grain, threads,
      [](const void* w, std::int64_t begin, std::int64_t end) { (*static_cast<const Work*>(w))(begin, end); }, &work);
}

}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_THREADS_HPP_
