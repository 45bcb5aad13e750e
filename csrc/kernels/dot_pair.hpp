// The verb dot_pair: what TLR asks of its gradients, for each tensor of a list in one pass,
//   gg = <g, g>   and   gp = <g, g'>,    summed as block_sum.hpp defines, the same bits everywhere.
//
// g is given, or formed from two snapshots of the weights as start - now, rounded once to its own type. With `roll`
// the pass also leaves everything ready for the next window: g' <- g, and start <- now.
//
// A NaN or an infinity reaches the sums of its own tensor only.
#ifndef LRPOLICY_KERNELS_DOT_PAIR_HPP_
#define LRPOLICY_KERNELS_DOT_PAIR_HPP_

#include "plan.hpp"

namespace lrpolicy {

// Lists of pointers, one for each tensor of the plan; a pointer of an empty tensor is not looked at. Tensors may lie
// at any address that suits their type. Of those that are written, none may overlap another.
struct DotPair {
  DType dtype;             // of `now` and `start`
  bool roll;               // write to `previous` and `start`
  const void* const* now;  // g, or with `start` the weights now
  void* const* previous;   // g': of `dtype`, or with `start` of wide(dtype), as g then is
  void* const* start;      // the weights at the window's start, or null: `now` is g itself
  double* gg;              // out, one for each tensor
  double* gp;              // out
};

// g of one element, and what rolls into g'.
template <typename T>
LRPOLICY_FUNCTION Wide<T> displacement(T start, T now) {
  return widen(start) - widen(now);
}

}  // namespace lrpolicy

extern "C" {

// One plain loop and the tree as a recursion: the oracle of the others.
lrpolicy::Status lrpolicy_dot_pair_reference(lrpolicy::Plan* plan, const lrpolicy::DotPair* call);

// Vectors for the best instruction set of this processor, and threads.
lrpolicy::Status lrpolicy_dot_pair_simd(lrpolicy::Plan* plan, const lrpolicy::DotPair* call);
}

#endif  // LRPOLICY_KERNELS_DOT_PAIR_HPP_
