#include "../draw_rates.hpp"

void lrpolicy_draw_rates_reference(const lrpolicy::Decimal* center, std::uint64_t seed, std::uint64_t iteration,
                                   std::int64_t count, double* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = lrpolicy::aslr_draw(*center, seed, iteration, static_cast<std::uint32_t>(i));
  }
}
