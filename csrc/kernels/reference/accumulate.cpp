#include "../accumulate.hpp"

#include "../call.hpp"

using namespace lrpolicy;

Status lrpolicy_accumulate_reference(Plan* plan, const Accumulate* call) {
  return checked(plan, call, [&] {
    with_type(call->dtype, [&](auto type) {
      using T = decltype(type);
      for (std::size_t t = 0; t < plan->counts.size(); ++t) {
        Wide<T>* const sum = static_cast<Wide<T>*>(call->sums[t]);
        const T* const gradient = static_cast<const T*>(call->gradients[t]);
        for (std::int64_t i = 0; i < plan->counts[t]; ++i) {
          sum[i] = accumulated(sum[i], static_cast<Wide<T>>(call->scale), gradient[i]);
        }
      }
    });
  });
}
