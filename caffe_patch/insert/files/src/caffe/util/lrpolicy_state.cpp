#include "caffe/util/lrpolicy_state.hpp"

#include <boost/property_tree/json_parser.hpp>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <iomanip>
#include <limits>
#include <lrpolicy/error.hpp>
#include <sstream>

namespace caffe {

namespace {

// Seventeen digits read back exactly. Written and read in the C locale, whatever the program's.
std::string RealText(double value) {
  if (std::isnan(value)) return "\"nan\"";
  if (std::isinf(value)) return value > 0 ? "\"inf\"" : "\"-inf\"";
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << std::setprecision(17) << value;
  return text.str();
}

lrpolicy::InputError Unreadable(const std::string& what, const std::string& text) {
  return lrpolicy::InputError("the policy's state is damaged: " + what, "\"" + text + "\"");
}

double RealOf(const std::string& path, const std::string& text) {
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  double value = 0;
  stream >> value;
  if (stream.fail() || !stream.eof()) throw Unreadable(path + " must be a number", text);
  return value;
}

std::int64_t WholeOf(const std::string& path, const std::string& text) {
  char* end = NULL;
  errno = 0;
  const std::int64_t value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || errno != 0) throw Unreadable(path + " must be a whole number", text);
  return value;
}

}  // namespace

StateWriter::StateWriter(const std::string& schedule) : text_("{"), first_(true) {
  Text("schedule", schedule);
  Whole("version", 1);
}

void StateWriter::Name(const std::string& name) {
  text_ += (first_ ? "\"" : ", \"") + name + "\": ";
  first_ = false;
}

void StateWriter::Text(const std::string& name, const std::string& value) {
  Name(name);
  text_ += "\"" + value + "\"";
}

void StateWriter::Flag(const std::string& name, bool value) {
  Name(name);
  text_ += value ? "true" : "false";
}

void StateWriter::Whole(const std::string& name, std::int64_t value) {
  Name(name);
  text_ += std::to_string(value);
}

void StateWriter::Real(const std::string& name, double value) {
  Name(name);
  text_ += RealText(value);
}

void StateWriter::Wholes(const std::string& name, const std::vector<std::int64_t>& values) {
  Name(name);
  text_ += "[";
  for (std::size_t i = 0; i < values.size(); ++i) text_ += (i == 0 ? "" : ", ") + std::to_string(values[i]);
  text_ += "]";
}

void StateWriter::Reals(const std::string& name, const std::vector<double>& values) {
  Name(name);
  text_ += "[";
  for (std::size_t i = 0; i < values.size(); ++i) text_ += (i == 0 ? "" : ", ") + RealText(values[i]);
  text_ += "]";
}

void StateWriter::Open(const std::string& name) {
  Name(name);
  text_ += "{";
  first_ = true;
}

void StateWriter::Close() {
  text_ += "}";
  first_ = false;
}

std::string StateWriter::Finish() { return text_ + "}"; }

StateReader::StateReader(const std::string& json) {
  std::istringstream stream(json);
  try {
    boost::property_tree::read_json(stream, tree_);
  } catch (const boost::property_tree::json_parser_error& error) {
    throw lrpolicy::InputError("the policy's state is damaged: it must be JSON", error.message());
  }
}

void StateReader::Expect(const std::string& schedule) const {
  const std::string found = Has("schedule") ? Text("schedule") : "none";
  if (found != schedule) throw lrpolicy::InputError("this is no state of schedule " + schedule, "schedule " + found);
  if (Whole("version") != 1) throw lrpolicy::InputError("this is no state of version 1", "version " + Text("version"));
}

const boost::property_tree::ptree& StateReader::Child(const std::string& path) const {
  const boost::optional<const boost::property_tree::ptree&> child = tree_.get_child_optional(path);
  if (!child) throw lrpolicy::InputError("the policy's state is damaged: it lacks " + path);
  return *child;
}

std::string StateReader::Text(const std::string& path) const { return Child(path).data(); }

bool StateReader::Flag(const std::string& path) const {
  const std::string text = Text(path);
  if (text != "true" && text != "false") throw Unreadable(path + " must be true or false", text);
  return text == "true";
}

std::int64_t StateReader::Whole(const std::string& path) const { return WholeOf(path, Text(path)); }

double StateReader::Real(const std::string& path) const { return RealOf(path, Text(path)); }

std::vector<std::int64_t> StateReader::Wholes(const std::string& path) const {
  std::vector<std::int64_t> values;
  for (const auto& item : Child(path)) values.push_back(WholeOf(path, item.second.data()));
  return values;
}

std::vector<double> StateReader::Reals(const std::string& path) const {
  std::vector<double> values;
  for (const auto& item : Child(path)) values.push_back(RealOf(path, item.second.data()));
  return values;
}

}  // namespace caffe
