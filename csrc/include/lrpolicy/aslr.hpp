// ASLR: after each epoch a search along one-digit rates, steered by the validation cost (ASLR paper, Algorithm 1), and
// for each step and parameter tensor a rate drawn around the centre (equation 10). C++11, host and device.
#ifndef LRPOLICY_ASLR_HPP_
#define LRPOLICY_ASLR_HPP_

#include <cmath>
#include <lrpolicy/decimal.hpp>
#include <lrpolicy/philox.hpp>

namespace lrpolicy {

struct AslrState {
  Decimal center;
  double min_cost;            // infinite before the first finite cost
  int search_direction;       // +1 or -1
  std::int64_t search_range;  // steps until the direction flips
  std::int64_t search_steps;  // of them, done
};

LRPOLICY_FUNCTION AslrState aslr_start(double base_lr) { return {nearest_decimal(base_lr), HUGE_VAL, 1, 1, 0}; }

// The state after an epoch. The first finite cost is the first minimum, an equal cost is an improvement, and a cost
// that is not finite is none.
LRPOLICY_FUNCTION AslrState aslr_update(AslrState s, double cost) {
  if (std::isfinite(cost) && cost <= s.min_cost) return {s.center, cost, 1, 1, 0};
  s.center = s.search_direction > 0 ? up(s.center) : down(s.center);
  if (++s.search_steps == s.search_range) {
    ++s.search_range;
    s.search_steps = 0;
    s.search_direction = -s.search_direction;
  }
  return s;
}

// Four numbers of U(0, 1), for the tensors 4*block .. 4*block + 3: each (m + 1/2) / 2^32 for a whole m below 2^32, so
// that neither end occurs and the mean is 1/2. A pure function of seed, iteration and block.
struct AslrUniforms {
  double u[4];
};

LRPOLICY_FUNCTION AslrUniforms aslr_uniforms(std::uint64_t seed, std::uint64_t iteration, std::uint32_t block) {
  const PhiloxCounter bits =
      philox4x32({{block, static_cast<std::uint32_t>(iteration), static_cast<std::uint32_t>(iteration >> 32), 0}},
                 {{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}});
  constexpr double kUnit = 1.0 / 4294967296.0;
  return {{(bits.word[0] + 0.5) * kUnit, (bits.word[1] + 0.5) * kUnit, (bits.word[2] + 0.5) * kUnit,
           (bits.word[3] + 0.5) * kUnit}};
}

// c - s/2 + u*s for the centre c and its width s. The sum of digits is exact; what is rounded is its product with the
// power of ten, once.
LRPOLICY_FUNCTION double aslr_rate(Decimal center, double u) {
  const double digits = center.digit - 0.5 + u;
  return center.exponent < 0 ? digits / power_of_ten(-center.exponent) : digits * power_of_ten(center.exponent);
}

// The rate of one parameter tensor at one iteration.
LRPOLICY_FUNCTION double aslr_draw(Decimal center, std::uint64_t seed, std::uint64_t iteration, std::uint32_t tensor) {
  return aslr_rate(center, aslr_uniforms(seed, iteration, tensor / 4).u[tensor % 4]);
}

}  // namespace lrpolicy

#endif  // LRPOLICY_ASLR_HPP_
