#include "../call.hpp"
#include "launch.hpp"

namespace lrpolicy {
namespace {

template <typename T, int capacity>
__global__ void __launch_bounds__(kTeam)
    accumulate(const __grid_constant__ AccumulateWork work, const __grid_constant__ Pointers<capacity> pointers) {
  const std::int32_t piece = pointers.piece(), tensor = work.pieces[piece].tensor;
  accumulate_team<T>(Team(), work, piece, pointers.of(0, tensor), pointers.of(1, tensor));
}

template <int capacity>
__global__ void __launch_bounds__(kTeam)
    step(const __grid_constant__ MomentumWork work, const __grid_constant__ Pointers<capacity> pointers) {
  __shared__ float rate;
  const std::int32_t piece = pointers.piece(), tensor = work.pieces[piece].tensor;
  momentum_team(Team(), work, piece, pointers.of(0, tensor), pointers.of(1, tensor), pointers.of(2, tensor), rate);
}

__global__ void __launch_bounds__(kTeam) draw(AslrDraws* draws, std::int64_t count, double* out) {
  draw_team(Team(), draws, count, out);
}

template <typename T>
const void* const* addresses(T* const* list) {
  return reinterpret_cast<const void* const*>(list);
}

template <typename T>
Status run(const CudaPlan& plan, const Accumulate& call, const AccumulateWork& work, cudaStream_t stream) {
  const void* const* const lists[] = {call.gradients, addresses(call.sums)};
  return launch_all(plan, lists, [&](const auto& pointers) {
    constexpr int capacity = sizeof(pointers.at) / sizeof(void*);
    accumulate<T, capacity><<<static_cast<unsigned>(pointers.range.piece_count), kTeam, 0, stream>>>(work, pointers);
  });
}

Status run(const CudaPlan& plan, const MomentumStep& call, const MomentumWork& work, cudaStream_t stream) {
  const void* const* const lists[] = {addresses(call.gradients), addresses(call.weights), addresses(call.history)};
  return launch_all(plan, lists, [&](const auto& pointers) {
    constexpr int capacity = sizeof(pointers.at) / sizeof(void*);
    step<capacity><<<static_cast<unsigned>(pointers.range.piece_count), kTeam, 0, stream>>>(work, pointers);
  });
}

template <typename T>
Status load_for() {
  return load(accumulate<T, kFewPointers>, accumulate<T, kListPointers>);
}

}  // namespace

Status load_updates() {
  for (const Status status : {load_for<float>(), load_for<double>(), load_for<Float16>(), load_for<BFloat16>(),
                              load(step<kFewPointers>, step<kListPointers>, draw)}) {
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

}  // namespace lrpolicy

using namespace lrpolicy;

Status lrpolicy_accumulate_cuda(CudaPlan* plan, const Accumulate* call, const double* scale, cudaStream_t stream) {
  Status status = Status::kOk;
  const Status fit = checked(plan, call, [&] {
    const AccumulateWork work = {plan->pieces, call->scale, scale};
    with_type(call->dtype, [&](auto type) { status = run<decltype(type)>(*plan, *call, work, stream); });
  });
  return fit == Status::kOk ? status : fit;
}

Status lrpolicy_momentum_step_cuda(CudaPlan* plan, const MomentumStep* call, AslrDraws* draws, cudaStream_t stream) {
  Status status = Status::kOk;
  const Status fit = checked(plan, call, [&] {
    const MomentumWork work = {plan->pieces,
                               plan->tickets + plan->group_count,
                               plan->first_piece.back(),
                               call->nesterov,
                               call->rate_inside,
                               call->regularization,
                               call->momentum,
                               call->rates,
                               call->decays,
                               draws};
    status = run(*plan, *call, work, stream);
  });
  return fit == Status::kOk ? status : fit;
}

Status lrpolicy_draw_rates_cuda(AslrDraws* draws, std::int64_t count, double* out, cudaStream_t stream) {
  if (draws == nullptr || (out == nullptr && count > 0)) return Status::kNullPointer;
  if (count < 0 || count > std::int64_t{1} << 32) return Status::kBadCount;
  draw<<<1, kTeam, 0, stream>>>(draws, count, out);
  return status_of(cudaGetLastError());
}
