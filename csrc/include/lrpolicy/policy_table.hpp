// The two constant arrays from which everything else is told: parameters and policies (C++11).
//
// Adding a policy: its function in policy.hpp, its row here, its known answers in tests/data.
#ifndef LRPOLICY_POLICY_TABLE_HPP_
#define LRPOLICY_POLICY_TABLE_HPP_

#include <lrpolicy/error.hpp>
#include <lrpolicy/policy.hpp>
#include <string>

namespace lrpolicy {

enum Field : unsigned {
  kBaseLr = 1u << 0,
  kMaxLr = 1u << 1,
  kMinLr = 1u << 2,
  kGamma = 1u << 3,
  kPower = 1u << 4,
  kStepsize = 1u << 5,
  kStepvalue = 1u << 6,
  kMaxIter = 1u << 7,
  kStart = 1u << 8,
};

struct ParameterRow {
  Field field;
  const char* name;    // in prototxt
  const char* symbol;  // in the formulas
  // The value's place in Parameters: a real or a whole number; neither for stepvalue, a list of whole numbers.
  double Parameters::* real;
  std::int64_t Parameters::* integer;
  int least;  // the rule: at least this
  const char* meaning;
  const char* example;
};

constexpr ParameterRow kParameters[] = {
    {kBaseLr, "base_lr", "k0", &Parameters::base_lr, nullptr, 0,
     "the rate where g(t) = 1; one end of the range of a cyclic policy", "0.01"},
    {kMaxLr, "max_lr", "k1", &Parameters::max_lr, nullptr, 0, "the other end of the range", "0.06"},
    {kMinLr, "min_lr", "floor", &Parameters::min_lr, nullptr, 0, "the rate never falls below this", "0.0001"},
    {kGamma, "gamma", "gamma", &Parameters::gamma, nullptr, 0,
     "the factor of a step or an iteration; the steepness of inv and sigmoid", "0.1"},
    {kPower, "power", "p", &Parameters::power, nullptr, 0, "the exponent", "0.75"},
    {kStepsize, "stepsize", "l", nullptr, &Parameters::stepsize, 1,
     "iterations of a step, a half-cycle or (cos) a period; the midpoint of sigmoid", "2000"},
    {kStepvalue, "stepvalue", "l_j", nullptr, nullptr, 1, "the iterations of the steps, strictly increasing", "5000"},
    {kMaxIter, "max_iter", "l", nullptr, &Parameters::max_iter, 1, "the iteration at which the rate reaches zero",
     "10000"},
    {kStart, "start", "t0", nullptr, &Parameters::start, 0,
     "the iteration at which the cycle begins; base_lr until then", "0"},
};

// What a range of rates can be copied from, bit for bit.
enum class Pattern {
  kNone,
  kSteps,             // constant between the steps
  kRepeatsAfterL,     // the rates repeat after l iterations
  kRepeatsAfterTwoL,  // after 2l
};

enum class Family { kFixed, kDecaying, kCyclic, kExtra };

struct PolicyRow {
  const char* name;        // lr_policy
  const char* paper_name;  // LRBench paper, Table I
  Family family;
  unsigned required, optional;  // Fields
  const char* period;           // in iterations; empty where nothing repeats
  const char* parameter_count;  // #Param of Table I
  const char* formula;          // g(t)
  const char* meaning;
  const char* note;
  Pattern pattern;
  DoubleDouble (*g)(const Policy&, double);
};

constexpr unsigned kRange = kBaseLr | kMaxLr | kStepsize;

constexpr PolicyRow kPolicies[] = {
    {"fixed", "FIX", Family::kFixed, kBaseLr, 0, "", "1", "1", "stays at base_lr", "", Pattern::kSteps, &fixed},
    {"step", "STEP", Family::kDecaying, kBaseLr | kGamma | kStepsize, kMinLr, "", "3", "gamma^floor(t/l)",
     "multiplies the rate by gamma every stepsize iterations", "the first lower rate is at t = stepsize",
     Pattern::kSteps, &step},
    {"multistep", "NSTEP", Family::kDecaying, kBaseLr | kGamma | kStepvalue, kMinLr, "", "n+2",
     "gamma^i, i = how many l_j are <= t", "multiplies the rate by gamma at each stepvalue",
     "the first lower rate is at t = the first stepvalue", Pattern::kSteps, &multistep},
    {"exp", "EXP", Family::kDecaying, kBaseLr | kGamma, kMinLr, "", "2", "gamma^t",
     "multiplies the rate by gamma after every iteration", "", Pattern::kNone, &exp},
    {"inv", "INV", Family::kDecaying, kBaseLr | kGamma | kPower, kMinLr, "", "3", "(1 + t*gamma)^(-p)",
     "falls like a power of the time", "", Pattern::kNone, &inv},
    {"poly", "POLY", Family::kDecaying, kBaseLr | kPower | kMaxIter, kMinLr, "", "4 (3)", "(1 - t/l)^p, l = max_iter",
     "falls like a polynomial to zero at max_iter", "zero past max_iter, where Caffe gives NaN", Pattern::kNone, &poly},
    {"tri", "TRI", Family::kCyclic, kRange, kStart, "2*stepsize", "3", "(2/pi)*abs(arcsin(sin(pi*t/(2l))))",
     "goes up and down in straight lines between base_lr and max_lr", "", Pattern::kRepeatsAfterTwoL, &tri},
    {"tri2", "TRI2", Family::kCyclic, kRange, kStart, "2*stepsize", "3", "2^(-floor(t/(2l))) * TRI(t)",
     "tri with its height halved after every cycle", "", Pattern::kNone, &tri2},
    {"triexp", "TRIEXP", Family::kCyclic, kRange | kGamma, kStart, "2*stepsize", "4", "gamma^t * TRI(t)",
     "tri with its height multiplied by gamma after every iteration", "", Pattern::kNone, &triexp},
    {"sin", "SIN", Family::kCyclic, kRange, kStart, "2*stepsize", "3", "abs(sin(pi*t/(2l)))",
     "goes up and down in half sine waves between base_lr and max_lr", "", Pattern::kRepeatsAfterTwoL, &sin},
    {"sin2", "SIN2", Family::kCyclic, kRange, kStart, "2*stepsize", "3", "2^(-floor(t/(2l))) * SIN(t)",
     "sin with its height halved after every cycle", "", Pattern::kNone, &sin2},
    {"sinexp", "SINEXP", Family::kCyclic, kRange | kGamma, kStart, "2*stepsize", "4", "gamma^t * SIN(t)",
     "sin with its height multiplied by gamma after every iteration", "", Pattern::kNone, &sinexp},
    {"cos", "COS", Family::kCyclic, kRange, kStart, "stepsize", "3", "(1 + cos(pi*2t/l))/2",
     "goes down and up in a cosine wave between max_lr and base_lr, starting at the upper end",
     "the period is stepsize, as in Table I; the released LRBench program has twice that: double stepsize for its "
     "curve",
     Pattern::kRepeatsAfterL, &cos},
    {"sigmoid", "", Family::kExtra, kBaseLr | kGamma | kStepsize, 0, "", "3", "1/(1 + exp(-gamma*(t - l)))",
     "Caffe's own: an S-shaped curve, at half of base_lr when t = stepsize", "RISES for gamma > 0", Pattern::kNone,
     &sigmoid},
};

constexpr int kPolicyCount = sizeof(kPolicies) / sizeof(kPolicies[0]);
constexpr int kParameterCount = sizeof(kParameters) / sizeof(kParameters[0]);

struct AliasRow {
  const char* alias;
  const char* name;
  const char* note;
};

// Names in other people's files.
constexpr AliasRow kAliases[] = {
    {"triangular", "tri",
     "constant height, as published; one known Caffe patch divides the height by the number of the cycle"},
    {"triangular2", "tri2", "the height halves after every cycle"},
    {"exp_range", "triexp", "the height is multiplied by gamma after every iteration"},
};
constexpr int kAliasCount = sizeof(kAliases) / sizeof(kAliases[0]);

// The rate at iteration t; before `start` it is base_lr, and g counts from there.
static inline double rate(const Policy& p, std::int64_t t) {
  const std::int64_t since = t - p.parameters.start;
  return since < 0 ? p.parameters.base_lr : rate_of(p, kPolicies[p.row].g(p, static_cast<double>(since)));
}

// The row of an lr_policy, or null.
static inline const PolicyRow* find_policy(const std::string& name) {
  for (const PolicyRow& row : kPolicies) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

}  // namespace lrpolicy

#endif  // LRPOLICY_POLICY_TABLE_HPP_
