// The verbs on the CPU, by the implementation that settings.hpp says; a setting that makes no sense is the status.
#ifndef LRPOLICY_KERNELS_DISPATCH_HPP_
#define LRPOLICY_KERNELS_DISPATCH_HPP_

#include "accumulate.hpp"
#include "dot_pair.hpp"
#include "draw_rates.hpp"
#include "fill_rates.hpp"
#include "momentum_step.hpp"

namespace lrpolicy {

using RateFunction = double (*)(const Policy&, std::int64_t t);

// What computes a single rate; null where settings().status is not kOk.
RateFunction rate_function();

}  // namespace lrpolicy

extern "C" {
lrpolicy::Status lrpolicy_fill_rates(const lrpolicy::Policy* policy, std::int64_t first, std::int64_t stride,
                                     std::int64_t count, double* out);
lrpolicy::Status lrpolicy_fill_rates_float32(const lrpolicy::Policy* policy, std::int64_t first, std::int64_t stride,
                                             std::int64_t count, float* out);
lrpolicy::Status lrpolicy_draw_rates(const lrpolicy::Decimal* center, std::uint64_t seed, std::uint64_t iteration,
                                     std::int64_t count, double* out);
lrpolicy::Status lrpolicy_dot_pair(lrpolicy::Plan* plan, const lrpolicy::DotPair* call);
lrpolicy::Status lrpolicy_accumulate(lrpolicy::Plan* plan, const lrpolicy::Accumulate* call);
lrpolicy::Status lrpolicy_momentum_step(lrpolicy::Plan* plan, const lrpolicy::MomentumStep* call);
}

#endif  // LRPOLICY_KERNELS_DISPATCH_HPP_
