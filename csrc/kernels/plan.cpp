#include "plan.hpp"

#include <algorithm>
#include <new>
#include <numeric>

namespace lrpolicy {

std::vector<Piece> pieces_of(const std::int64_t* counts, std::int64_t tensor_count, std::int64_t blocks) {
  const std::int64_t most = blocks * kBlock;
  std::vector<Piece> pieces;
  for (std::int64_t tensor = 0; tensor < tensor_count; ++tensor) {
    for (std::int64_t first = 0; first < counts[tensor]; first += most) {
      pieces.push_back({tensor, first, std::min(most, counts[tensor] - first)});
    }
  }
  return pieces;
}

}  // namespace lrpolicy

using namespace lrpolicy;

Status lrpolicy_check_counts(const std::int64_t* counts, std::int64_t tensor_count) {
  constexpr std::int64_t kMostElements = std::int64_t{1} << 58;  // their bytes are still an int64
  if (counts == nullptr && tensor_count > 0) return Status::kNullPointer;
  if (tensor_count < 0) return Status::kBadCount;
  std::int64_t elements = 0;
  for (std::int64_t i = 0; i < tensor_count; ++i) {
    if (counts[i] < 0 || counts[i] > kMostElements - elements) return Status::kBadCount;
    elements += counts[i];
  }
  return Status::kOk;
}

Status lrpolicy_plan_make(const std::int64_t* counts, std::int64_t tensor_count, Plan** plan) {
  if (plan == nullptr) return Status::kNullPointer;
  const Status status = lrpolicy_check_counts(counts, tensor_count);
  if (status != Status::kOk) return status;
  try {
    std::vector<Piece> pieces = pieces_of(counts, tensor_count, kPieceBlocks);
    const std::vector<double> sums(pieces.size());
    const std::int64_t elements = std::accumulate(counts, counts + tensor_count, std::int64_t{0});
    *plan = new Plan{{counts, counts + tensor_count}, std::move(pieces), elements, sums, sums, {false}};
    return Status::kOk;
  } catch (const std::exception&) {  // bad_alloc, or length_error of a vector
    return Status::kOutOfMemory;
  }
}

void lrpolicy_plan_free(Plan* plan) { delete plan; }

const char* lrpolicy_status_text(Status status) {
  switch (status) {
    case Status::kOk:
      return "all is well";
    case Status::kOutOfMemory:
      return "there is not enough memory for the table of this list";
    case Status::kBadCount:
      return "a size is below 0, or all together exceed 2^58 elements";
    case Status::kBadDType:
      return "this verb does not take that dtype";
    case Status::kNullPointer:
      return "a tensor that is not empty has no address";
    case Status::kBusy:
      return "this plan is at work in another thread";
    case Status::kBadImplementation:
      return "LRPOLICY_IMPL must be reference, simd or cuda";
    case Status::kBadThreads:
      return "LRPOLICY_THREADS must be a whole number from 1 to 1024";
    case Status::kNotOnCpu:
      return "LRPOLICY_IMPL is cuda and these tensors are not on a GPU";
    case Status::kNotOnCuda:
      return "LRPOLICY_IMPL names a CPU implementation and these tensors are on a GPU";
    case Status::kCudaFailed:
      return "CUDA refused";
  }
  return "unknown status";
}
