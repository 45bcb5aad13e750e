// The verb accumulate: sum += scale * gradient over a list, TLR's window sum of raw gradients.
//
// In the sum's type, which is wide(dtype): sum + (scale * gradient), two roundings, never fused. A scale that is a
// power of two, such as a loss scale's inverse, rounds nothing.
#ifndef LRPOLICY_KERNELS_ACCUMULATE_HPP_
#define LRPOLICY_KERNELS_ACCUMULATE_HPP_

#include "plan.hpp"

namespace lrpolicy {

struct Accumulate {
  DType dtype;                   // of the gradients
  double scale;                  // rounded to the sum's type
  const void* const* gradients;  // one for each tensor of the plan, as in DotPair
  void* const* sums;             // of wide(dtype)
};

template <typename T>
LRPOLICY_FUNCTION Wide<T> accumulated(Wide<T> sum, Wide<T> scale, T gradient) {
  return sum + scale * widen(gradient);
}

}  // namespace lrpolicy

extern "C" {
lrpolicy::Status lrpolicy_accumulate_reference(lrpolicy::Plan* plan, const lrpolicy::Accumulate* call);
lrpolicy::Status lrpolicy_accumulate_simd(lrpolicy::Plan* plan, const lrpolicy::Accumulate* call);
}

#endif  // LRPOLICY_KERNELS_ACCUMULATE_HPP_
