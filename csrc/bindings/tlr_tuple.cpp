#include "tlr_tuple.hpp"

using namespace lrpolicy;

namespace {

void check(bool holds, const char* rule) {
  if (!holds) throw InputError(rule, "", "start from init(), or from a state that to_json() wrote");
}

}  // namespace

TlrState unpack_tlr(const Tlr& tlr, const TlrTuple& t) {
  const std::size_t count = tlr.per_tensor ? tlr.lr_mult.size() : 1;
  const Reals &rate = std::get<2>(t), &scale = std::get<3>(t), &squared = std::get<4>(t), &first = std::get<5>(t);
  const Wholes &events = std::get<6>(t), &restarts = std::get<7>(t);
  for (const std::size_t size :
       {rate.size(), scale.size(), squared.size(), first.size(), events.size(), restarts.size()}) {
    if (size == count) continue;
    throw InputError("this state has " + std::to_string(size) + " rates and the schedule has " + std::to_string(count),
                     "", "a state belongs to one list of tensors");
  }
  TlrState state = {std::get<0>(t), std::get<1>(t), {}};
  check(state.windows >= 0 && state.windows <= kMaxIteration, "windows must be a whole number from 0 to 2^50");
  for (std::size_t i = 0; i < count; ++i) {
    check(rate[i] >= 0 && rate[i] <= kLargestReal, "a rate must be a number from 0 to 1e100");
    check(rate[i] > 0 || tlr.rule.min_lr == 0, "a rate of 0 belongs to fixed_eta, hypergradient or naive");
    for (const double length : {scale[i], squared[i], first[i]}) {
      check(std::isfinite(length) && length >= 0, "scales, squared and first must be numbers, 0 or more");
    }
    check(restarts[i] >= 0 && restarts[i] <= kMaxIteration, "restarts must be whole numbers from 0 to 2^50");
    check(events[i] >= 0 && events[i] < 2 * kTlrRestarted, "events must be sums of 1, 2, 4 and 8");
    state.alphas.push_back({rate[i], scale[i], squared[i], first[i], static_cast<unsigned>(events[i]), restarts[i]});
  }
  return state;
}

TlrTuple pack_tlr(const TlrState& state) {
  TlrTuple t(state.windows, state.non_finite_tensor, {}, {}, {}, {}, {}, {});
  for (const TlrAlpha& alpha : state.alphas) {
    std::get<2>(t).push_back(alpha.rate);
    std::get<3>(t).push_back(alpha.scale);
    std::get<4>(t).push_back(alpha.squared);
    std::get<5>(t).push_back(alpha.first);
    std::get<6>(t).push_back(alpha.events);
    std::get<7>(t).push_back(alpha.restarts);
  }
  return t;
}
