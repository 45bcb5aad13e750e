#ifndef CAFFE_UTIL_LRPOLICY_STATE_HPP_
#define CAFFE_UTIL_LRPOLICY_STATE_HPP_

// An adaptive policy's state as JSON, as lrpolicy.stateful writes it: {"schedule": ..., "version": 1, FIELD: ...},
// doubles exact, infinity as "inf", and what Caffe adds under "caffe".
#include <boost/property_tree/ptree.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace caffe {

/// Writes fields in the order of its calls.
class StateWriter {
 public:
  explicit StateWriter(const std::string& schedule);
  void Text(const std::string& name, const std::string& value);
  void Flag(const std::string& name, bool value);
  void Whole(const std::string& name, std::int64_t value);
  void Real(const std::string& name, double value);
  void Wholes(const std::string& name, const std::vector<std::int64_t>& values);
  void Reals(const std::string& name, const std::vector<double>& values);
  /// The fields to come are those of an object of this name, up to Close.
  void Open(const std::string& name);
  void Close();
  /// The whole text; nothing may follow.
  std::string Finish();

 private:
  void Name(const std::string& name);

  std::string text_;
  bool first_;
};

/// Reads fields. Whatever is missing or of another kind is thrown as lrpolicy::InputError.
class StateReader {
 public:
  explicit StateReader(const std::string& json);
  void Expect(const std::string& schedule) const;
  bool Has(const std::string& path) const { return static_cast<bool>(tree_.get_child_optional(path)); }
  std::string Text(const std::string& path) const;
  bool Flag(const std::string& path) const;
  std::int64_t Whole(const std::string& path) const;
  double Real(const std::string& path) const;
  std::vector<std::int64_t> Wholes(const std::string& path) const;
  std::vector<double> Reals(const std::string& path) const;

 private:
  const boost::property_tree::ptree& Child(const std::string& path) const;

  boost::property_tree::ptree tree_;
};

}  // namespace caffe

#endif  // CAFFE_UTIL_LRPOLICY_STATE_HPP_
