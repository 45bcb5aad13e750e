#include "../fill_rates.hpp"

void lrpolicy_fill_rates_reference(const lrpolicy::Policy* policy, std::int64_t first, std::int64_t stride,
                                   std::int64_t count, double* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = lrpolicy::rate(*policy, first + i * stride);
}

void lrpolicy_fill_rates_float32_reference(const lrpolicy::Policy* policy, std::int64_t first, std::int64_t stride,
                                           std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(lrpolicy::rate(*policy, first + i * stride));
  }
}
