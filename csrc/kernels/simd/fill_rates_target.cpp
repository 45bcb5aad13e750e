// fill_rates for one instruction set. CMake compiles this file once for each, with LRPOLICY_TARGET naming the result;
// everything here has internal linkage, so that no copy can stand in for another.
#include <algorithm>
#include <lrpolicy/policy_table.hpp>
#include <utility>

#include "targets.hpp"

namespace lrpolicy {
namespace {

// One loop per policy, made by the compiler from the policy's own function. An index of 32 bits turns into a double
// on every instruction set.
template <std::size_t row, typename Real>
void fill_chunk(const Policy& policy, double first, double stride, int count, Real* out) {
  const Policy p = policy;  // a copy that `out` cannot alias
  for (int i = 0; i < count; ++i) out[i] = static_cast<Real>(rate_of(p, kPolicies[row].g(p, first + stride * i)));
}

template <typename Real>
using FillChunk = void (*)(const Policy&, double, double, int, Real*);

template <typename Real, std::size_t... rows>
FillChunk<Real> chunk_of(int row, std::index_sequence<rows...>) {
  static constexpr FillChunk<Real> chunks[] = {&fill_chunk<rows, Real>...};
  return chunks[row];
}

// Rates of the iterations first, first + stride, ... counted from `start`.
template <typename Real>
void fill_each(const Policy& p, std::int64_t first, std::int64_t stride, std::int64_t count, Real* out) {
  constexpr std::int64_t kChunk = 1 << 20;
  const FillChunk<Real> chunk = chunk_of<Real>(p.row, std::make_index_sequence<kPolicyCount>());
  for (std::int64_t done = 0; done < count; done += kChunk) {
    chunk(p, static_cast<double>(first + done * stride), static_cast<double>(stride),
          static_cast<int>(std::min(kChunk, count - done)), out + done);
  }
}

// The first iteration after t at which a policy of Pattern::kSteps changes its rate.
std::int64_t next_step(const Policy& p, std::int64_t t) {
  const Parameters& q = p.parameters;
  const std::int64_t* const end = q.stepvalue + q.stepvalue_count;
  const std::int64_t* const next = std::upper_bound(q.stepvalue, end, t);
  if (next != end) return *next;
  return q.stepsize > 0 ? (t / q.stepsize + 1) * q.stepsize : kMaxIteration + 1;
}

template <typename Real>
void fill_steps(const Policy& p, std::int64_t first, std::int64_t count, Real* out) {
  constexpr std::int64_t kShortStep = 32;  // below, one vector of many steps beats one fill for each
  if (p.parameters.stepsize > 0 && p.parameters.stepsize < kShortStep) return fill_each(p, first, 1, count, out);
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t t = first + done, held = std::min(count - done, next_step(p, t) - t);
    std::fill_n(out + done, held, static_cast<Real>(rate_of(p, kPolicies[p.row].g(p, static_cast<double>(t)))));
    done += held;
  }
}

template <typename Real>
void fill_rates(const Policy& p, std::int64_t first, std::int64_t stride, std::int64_t count, Real* out) {
  if (stride < 0) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<Real>(rate(p, first + i * stride));
    return;
  }
  std::int64_t since = first - p.parameters.start;
  for (; since < 0 && count > 0; since += stride, --count) *out++ = static_cast<Real>(p.parameters.base_lr);
  if (stride == 1 && kPolicies[p.row].pattern == Pattern::kSteps) return fill_steps(p, since, count, out);
  fill_each(p, since, stride, count, out);
}

}  // namespace

extern const Target LRPOLICY_TARGET;
const Target LRPOLICY_TARGET = {LRPOLICY_TARGET_NAME, &rate, &fill_rates<double>, &fill_rates<float>};

}  // namespace lrpolicy
