#include "dispatch.hpp"

#include "settings.hpp"
#include "simd/targets.hpp"

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

template <typename... Arguments>
Status fill(void (*reference)(Arguments...), void (*simd)(Arguments...), Arguments... arguments) {
  const Settings& chosen = settings();
  if (chosen.status != Status::kOk) return chosen.status;
  (chosen.implementation == Implementation::kReference ? reference : simd)(arguments...);
  return Status::kOk;
}

}  // namespace

RateFunction lrpolicy::rate_function() {
  const Settings& chosen = settings();
  if (chosen.status != Status::kOk) return nullptr;
  return chosen.implementation == Implementation::kReference ? &rate : best_target().rate;
}

Status lrpolicy_fill_rates(const Policy* policy, std::int64_t first, std::int64_t stride, std::int64_t count,
                           double* out) {
  return fill(&lrpolicy_fill_rates_reference, &lrpolicy_fill_rates_simd, policy, first, stride, count, out);
}

Status lrpolicy_fill_rates_float32(const Policy* policy, std::int64_t first, std::int64_t stride, std::int64_t count,
                                   float* out) {
  return fill(&lrpolicy_fill_rates_float32_reference, &lrpolicy_fill_rates_float32_simd, policy, first, stride, count,
              out);
}

Status lrpolicy_draw_rates(const Decimal* center, std::uint64_t seed, std::uint64_t iteration, std::int64_t count,
                           double* out) {
  return fill(&lrpolicy_draw_rates_reference, &lrpolicy_draw_rates_simd, center, seed, iteration, count, out);
}

Status lrpolicy_dot_pair(Plan* plan, const DotPair* call) {
  return dispatch(&lrpolicy_dot_pair_reference, &lrpolicy_dot_pair_simd, plan, call);
}

Status lrpolicy_accumulate(Plan* plan, const Accumulate* call) {
  return dispatch(&lrpolicy_accumulate_reference, &lrpolicy_accumulate_simd, plan, call);
}

Status lrpolicy_momentum_step(Plan* plan, const MomentumStep* call) {
  return dispatch(&lrpolicy_momentum_step_reference, &lrpolicy_momentum_step_simd, plan, call);
}
