#include "../call.hpp"
#include "launch.hpp"

namespace lrpolicy {
namespace {

template <typename T, bool displaced, int capacity>
__global__ void __launch_bounds__(kTeam)
    dot_pair(const __grid_constant__ DotWork work, const __grid_constant__ Pointers<capacity> pointers) {
  __shared__ DotShared shared;
  const std::int32_t piece = pointers.piece(), tensor = work.pieces[piece].tensor;
  void* const start = displaced ? pointers.of(2, tensor) : nullptr;
  dot_pair_team<T, displaced>(Team(), work, piece, pointers.of(0, tensor), pointers.of(1, tensor), start, shared);
}

template <typename T>
Status run(const CudaPlan& plan, const DotPair& call, const DotWork& work, cudaStream_t stream) {
  const auto previous = const_cast<const void* const*>(call.previous);
  const auto grid = [](const LaunchRange& range) { return static_cast<unsigned>(range.piece_count); };
  if (call.start == nullptr) {
    const void* const* const lists[] = {call.now, previous};
    return launch_all(plan, lists, [&](const auto& pointers) {
      constexpr int capacity = sizeof(pointers.at) / sizeof(void*);
      dot_pair<T, false, capacity><<<grid(pointers.range), kTeam, 0, stream>>>(work, pointers);
    });
  }
  const void* const* const lists[] = {call.now, previous, const_cast<const void* const*>(call.start)};
  return launch_all(plan, lists, [&](const auto& pointers) {
    constexpr int capacity = sizeof(pointers.at) / sizeof(void*);
    dot_pair<T, true, capacity><<<grid(pointers.range), kTeam, 0, stream>>>(work, pointers);
  });
}

template <typename T>
Status load_for() {
  return load(dot_pair<T, false, kFewPointers>, dot_pair<T, false, kListPointers>, dot_pair<T, true, kFewPointers>,
              dot_pair<T, true, kListPointers>);
}

}  // namespace

Status load_dot_pair() {
  for (const Status status : {load_for<float>(), load_for<double>(), load_for<Float16>(), load_for<BFloat16>()}) {
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

}  // namespace lrpolicy

using namespace lrpolicy;

Status lrpolicy_dot_pair_cuda(CudaPlan* plan, const DotPair* call, const DeviceTlr* tlr, cudaStream_t stream) {
  if (tlr != nullptr && (tlr->lr_mult == nullptr || tlr->alphas == nullptr || tlr->counts == nullptr)) {
    return Status::kNullPointer;
  }
  Status status = Status::kOk;
  const Status fit = checked(plan, call, [&] {
    const DotWork work = {plan->pieces,
                          plan->groups,
                          plan->nodes,
                          plan->tickets,
                          plan->tickets + plan->group_count,
                          plan->first_piece.back(),
                          static_cast<std::int32_t>(plan->counts.size()),
                          call->roll,
                          tlr != nullptr,
                          call->gg,
                          call->gp,
                          tlr != nullptr ? *tlr : DeviceTlr()};
    with_type(call->dtype, [&](auto type) { status = run<decltype(type)>(*plan, *call, work, stream); });
  });
  return fit == Status::kOk ? status : fit;
}
