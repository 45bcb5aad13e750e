// accumulate and momentum_step by one team, and ASLR's draws.
#ifndef LRPOLICY_KERNELS_CUDA_UPDATES_TEAM_HPP_
#define LRPOLICY_KERNELS_CUDA_UPDATES_TEAM_HPP_

#include <lrpolicy/aslr.hpp>

#include "../accumulate.hpp"
#include "../momentum_step.hpp"
#include "table.hpp"
#include "team.hpp"

namespace lrpolicy {

// What ASLR's draws come from, in device memory. A kernel that draws counts the iteration when it is done, so that a
// graph draws anew at each replay.
struct AslrDraws {
  Decimal center;
  std::uint64_t seed, iteration;
};

struct AccumulateWork {
  const TeamPiece* pieces;
  double scale;
  const double* device_scale;  // where not null, it counts instead
};

struct MomentumWork {
  const TeamPiece* pieces;
  unsigned* list_ticket;
  std::int32_t piece_count;  // of the plan
  bool nesterov, rate_inside;
  Regularization regularization;
  float momentum;
  const float* rates;   // in device memory
  const float* decays;  // in device memory
  AslrDraws* draws;     // or null
};

namespace {

template <typename T>
LRPOLICY_ON_TEAM void accumulate_team(Team team, const AccumulateWork& work, std::int32_t piece_index,
                                      const void* gradients, void* sums) {
  struct Element {
    T gradient;
    Wide<T> sum;
  };
  const TeamPiece piece = work.pieces[piece_index];
  const auto scale = static_cast<Wide<T>>(work.device_scale != nullptr ? *work.device_scale : work.scale);
  const T* const gradient = static_cast<const T*>(gradients) + piece.first;
  Wide<T>* const sum = static_cast<Wide<T>*>(sums) + piece.first;
  team.each([&](int thread) {
    stream<8, kTeam>(
        thread, piece.count, [&](int i) { return Element{gradient[i], sum[i]}; },
        [&](int i, const Element& e) { sum[i] = accumulated(e.sum, scale, e.gradient); });
  });
}

LRPOLICY_ON_TEAM void momentum_team(Team team, const MomentumWork& work, std::int32_t piece_index,
                                    const void* gradients, void* weights, void* histories, float& shared_rate) {
  struct Element {
    float gradient, weight, history;
  };
  const TeamPiece piece = work.pieces[piece_index];
  team.one([&] {
    shared_rate = work.rates[piece.tensor];
    if (work.draws == nullptr) return;
    const AslrDraws& from = *work.draws;
    shared_rate *=
        static_cast<float>(aslr_draw(from.center, from.seed, from.iteration, static_cast<std::uint32_t>(piece.tensor)));
  });
  team.sync();
  const float rate = shared_rate, decay = work.decays[piece.tensor];
  const float* const gradient = static_cast<const float*>(gradients) + piece.first;
  float* const weight = static_cast<float*>(weights) + piece.first;
  float* const history = static_cast<float*>(histories) + piece.first;
  team.each([&](int thread) {
    stream<8, kTeam>(
        thread, piece.count, [&](int i) { return Element{gradient[i], weight[i], history[i]}; },
        [&](int i, Element e) {
          const float d = regularized(e.gradient, e.weight, decay, work.regularization);
          momentum_step(d, rate, work.momentum, work.nesterov, work.rate_inside, e.weight, e.history);
          weight[i] = e.weight;
          history[i] = e.history;
        });
  });
  if (work.draws == nullptr) return;
  team.one([&] {
    if (team.is_last(work.list_ticket, static_cast<unsigned>(work.piece_count))) ++work.draws->iteration;
  });
}

// All tensors' draws by one team.
LRPOLICY_ON_TEAM void draw_team(Team team, AslrDraws* draws, std::int64_t count, double* out) {
  const AslrDraws from = *draws;
  team.each([&](int thread) {
    for (std::int64_t first = 4 * std::int64_t{thread}; first < count; first += 4 * kTeam) {
      const AslrUniforms uniforms = aslr_uniforms(from.seed, from.iteration, static_cast<std::uint32_t>(first / 4));
      for (int k = 0; k < 4 && first + k < count; ++k) out[first + k] = aslr_rate(from.center, uniforms.u[k]);
    }
  });
  team.sync();
  team.one([&] { ++draws->iteration; });
}

}  // namespace
}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_CUDA_UPDATES_TEAM_HPP_
