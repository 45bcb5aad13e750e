// TLR on the device: once all dot products of a list are there, one team gives the new rates, with the bits of
// Tlr::update (tlr.hpp). Rates, counts and what they remember stay in device memory, so that a graph can replay it.
#ifndef LRPOLICY_KERNELS_CUDA_LEARN_TEAM_HPP_
#define LRPOLICY_KERNELS_CUDA_LEARN_TEAM_HPP_

#include <lrpolicy/tlr.hpp>

#include "team.hpp"

namespace lrpolicy {

// What a Tlr's state has beside its alphas.
struct DeviceTlrCounts {
  std::int64_t windows, non_finite_tensor;
  double updates;  // of the window that ends now; the caller's to set
};

// A Tlr whose state lies in device memory.
struct DeviceTlr {
  TlrRule rule;
  bool per_tensor;
  const double* lr_mult;  // one for each tensor
  TlrAlpha* alphas;       // one, or one for each tensor
  DeviceTlrCounts* counts;
  float* rates;  // out, one for each tensor: float(rate) * float(lr_mult), Caffe's local_rate; may be null
};

namespace {

LRPOLICY_ON_TEAM bool is_finite(TlrDots dots) { return std::isfinite(dots.gg) && std::isfinite(dots.gp); }

// `gg` and `gp` are the sums of `count` tensors. Of `shared`, gg, gp, sum and culprit are free for use.
template <typename Shared>
LRPOLICY_ON_TEAM void learn(Team team, const DeviceTlr& tlr, const double* gg, const double* gp, std::int32_t count,
                            Shared& shared) {
  const bool compares = tlr.counts->windows > 0 || tlr.rule.variant == TlrVariant::kNaive;
  const double updates = tlr.counts->updates;
  TlrDots sum = {0, 0};  // of one thread
  team.one([&] { shared.culprit = count; });
  for (std::int32_t first = 0; first < count; first += kTeam) {
    team.sync();
    team.each([&](int thread) {
      const std::int32_t t = first + thread;
      if (t >= count) return;
      const double lr_mult = tlr.lr_mult[t];
      const TlrDots dots =
          weighted(tlr.rule.source, lr_mult, {team.shared_load(gg + t), compares ? team.shared_load(gp + t) : 0});
      if (!is_finite(dots)) team.lower(&shared.culprit, t);
      if (tlr.per_tensor && lr_mult != 0) tlr.alphas[t] = tlr_update(tlr.rule, tlr.alphas[t], dots, updates);
      shared.gg[thread] = dots.gg;
      shared.gp[thread] = dots.gp;
    });
    team.sync();
    team.one([&] {
      for (int i = 0; i < kTeam && first + i < count; ++i) sum = {sum.gg + shared.gg[i], sum.gp + shared.gp[i]};
    });
  }
  team.one([&] {
    if (!tlr.per_tensor) tlr.alphas[0] = tlr_update(tlr.rule, tlr.alphas[0], sum, updates);
    ++tlr.counts->windows;
    tlr.counts->non_finite_tensor = shared.culprit < count ? shared.culprit : -1;
  });
  if (tlr.rates == nullptr) return;
  team.sync();
  team.each([&](int thread) {
    for (std::int32_t t = thread; t < count; t += kTeam) {
      tlr.rates[t] = static_cast<float>(tlr.alphas[tlr.per_tensor ? t : 0].rate) * static_cast<float>(tlr.lr_mult[t]);
    }
  });
}

}  // namespace
}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_CUDA_LEARN_TEAM_HPP_
