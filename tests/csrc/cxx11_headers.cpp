// Compiled as C++11: the headers for Caffe must not need more.
#include <lrpolicy/adaptive_table.hpp>
#include <lrpolicy/aslr.hpp>
#include <lrpolicy/block_sum.hpp>
#include <lrpolicy/decimal.hpp>
#include <lrpolicy/philox.hpp>
#include <lrpolicy/prepare.hpp>
#include <lrpolicy/strategy.hpp>
#include <lrpolicy/tensor_view.hpp>
#include <lrpolicy/tlr.hpp>

static_assert(__cplusplus == 201103L, "this file is compiled as C++11");

double rate_as_caffe_would(const std::string& name, const lrpolicy::Parameters& parameters, unsigned given, int t) {
  return lrpolicy::rate(lrpolicy::prepare(*lrpolicy::find_policy(name), parameters, given), t);
}
