// Rules that several state machines share, checked at the door (C++11, host only).
#ifndef LRPOLICY_CHECKS_HPP_
#define LRPOLICY_CHECKS_HPP_

#include <lrpolicy/prepare.hpp>

namespace lrpolicy {

inline void check_positive(const char* name, double value) {
  if (value > 0 && value <= kLargestReal) return;
  throw InputError(std::string(name) + " must be a number above 0, at most 1e100", to_text(value));
}

// min_lr: 0 .. base_lr.
inline void check_floor(double min_lr, double base_lr) {
  if (min_lr >= 0 && min_lr <= base_lr) return;
  throw InputError("min_lr must lie between 0 and base_lr = " + to_text(base_lr), to_text(min_lr));
}

// The row of a name in a table whose rows begin with `name`. Throws InputError, which lists the known names.
template <typename Row, std::size_t kCount>
const Row& find_row(const Row (&table)[kCount], const std::string& what, const std::string& name) {
  std::string known;
  for (const Row& row : table) {
    if (name == row.name) return row;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw InputError(what + " \"" + name + "\" is unknown", "", "known: " + known);
}

}  // namespace lrpolicy

#endif  // LRPOLICY_CHECKS_HPP_
