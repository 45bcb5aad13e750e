// The verbs over lists for one instruction set. CMake compiles this file once for each, as fill_rates_target.cpp;
// everything here has internal linkage, so that no copy can stand in for another.
#include "dot_pair_piece.hpp"
#include "draw_rates_block.hpp"
#include "list_targets.hpp"

namespace lrpolicy {
namespace {

template <typename T>
void accumulate_piece(const Accumulate& call, const Piece& piece) {
  Wide<T>* __restrict const sum = static_cast<Wide<T>*>(call.sums[piece.tensor]) + piece.first;
  const T* __restrict const gradient = static_cast<const T*>(call.gradients[piece.tensor]) + piece.first;
  const Wide<T> scale = static_cast<Wide<T>>(call.scale);
  for (std::int64_t i = 0; i < piece.count; ++i) sum[i] = accumulated(sum[i], scale, gradient[i]);
}

void accumulate(const Accumulate& call, const Piece& piece) {
  with_type(call.dtype, [&](auto type) { accumulate_piece<decltype(type)>(call, piece); });
}

template <bool nesterov, bool rate_inside, Regularization regularization>
void momentum_piece(const MomentumStep& call, const Piece& piece) {
  const float* __restrict const gradient = call.gradients[piece.tensor] + piece.first;
  float* __restrict const weight = call.weights[piece.tensor] + piece.first;
  float* __restrict const history = call.history[piece.tensor] + piece.first;
  const float rate = call.rates[piece.tensor], decay = call.decays[piece.tensor], momentum = call.momentum;
  for (std::int64_t i = 0; i < piece.count; ++i) {
    const float d = regularized(gradient[i], weight[i], decay, regularization);
    momentum_step(d, rate, momentum, nesterov, rate_inside, weight[i], history[i]);
  }
}

template <bool nesterov, bool rate_inside>
void momentum_rule(const MomentumStep& call, const Piece& piece) {
  constexpr Regularization l1 = Regularization::kL1, l2 = Regularization::kL2;
  call.regularization == l1 ? momentum_piece<nesterov, rate_inside, l1>(call, piece)
                            : momentum_piece<nesterov, rate_inside, l2>(call, piece);
}

void momentum_step(const MomentumStep& call, const Piece& piece) {
  if (call.nesterov) {
    call.rate_inside ? momentum_rule<true, true>(call, piece) : momentum_rule<true, false>(call, piece);
  } else {
    call.rate_inside ? momentum_rule<false, true>(call, piece) : momentum_rule<false, false>(call, piece);
  }
}

}  // namespace

#define LRPOLICY_JOIN(left, right) left##right
#define LRPOLICY_LIST_TARGET(target) LRPOLICY_JOIN(list_, target)
extern const ListTarget LRPOLICY_LIST_TARGET(LRPOLICY_TARGET);
const ListTarget LRPOLICY_LIST_TARGET(LRPOLICY_TARGET) = {LRPOLICY_TARGET_NAME, &dot_pair, &accumulate, &momentum_step,
                                                          &draw_rates};

}  // namespace lrpolicy
