#include "threads.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

namespace lrpolicy {
namespace {

struct Job {
  std::int64_t count, grain;
  RangeFunction function;
  const void* work;
  std::atomic<std::int64_t> next;

  void drain() {
    const PlainArithmetic arithmetic;
    for (;;) {
      const std::int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count) return;
      function(work, begin, std::min(begin + grain, count));
    }
  }
};

// Never destroyed: its threads end with the process.
class Pool {
 public:
  // False if the pool is at work for another thread.
  bool run(Job& job, int helpers) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (job_ != nullptr) return false;
      start(helpers);
      job_ = &job;
      places_ = std::min(helpers, started_);
    }
    for (int i = 0; i < helpers; ++i) wake_.notify_one();
    job.drain();
    std::unique_lock<std::mutex> lock(mutex_);
    places_ = 0;  // who wakes up now is too late
    done_.wait(lock, [this] { return working_ == 0; });
    job_ = nullptr;
    return true;
  }

 private:
  void start(int helpers) {
    try {
      for (; started_ < helpers; ++started_) std::thread([this] { serve(); }).detach();
    } catch (const std::exception&) {  // no thread to be had, or no memory for it: the caller does their part
    }
  }

  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return places_ > 0; });
      --places_;
      ++working_;
      Job& job = *job_;
      lock.unlock();
      job.drain();
      lock.lock();
      if (--working_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Job* job_ = nullptr;
  int started_ = 0, places_ = 0, working_ = 0;
};

std::atomic<Pool*> current_pool{nullptr};

// Null where there is no memory for one. Threads do not survive a fork, and a lock may be held for ever: the child
// leaves the old pool alone, and without that precaution there is none.
Pool* pool() {
  static const int refused = pthread_atfork(nullptr, nullptr, [] { current_pool = nullptr; });
  if (refused != 0) return nullptr;
  Pool* existing = current_pool;
  if (existing != nullptr) return existing;
  Pool* const made = new (std::nothrow) Pool;
  if (made == nullptr || current_pool.compare_exchange_strong(existing, made)) return made;
  delete made;
  return existing;
}

}  // namespace

void for_ranges(std::int64_t count, std::int64_t grain, int threads, RangeFunction function, const void* work) {
  Job job = {count, grain, function, work, {0}};
  const std::int64_t ranges = (count + grain - 1) / grain;
  const int helpers = static_cast<int>(std::min<std::int64_t>(threads, ranges)) - 1;
  Pool* const others = helpers < 1 ? nullptr : pool();
  if (others == nullptr || !others->run(job, helpers)) job.drain();
}

}  // namespace lrpolicy
