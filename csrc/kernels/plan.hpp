// A list of tensors prepared once and used at every step: sizes, a table of even pieces of work, room for their sums.
//
// The sizes are the plan's; pointers come with each call, for a framework may move its gradients. A plan serves one
// call at a time; a second call meanwhile gets kBusy. Nothing throws across this border, and only lrpolicy_plan_make
// allocates, apart from the first calls on several threads, once, for the threads.
#ifndef LRPOLICY_KERNELS_PLAN_HPP_
#define LRPOLICY_KERNELS_PLAN_HPP_

#include <atomic>
#include <lrpolicy/block_sum.hpp>
#include <lrpolicy/tensor_view.hpp>
#include <vector>

namespace lrpolicy {

enum class Status : std::int32_t {
  kOk,
  kOutOfMemory,
  kBadCount,
  kBadDType,
  kNullPointer,
  kBusy,
  kBadImplementation,
  kBadThreads,
  kNotOnCpu,
  kNotOnCuda,
  kCudaFailed
};

// Elements first .. first + count of a tensor. The pieces of a tensor follow one another, each but its last of the same
// power of two of blocks, so that each is a node of the tree in block_sum.hpp.
struct Piece {
  std::int64_t tensor, first, count;
};

// The table of pieces of `blocks` blocks each, a power of two. Tensors of size 0 have none.
std::vector<Piece> pieces_of(const std::int64_t* counts, std::int64_t tensor_count, std::int64_t blocks);

constexpr std::int64_t kPieceBlocks = 16;  // on a CPU; 64 KiB of floats

struct Plan {
  std::vector<std::int64_t> counts;
  std::vector<Piece> pieces;
  std::int64_t element_count;
  std::vector<double> gg, gp;  // one sum for each piece
  std::atomic<bool> busy;
};

}  // namespace lrpolicy

extern "C" {

// kOk where a plan can be made for tensors of these sizes.
lrpolicy::Status lrpolicy_check_counts(const std::int64_t* counts, std::int64_t tensor_count);

// A plan for tensors of these sizes, 0 included. On success *plan is to be freed by lrpolicy_plan_free.
lrpolicy::Status lrpolicy_plan_make(const std::int64_t* counts, std::int64_t tensor_count, lrpolicy::Plan** plan);

void lrpolicy_plan_free(lrpolicy::Plan* plan);

// What a status means, as a sentence without its full stop.
const char* lrpolicy_status_text(lrpolicy::Status status);
}

#endif  // LRPOLICY_KERNELS_PLAN_HPP_
