// The verb momentum_step: one update of SGD over a list of float32 tensors, each with a rate of its own.
//
//   d = gradient + decay * r          r: the weight (L2), or its sign (L1); left out where decay is 0
//
//   Caffe (sgd_solver.cpp, nesterov_solver.cpp, net.cpp: Update), the rate inside the history:
//     h' = momentum * h + rate * d
//     SGD:       weight -= h'
//     Nesterov:  weight -= (1 + momentum) * h' - momentum * h
//   PyTorch (torch.optim.SGD without dampening), the rate outside:
//     h' = momentum * h + d
//     SGD:       weight -= rate * h'
//     Nesterov:  weight -= rate * (d + momentum * h')
//
// In float32, in this order, each operation rounded once, never fused. The gradient is only read: clipping and division
// by iter_size come before.
#ifndef LRPOLICY_KERNELS_MOMENTUM_STEP_HPP_
#define LRPOLICY_KERNELS_MOMENTUM_STEP_HPP_

#include "plan.hpp"

namespace lrpolicy {

enum class Regularization : std::int32_t { kL2, kL1 };

struct MomentumStep {
  bool nesterov, rate_inside;
  Regularization regularization;
  float momentum;
  const float* rates;             // one for each tensor: Caffe's local_rate, the rate times lr_mult
  const float* decays;            // one for each tensor: Caffe's local_decay, weight_decay times decay_mult
  const float* const* gradients;  // one for each tensor of the plan, as in DotPair
  float* const* weights;
  float* const* history;
};

LRPOLICY_FUNCTION float regularized(float gradient, float weight, float decay, Regularization regularization) {
  if (decay == 0) return gradient;
  const float sign = static_cast<float>((weight > 0) - (weight < 0));
  return gradient + decay * (regularization == Regularization::kL1 ? sign : weight);
}

// Updates one weight and its history.
LRPOLICY_FUNCTION void momentum_step(float d, float rate, float momentum, bool nesterov, bool rate_inside,
                                     float& weight, float& history) {
  const float before = history;
  history = momentum * before + (rate_inside ? rate * d : d);
  if (rate_inside) {
    weight -= nesterov ? (1 + momentum) * history - momentum * before : history;
  } else {
    weight -= rate * (nesterov ? d + momentum * history : history);
  }
}

}  // namespace lrpolicy

extern "C" {
lrpolicy::Status lrpolicy_momentum_step_reference(lrpolicy::Plan* plan, const lrpolicy::MomentumStep* call);
lrpolicy::Status lrpolicy_momentum_step_simd(lrpolicy::Plan* plan, const lrpolicy::MomentumStep* call);
}

#endif  // LRPOLICY_KERNELS_MOMENTUM_STEP_HPP_
