"""A convolution 3x3, max pooling by 2 and a ReLU in one pass, for the one layer on which the MNIST trainings wait.

PyTorch writes the whole convolution out, pools it, and sends the gradients of a pool's four places back, three of which
are 0. Here the four places stay in registers, and only the winner's patch is read again on the way back. Images need no
gradient. It is compiled at its first use, by GCC or Clang (their vector types), in half a minute.
"""

from __future__ import annotations

from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

# 28 x 28 pixels, 13 x 13 pools, 20 filters as two vectors of 16, the last 12 of which are 0.
_SOURCE = """
#include <torch/extension.h>
#include <algorithm>
#include <cstring>

namespace {
constexpr int kSide = 28, kPools = 13, kFilters = 20, kLanes = 16, kPlaces = 4, kTaps = 9;
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int Ints __attribute__((vector_size(4 * kLanes)));

const float* pool_of(const float* image, int number) {
  return image + number / kPools * 2 * kSide + number % kPools * 2;
}

float tap(const float* pool, int place, int number) {
  return pool[(place / 2 + number / 3) * kSide + place % 2 + number % 3];
}

template <class Vector>
Vector load(const void* from, int half) {
  Vector vector{};
  std::memcpy(&vector, static_cast<const char*>(from) + 4 * kLanes * half, half ? 4 * (kFilters - kLanes) : 4 * kLanes);
  return vector;
}

template <class Vector>
void store(void* to, int half, const Vector& vector) {
  std::memcpy(static_cast<char*>(to) + 4 * kLanes * half, &vector, half ? 4 * (kFilters - kLanes) : 4 * kLanes);
}
}  // namespace

// images (n, 28, 28), weights (9, 20), bias (20) -> pooled (n, 169 * 20), and which place of its pool each came from.
std::vector<torch::Tensor> forward(torch::Tensor images, torch::Tensor weights, torch::Tensor bias) {
  const auto n = images.size(0);
  auto pooled = torch::empty({n, kPools * kPools * kFilters}, images.options());
  auto places = torch::empty({n, kPools * kPools * kFilters}, images.options().dtype(torch::kInt32));
  Floats w[kTaps][2], b[2];
  for (int half = 0; half < 2; ++half) {
    b[half] = load<Floats>(bias.data_ptr<float>(), half);
    for (int t = 0; t < kTaps; ++t) w[t][half] = load<Floats>(weights.data_ptr<float>() + t * kFilters, half);
  }
  float* out = pooled.data_ptr<float>();
  int* where = places.data_ptr<int>();
  for (int64_t image = 0; image < n; ++image) {
    for (int pool = 0; pool < kPools * kPools; ++pool, out += kFilters, where += kFilters) {
      const float* x = pool_of(images.data_ptr<float>() + image * kSide * kSide, pool);
      for (int half = 0; half < 2; ++half) {
        Floats sums[kPlaces] = {};
#pragma GCC unroll 9
        for (int t = 0; t < kTaps; ++t) {
#pragma GCC unroll 4
          for (int place = 0; place < kPlaces; ++place) sums[place] += tap(x, place, t) * w[t][half];
        }
        Floats best = sums[0];
        Ints winner{};
#pragma GCC unroll 4
        for (int place = 1; place < kPlaces; ++place) {
          const Ints better = sums[place] > best;
          winner = better ? Ints{} + place : winner;
          best = better ? sums[place] : best;
        }
        best += b[half];
        store(out, half, best > 0 ? best : Floats{});
        store(where, half, winner);
      }
    }
  }
  return {pooled, places};
}

// The gradients of weights (9, 20) and bias (20) from those of the pooled values.
std::vector<torch::Tensor> backward(torch::Tensor images, torch::Tensor pooled, torch::Tensor places,
                                    torch::Tensor grad) {
  constexpr int kWide = 2 * kLanes;
  float sums[kTaps][kWide] = {}, total[kWide] = {};
  const float* out = pooled.data_ptr<float>();
  const float* g = grad.data_ptr<float>();
  const int* where = places.data_ptr<int>();
  for (int64_t image = 0; image < images.size(0); ++image) {
    for (int pool = 0; pool < kPools * kPools; ++pool, out += kFilters, where += kFilters, g += kFilters) {
      const float* x = pool_of(images.data_ptr<float>() + image * kSide * kSide, pool);
      float passed[kWide] = {};
      int winner[kWide] = {};
      for (int f = 0; f < kFilters; ++f) {
        passed[f] = out[f] > 0 ? g[f] : 0;
        winner[f] = where[f];
      }
      for (int f = 0; f < kWide; ++f) total[f] += passed[f];
      for (int place = 0; place < kPlaces; ++place) {
        float mine[kWide];
        for (int f = 0; f < kWide; ++f) mine[f] = winner[f] == place ? passed[f] : 0;
        for (int t = 0; t < kTaps; ++t) {
          const float pixel = tap(x, place, t);
          for (int f = 0; f < kWide; ++f) sums[t][f] += pixel * mine[f];
        }
      }
    }
  }
  auto weights = torch::empty({kTaps, kFilters}, images.options());
  auto bias = torch::empty({kFilters}, images.options());
  for (int t = 0; t < kTaps; ++t) std::copy_n(sums[t], kFilters, weights.data_ptr<float>() + t * kFilters);
  std::copy_n(total, kFilters, bias.data_ptr<float>());
  return {weights, bias};
}
"""


@cache
def _compiled() -> Any:
    from torch.utils.cpp_extension import load_inline

    options = {"functions": ["forward", "backward"], "extra_cflags": ["-O3", "-march=native"]}
    # Not in the folder that all share: a compilation that was killed leaves a lock there, and others wait for ever.
    with TemporaryDirectory() as folder:
        return load_inline("lrpolicy_pooled_conv", _SOURCE, build_directory=folder, **options)


class _PooledConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        pooled: Tensor
        pooled, places = _compiled().forward(images, weight.view(20, 9).t().contiguous(), bias)
        ctx.save_for_backward(images, pooled, places)
        return pooled

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        weight, bias = _compiled().backward(*ctx.saved_tensors, grad.contiguous())
        return None, weight.t().reshape(20, 1, 3, 3), bias


class PooledConv(nn.Conv2d):
    """`relu(max_pool2d(conv(images), 2))` of images (n, 1, 28, 28) as (n, 3380), a pool's 20 filters side by side."""

    def __init__(self) -> None:
        super().__init__(1, 20, 3)

    def forward(self, images: Tensor) -> Tensor:
        """The pooled activations. Raises ValueError for other shapes and types."""
        if images.shape[1:] != (1, 28, 28) or images.dtype != torch.float32:
            raise ValueError(f"images must be (n, 1, 28, 28) float32, got {tuple(images.shape)} {images.dtype}")
        pooled: Tensor = _PooledConv.apply(images.contiguous(), self.weight, self.bias)
        return pooled
