// The four decaying sequences of the Yang-Huang report, section 3.1 (C++11, host and device).
//
//   r_n = q(n) * r_0
//
// Training begins with r_0; the first advance takes the sequence to its first n, each further one to the next.
#ifndef LRPOLICY_SEQUENCE_HPP_
#define LRPOLICY_SEQUENCE_HPP_

#include <lrpolicy/elementary.hpp>

namespace lrpolicy {

LRPOLICY_FUNCTION DoubleDouble seq1(std::int64_t n) { return divide(exact(1), exact(static_cast<double>(n))); }

LRPOLICY_FUNCTION DoubleDouble seq2(std::int64_t n) { return power_of(exact(static_cast<double>(n)), -0.5); }

// By squaring, n in binary: log2 and exp2 would be too coarse for a base that is a short decimal, where the product
// with a short r_0 lies half-way between two doubles more often than chance has it.
LRPOLICY_FUNCTION DoubleDouble seq3(std::int64_t n) {
  DoubleDouble power = exact(1);
  for (DoubleDouble square = divide(exact(9), exact(10)); n > 0; n /= 2) {
    if (n % 2 == 1) power = multiply(power, square);
    square = multiply(square, square);
  }
  return power;
}

// Falls from 1 to 0.1 in tenths, again and again, each time divided by the number of the fall. The report prints
// floor(n/10) + 1 for that number, which jumps one n too early; the authors' runs have floor((n-1)/10) + 1.
LRPOLICY_FUNCTION DoubleDouble seq4(std::int64_t n) {
  const std::int64_t fall = (n - 1) / 10, tenths = 10 - (n - 1) % 10;
  return divide(exact(static_cast<double>(tenths)), exact(static_cast<double>(10 * (fall + 1))));
}

struct SequenceRow {
  const char* name;  // lr_policy
  const char* formula;
  const char* meaning;
  std::int64_t first;  // the n of the first advance
  DoubleDouble (*q)(std::int64_t n);
};

constexpr SequenceRow kSequences[] = {
    {"seq1", "1/n", "divergent; falls fastest at first", 2, &seq1},
    {"seq2", "1/sqrt(n)", "divergent; falls slower than seq1", 2, &seq2},
    {"seq3", "0.9^n", "convergent; a tenth less each time", 1, &seq3},
    {"seq4", "(1 - ((n-1) mod 10)/10) / (floor((n-1)/10) + 1)", "cyclic; rises again when it has become small", 1,
     &seq4},
};

// The rate after `advances` advances: r_0 at none. Rounded once.
static inline double sequence_rate(const SequenceRow& row, double base_lr, std::int64_t advances) {
  return advances == 0 ? base_lr : multiply(row.q(row.first + advances - 1), base_lr).hi;
}

}  // namespace lrpolicy

#endif  // LRPOLICY_SEQUENCE_HPP_
