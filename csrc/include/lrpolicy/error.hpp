// Wrong input, said once: where, rule, got, remedy (C++11, host only).
#ifndef LRPOLICY_ERROR_HPP_
#define LRPOLICY_ERROR_HPP_

#include <stdexcept>
#include <string>

namespace lrpolicy {

// what() reads "where: rule, got ...; remedy", each part only when given. Python's lrpolicy.errors.InputError is its
// twin.
class InputError : public std::runtime_error {
 public:
  explicit InputError(const std::string& rule, const std::string& got = "", const std::string& remedy = "",
                      const std::string& where = "")
      : std::runtime_error((where.empty() ? "" : where + ": ") + rule + (got.empty() ? "" : ", got " + got) +
                           (remedy.empty() ? "" : "; " + remedy)),
        rule_(rule),
        got_(got),
        remedy_(remedy),
        where_(where) {}

  const std::string& rule() const { return rule_; }
  const std::string& got() const { return got_; }
  const std::string& remedy() const { return remedy_; }
  const std::string& where() const { return where_; }

 private:
  std::string rule_, got_, remedy_, where_;
};

}  // namespace lrpolicy

#endif  // LRPOLICY_ERROR_HPP_
