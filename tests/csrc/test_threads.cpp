#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "threads.hpp"

namespace {

thread_local bool counts = false;
thread_local int allocations_left = 0;  // where they are counted

void* allocate(std::size_t size) {
  if (counts && allocations_left-- <= 0) return nullptr;
  return std::malloc(size > 0 ? size : 1);
}

}  // namespace

// Of this whole program: memory that can run out. Where one of a pair is inlined alone, GCC warns of a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  void* const memory = allocate(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace lrpolicy {
namespace {

constexpr std::int64_t kCount = 100;

bool covers_each_once() {
  static int done[kCount];
  std::fill_n(done, kCount, 0);
  for_ranges(kCount, 1, 4, [](std::int64_t begin, std::int64_t end) {
    for (; begin < end; ++begin) ++done[begin];
  });
  return std::all_of(done, done + kCount, [](int times) { return times == 1; });
}

// In a child, which has no threads yet: with memory for so many allocations, and then with all of it.
[[noreturn]] void run_short_of_memory(int allocations) {
  counts = true;
  allocations_left = allocations;
  const bool short_of_memory = covers_each_once();
  counts = false;
  std::_Exit(short_of_memory && covers_each_once() ? 0 : 1);
}

TEST(Threads, WithoutMemoryForThemTheCallerDoesEverything) {
  for (const int allocations : {0, 1, 2, 3}) {
    EXPECT_EXIT(run_short_of_memory(allocations), testing::ExitedWithCode(0), "") << allocations;
  }
}

}  // namespace
}  // namespace lrpolicy
