// From parameters to a policy: every rule checked at the door, then what is computed once (C++11, host only).
#ifndef LRPOLICY_PREPARE_HPP_
#define LRPOLICY_PREPARE_HPP_

#include <cmath>
#include <lrpolicy/policy_table.hpp>
#include <sstream>

namespace lrpolicy {

constexpr double kLargestReal = 1e100;

inline std::string to_text(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

// "policy "tri2" needs max_lr (k1, the other end of the range); add for example  max_lr: 0.06"
inline void check_given(const PolicyRow& row, unsigned given) {
  for (const ParameterRow& parameter : kParameters) {
    const std::string name = parameter.name, quoted = std::string("policy \"") + row.name + "\"";
    if ((row.required & parameter.field) && !(given & parameter.field)) {
      throw InputError(quoted + " needs " + name + " (" + parameter.symbol + ", " + parameter.meaning + ")", "",
                       "add for example  " + name + ": " + parameter.example);
    }
    if ((given & parameter.field) && !((row.required | row.optional) & parameter.field)) {
      std::string takes;
      for (const ParameterRow& other : kParameters) {
        if ((row.required | row.optional) & other.field) takes += (takes.empty() ? "" : ", ") + std::string(other.name);
      }
      throw InputError(quoted + " takes no " + name, "", "it takes " + takes);
    }
  }
}

inline void check_integer(const ParameterRow& row, std::int64_t value) {
  if (value < row.least || value > kMaxIteration) {
    throw InputError(std::string(row.name) + " must be a whole number from " + std::to_string(row.least) + " to 2^50",
                     std::to_string(value));
  }
}

inline void check_real(const ParameterRow& row, double value) {
  if (value >= row.least && value <= kLargestReal) return;
  throw InputError(std::string(row.name) + " must be a number from " + std::to_string(row.least) + " to 1e100",
                   to_text(value));
}

inline void check_list(const ParameterRow& row, const std::int64_t* values, std::int64_t count) {
  const std::string name = row.name;
  if (count == 0) throw InputError(name + " must name at least one iteration", "none");
  for (std::int64_t i = 0; i < count; ++i) {
    check_integer(row, values[i]);
    if (i > 0 && values[i] <= values[i - 1]) {
      throw InputError(name + " must be strictly increasing",
                       std::to_string(values[i]) + " after " + std::to_string(values[i - 1]));
    }
  }
}

inline void check_values(const Parameters& p, unsigned given) {
  for (const ParameterRow& row : kParameters) {
    if (!(given & row.field)) continue;
    if (row.integer != nullptr) check_integer(row, p.*row.integer);
    if (row.real != nullptr) check_real(row, p.*row.real);
    if (row.field == kStepvalue) check_list(row, p.stepvalue, p.stepvalue_count);
  }
  if ((given & kMinLr) && p.min_lr > p.base_lr) {
    throw InputError("min_lr must not be above base_lr", to_text(p.min_lr) + " > " + to_text(p.base_lr));
  }
}

// log2(x) for x > 0, relative error near 2^-100: with x = 2^n m and s = (m - 1)/(m + 1), log2(m) is the series
// 2/ln 2 * (s + s^3/3 + s^5/5 + ...), |s| < 0.172.
inline DoubleDouble log2_exactly(double x) {
  int n = 0;
  double m = std::frexp(x, &n);
  if (m < 0.7071067811865476) {
    m *= 2;
    --n;
  }
  const DoubleDouble s = divide(two_sum(m, -1), two_sum(m, 1)), s2 = multiply(s, s);
  DoubleDouble series = exact(0);
  for (int k = 47; k > 0; k -= 2) series = add(multiply(series, s2), divide(exact(1), exact(k)));
  return add(multiply(multiply(series, s), scale(log2_of_e(), 2)), n);
}

// The row's place in kPolicies, by name: each translation unit has its own table, and the row may be another's.
static inline int index_of(const PolicyRow& row) {
  int index = 0;
  while (std::string(kPolicies[index].name) != row.name) ++index;
  return index;
}

// The policy of a row. `given` says which fields the caller has set. Throws InputError.
static inline Policy prepare(const PolicyRow& row, const Parameters& parameters, unsigned given) {
  check_given(row, given);
  check_values(parameters, given);
  const double k0 = parameters.base_lr, k1 = parameters.max_lr;
  Policy policy{};
  policy.parameters = parameters;
  policy.row = index_of(row);
  policy.span = k0 > k1 ? two_sum(k0, -k1) : two_sum(k1, -k0);
  policy.low = k0 < k1 ? k0 : k1;
  policy.length = static_cast<double>(given & kMaxIter ? parameters.max_iter : parameters.stepsize);
  if (policy.length > 0) policy.inverse = divide(exact(1), exact(policy.length));
  policy.log2_gamma = parameters.gamma > 0 ? log2_exactly(parameters.gamma) : exact(-2000);
  return policy;
}

}  // namespace lrpolicy

#endif  // LRPOLICY_PREPARE_HPP_
