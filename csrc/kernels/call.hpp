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
  explicit Hold(std::atomic<bool>& busy) : busy_(busy), held_(!busy.exchange(true, std::memory_order_acquire)) {}
  ~Hold() {
    if (held_) busy_.store(false, std::memory_order_release);
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  explicit operator bool() const { return held_; }

 private:
  std::atomic<bool>& busy_;
  bool held_;
};

template <typename Pointer>
bool has_all(const std::vector<std::int64_t>& counts, Pointer const* list) {
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0 && (list == nullptr || list[i] == nullptr)) return false;
  }
  return true;
}

// `counts` are the plan's.
inline Status check(const std::vector<std::int64_t>& counts, const DotPair& call) {
  if (!is_known(call.dtype)) return Status::kBadDType;
  const bool sums = counts.empty() || (call.gg != nullptr && call.gp != nullptr);
  const bool lists = has_all(counts, call.now) && has_all(counts, call.previous);
  return sums && lists && (call.start == nullptr || has_all(counts, call.start)) ? Status::kOk : Status::kNullPointer;
}

inline Status check(const std::vector<std::int64_t>& counts, const Accumulate& call) {
  if (!is_known(call.dtype)) return Status::kBadDType;
  return has_all(counts, call.gradients) && has_all(counts, call.sums) ? Status::kOk : Status::kNullPointer;
}

inline Status check(const std::vector<std::int64_t>& counts, const MomentumStep& call) {
  const bool numbers = counts.empty() || (call.rates != nullptr && call.decays != nullptr);
  const bool lists = has_all(counts, call.gradients) && has_all(counts, call.weights) && has_all(counts, call.history);
  return numbers && lists ? Status::kOk : Status::kNullPointer;
}

// run() if the plan, of whatever device, is free and the call is right.
template <typename AnyPlan, typename Call, typename Run>
Status checked(AnyPlan* plan, const Call* call, Run&& run) {
  if (plan == nullptr || call == nullptr) return Status::kNullPointer;
  const Status status = check(plan->counts, *call);
  if (status != Status::kOk) return status;
  const Hold hold(plan->busy);
  if (!hold) return Status::kBusy;
  const PlainArithmetic arithmetic;
  run();
  return Status::kOk;
}

}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_CALL_HPP_
