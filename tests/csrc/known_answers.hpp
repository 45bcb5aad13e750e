// Reads the answer sheets in tests/data.
#ifndef LRPOLICY_TESTS_KNOWN_ANSWERS_HPP_
#define LRPOLICY_TESTS_KNOWN_ANSWERS_HPP_

#include <fstream>
#include <lrpolicy/prepare.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

inline std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

// The rows of a sheet without its heading; each a list of cells.
inline std::vector<std::vector<std::string>> read_sheet(const std::string& name) {
  std::ifstream file(std::string(LRPOLICY_TEST_DATA) + "/" + name);
  if (!file) throw std::runtime_error("cannot read " + name);
  std::vector<std::vector<std::string>> rows;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) rows.push_back(split(line, '\t'));
  return rows;
}

// A policy from text like "base_lr=0.1 gamma=0.1 stepvalue=32000,48000", with the list it points into.
class NamedPolicy {
 public:
  NamedPolicy(const std::string& name, const std::string& text) {
    lrpolicy::Parameters parameters{};
    unsigned given = 0;
    for (const std::string& assignment : split(text, ' ')) {
      const std::string key = assignment.substr(0, assignment.find('='));
      const std::string value = assignment.substr(assignment.find('=') + 1);
      for (const lrpolicy::ParameterRow& row : lrpolicy::kParameters) {
        if (key != row.name) continue;
        given |= row.field;
        if (row.real != nullptr) {
          parameters.*row.real = std::stod(value);
        } else if (row.integer != nullptr) {
          parameters.*row.integer = std::stoll(value);
        } else {
          for (const std::string& step : split(value, ',')) stepvalue_.push_back(std::stoll(step));
        }
      }
    }
    parameters.stepvalue = stepvalue_.data();
    parameters.stepvalue_count = static_cast<std::int64_t>(stepvalue_.size());
    const lrpolicy::PolicyRow* const row = lrpolicy::find_policy(name);
    if (row == nullptr) throw std::runtime_error("no policy " + name);
    policy_ = lrpolicy::prepare(*row, parameters, given);
  }
  NamedPolicy(const NamedPolicy&) = delete;
  NamedPolicy& operator=(const NamedPolicy&) = delete;

  const lrpolicy::Policy& operator*() const { return policy_; }

 private:
  std::vector<std::int64_t> stepvalue_;
  lrpolicy::Policy policy_;
};

// One policy of every row, with every optional field that it takes.
inline std::vector<std::pair<std::string, std::string>> one_of_each() {
  std::vector<std::pair<std::string, std::string>> all;
  for (const lrpolicy::PolicyRow& row : lrpolicy::kPolicies) {
    const std::pair<unsigned, const char*> values[] = {{lrpolicy::kBaseLr, "base_lr=0.01"},
                                                       {lrpolicy::kMaxLr, "max_lr=0.06"},
                                                       {lrpolicy::kMinLr, "min_lr=0.0001"},
                                                       {lrpolicy::kGamma, "gamma=0.9994"},
                                                       {lrpolicy::kPower, "power=0.75"},
                                                       {lrpolicy::kStepsize, "stepsize=211"},
                                                       {lrpolicy::kStepvalue, "stepvalue=40,1000,1001"},
                                                       {lrpolicy::kMaxIter, "max_iter=3000"},
                                                       {lrpolicy::kStart, "start=37"}};
    std::string text;
    for (const auto& value : values) {
      if ((row.required | row.optional) & value.first) text += (text.empty() ? "" : " ") + std::string(value.second);
    }
    all.emplace_back(row.name, text);
  }
  return all;
}

#endif  // LRPOLICY_TESTS_KNOWN_ANSWERS_HPP_
