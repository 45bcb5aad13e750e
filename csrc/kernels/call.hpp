// What every call over a plan looks at before it starts, and the hold it keeps on the plan while it runs.
#ifndef LRPOLICY_KERNELS_CALL_HPP_
#define LRPOLICY_KERNELS_CALL_HPP_

#include "accumulate.hpp"
#include "dot_pair.hpp"
#include "momentum_step.hpp"
#include "threads.hpp"

namespace lrpolicy {

// True while this call owns the plan.
class Hold {
 public:
  explicit Hold(Plan& plan) : plan_(plan), held_(!plan.busy.exchange(true, std::memory_order_acquire)) {}
  ~Hold() {
    if (held_) plan_.busy.store(false, std::memory_order_release);
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  explicit operator bool() const { return held_; }

 private:
  Plan& plan_;
  bool held_;
};

template <typename Pointer>
bool has_all(const Plan& plan, Pointer const* list) {
  for (std::size_t i = 0; i < plan.counts.size(); ++i) {
    if (plan.counts[i] > 0 && (list == nullptr || list[i] == nullptr)) return false;
  }
  return true;
}

inline Status check(const Plan& plan, const DotPair& call) {
  if (!is_known(call.dtype)) return Status::kBadDType;
  const bool sums = plan.counts.empty() || (call.gg != nullptr && call.gp != nullptr);
  const bool lists = has_all(plan, call.now) && has_all(plan, call.previous);
  return sums && lists && (call.start == nullptr || has_all(plan, call.start)) ? Status::kOk : Status::kNullPointer;
}

inline Status check(const Plan& plan, const Accumulate& call) {
  if (!is_known(call.dtype)) return Status::kBadDType;
  return has_all(plan, call.gradients) && has_all(plan, call.sums) ? Status::kOk : Status::kNullPointer;
}

inline Status check(const Plan& plan, const MomentumStep& call) {
  const bool numbers = plan.counts.empty() || (call.rates != nullptr && call.decays != nullptr);
  const bool lists = has_all(plan, call.gradients) && has_all(plan, call.weights) && has_all(plan, call.history);
  return numbers && lists ? Status::kOk : Status::kNullPointer;
}

// run() if the plan is free and the call is right.
template <typename Call, typename Run>
Status checked(Plan* plan, const Call* call, Run&& run) {
  if (plan == nullptr || call == nullptr) return Status::kNullPointer;
  const Status status = check(*plan, *call);
  if (status != Status::kOk) return status;
  const Hold hold(*plan);
  if (!hold) return Status::kBusy;
  const PlainArithmetic arithmetic;
  run();
  return Status::kOk;
}

}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_CALL_HPP_
