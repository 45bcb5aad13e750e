#include "dispatch.hpp"

#include "settings.hpp"

using namespace lrpolicy;

namespace {

template <typename Call>
Status dispatch(Status (*reference)(Plan*, const Call*), Status (*simd)(Plan*, const Call*), Plan* plan,
                const Call* call) {
  const Settings& chosen = settings();
  if (chosen.status != Status::kOk) return chosen.status;
  if (chosen.implementation == Implementation::kCuda) return Status::kNotOnCpu;
  return chosen.implementation == Implementation::kReference ? reference(plan, call) : simd(plan, call);
}

}  // namespace

Status lrpolicy_dot_pair(Plan* plan, const DotPair* call) {
  return dispatch(&lrpolicy_dot_pair_reference, &lrpolicy_dot_pair_simd, plan, call);
}

Status lrpolicy_accumulate(Plan* plan, const Accumulate* call) {
  return dispatch(&lrpolicy_accumulate_reference, &lrpolicy_accumulate_simd, plan, call);
}

Status lrpolicy_momentum_step(Plan* plan, const MomentumStep* call) {
  return dispatch(&lrpolicy_momentum_step_reference, &lrpolicy_momentum_step_simd, plan, call);
}
