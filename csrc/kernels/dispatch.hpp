// The verbs for tensors in the CPU's memory, by the implementation that settings.hpp says.
#ifndef LRPOLICY_KERNELS_DISPATCH_HPP_
#define LRPOLICY_KERNELS_DISPATCH_HPP_

#include "accumulate.hpp"
#include "dot_pair.hpp"
#include "momentum_step.hpp"

extern "C" {
lrpolicy::Status lrpolicy_dot_pair(lrpolicy::Plan* plan, const lrpolicy::DotPair* call);
lrpolicy::Status lrpolicy_accumulate(lrpolicy::Plan* plan, const lrpolicy::Accumulate* call);
lrpolicy::Status lrpolicy_momentum_step(lrpolicy::Plan* plan, const lrpolicy::MomentumStep* call);
}

#endif  // LRPOLICY_KERNELS_DISPATCH_HPP_
