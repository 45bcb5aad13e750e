#include <cstring>
#include <new>

#include "launch.hpp"

namespace lrpolicy {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

// The parts of a plan's memory, each at a multiple of 16.
struct Layout {
  std::size_t groups, nodes, tickets, end;
};

Layout layout_of(const Table& table) {
  const auto after = [](std::size_t begin, std::size_t size) { return (begin + size + 15) / 16 * 16; };
  const std::size_t pieces = table.pieces.size(), groups = table.groups.size();
  Layout layout;
  layout.groups = after(0, pieces * sizeof(TeamPiece));
  layout.nodes = after(layout.groups, groups * sizeof(Group));
  layout.tickets = after(layout.nodes, (pieces + groups) * sizeof(DotNode));
  layout.end = after(layout.tickets, (groups + 1) * sizeof(unsigned));
  return layout;
}

Status upload(const Table& table, CudaPlan& plan) {
  const Layout layout = layout_of(table);
  std::vector<char> image(layout.end, 0);  // tickets begin at 0
  std::memcpy(image.data(), table.pieces.data(), table.pieces.size() * sizeof(TeamPiece));
  if (!table.groups.empty()) {
    std::memcpy(image.data() + layout.groups, table.groups.data(), table.groups.size() * sizeof(Group));
  }
  const OnDevice guard(plan.device);
  for (const Status status : {guard.status(), load_dot_pair(), load_updates()}) {
    if (status != Status::kOk) return status;
  }
  const cudaError_t allocated = cudaMalloc(&plan.memory, layout.end);
  if (allocated == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // or the next launch would report it
    return Status::kOutOfMemory;
  }
  if (allocated != cudaSuccess) return status_of(allocated);
  char* const memory = static_cast<char*>(plan.memory);
  plan.pieces = reinterpret_cast<TeamPiece*>(memory);
  plan.groups = reinterpret_cast<Group*>(memory + layout.groups);
  plan.nodes = reinterpret_cast<DotNode*>(memory + layout.nodes);
  plan.tickets = reinterpret_cast<unsigned*>(memory + layout.tickets);
  plan.group_count = static_cast<std::int32_t>(table.groups.size());
  const Status copied = status_of(cudaMemcpy(memory, image.data(), layout.end, cudaMemcpyHostToDevice));
  // The copy of what was not pinned may still be on its way, and a stream that does not block would not wait for it.
  return copied == Status::kOk ? status_of(cudaStreamSynchronize(nullptr)) : copied;
}

// No table needs more pieces than an int32 counts and a grid takes.
bool is_small_enough(const std::int64_t* counts, std::int64_t tensor_count) {
  std::int64_t pieces = 0;
  for (std::int64_t i = 0; i < tensor_count; ++i) pieces += counts[i] / (kTeamBlocks * kBlock) + 1;
  return pieces < std::int64_t{1} << 30;
}

}  // namespace

Status status_of(cudaError_t error) {
  if (error == cudaSuccess) return Status::kOk;
  last_error = error;
  cudaGetLastError();  // or the next launch would report it
  return Status::kCudaFailed;
}

OnDevice::OnDevice(int device) : status_(status_of(cudaGetDevice(&before_))) {
  if (status_ != Status::kOk || before_ == device) return;
  status_ = status_of(cudaSetDevice(device));
  changed_ = status_ == Status::kOk;
}

OnDevice::~OnDevice() {
  if (changed_) cudaSetDevice(before_);
}

}  // namespace lrpolicy

using namespace lrpolicy;

Status lrpolicy_cuda_plan_make(const std::int64_t* counts, std::int64_t tensor_count, std::int32_t device,
                               CudaPlan** plan) {
  if (plan == nullptr) return Status::kNullPointer;
  const Status status = lrpolicy_check_counts(counts, tensor_count);
  if (status != Status::kOk) return status;
  if (!is_small_enough(counts, tensor_count)) return Status::kOutOfMemory;
  CudaPlan* made = nullptr;
  try {
    made = new CudaPlan{
        {counts, counts + tensor_count}, {}, device, nullptr, nullptr, nullptr, nullptr, nullptr, 0, {false}};
    Table table = table_of(made->counts);
    made->first_piece = std::move(table.first_piece);
    const Status uploaded = table.pieces.empty() ? Status::kOk : upload(table, *made);
    if (uploaded == Status::kOk) {
      *plan = made;
      return Status::kOk;
    }
    lrpolicy_cuda_plan_free(made);
    return uploaded;
  } catch (const std::exception&) {  // bad_alloc, or length_error of a vector
    lrpolicy_cuda_plan_free(made);
    return Status::kOutOfMemory;
  }
}

void lrpolicy_cuda_plan_free(CudaPlan* plan) {
  if (plan == nullptr) return;
  if (plan->memory != nullptr) {
    const OnDevice guard(plan->device);
    cudaFree(plan->memory);
  }
  delete plan;
}

const char* lrpolicy_cuda_error_text() { return cudaGetErrorString(last_error); }
