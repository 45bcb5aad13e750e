#include "../momentum_step.hpp"

#include "../call.hpp"

using namespace lrpolicy;

Status lrpolicy_momentum_step_reference(Plan* plan, const MomentumStep* call) {
  return checked(plan, call, [&] {
    for (std::size_t t = 0; t < plan->counts.size(); ++t) {
      for (std::int64_t i = 0; i < plan->counts[t]; ++i) {
        float& weight = call->weights[t][i];
        const float d = regularized(call->gradients[t][i], weight, call->decays[t], call->regularization);
        momentum_step(d, call->rates[t], call->momentum, call->nesterov, call->rate_inside, weight,
                      call->history[t][i]);
      }
    }
  });
}
