"""Layers with weights: Convolution, InnerProduct, BatchNorm, Scale, Bias, PReLU.

Views of weights are made inside the closures: a view made once would keep the autograd history of its first pass.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from lrpolicy.engines.torch.layers.registry import Forward, LayerContext, Shape, layer
from lrpolicy.engines.torch.placement import laid_out
from lrpolicy.net import convolution_window


@layer("Convolution")
def convolution(context: LayerContext) -> Forward:
    """Convolution over one, two or three spatial axes: group, pad, stride, dilation."""
    param, (weight, *biases) = context.layer.convolution_param, context.blobs
    axes = weight.dim() - 2
    if param.axis not in (1, 1 - len(context.bottom_shapes[0])) or axes not in (1, 2, 3):
        raise context.reject("convolution works over one to three axes behind the channels (axis: 1)", got=param.axis)
    bias = biases[0] if biases else None
    window, group = convolution_window(context.layer, axes), param.group
    stride, pad, dilation = window["stride"], window["pad"], window["dilation"]
    convolve: Any = (torch.conv1d, torch.conv2d, torch.conv3d)[axes - 1]
    return _each_bottom(lambda x: convolve(x, weight, bias, stride, pad, dilation, group))


@layer("InnerProduct")
def inner_product(context: LayerContext) -> Forward:
    """y = x W' + b over the axes from `axis` on; with `transpose` the weight is stored as inputs x outputs."""
    param, (weight, *biases) = context.layer.inner_product_param, context.blobs
    bias, shape = (biases[0] if biases else None), context.top_shapes[0]
    bottom = context.bottom_shapes[0]
    flat = (-1, math.prod(bottom[param.axis % len(bottom) :]))
    gives_flat = len(shape) == 2
    takes_flat = gives_flat and len(bottom) == 2

    def forward(x: Tensor) -> Tensor:
        if x.requires_grad and not takes_flat:
            # else the gradient has the layout of `flat`, which the layer below copies to its own and back
            x.register_hook(laid_out)  # type: ignore[no-untyped-call]
        y = F.linear(x if takes_flat else x.reshape(flat), weight.t() if param.transpose else weight, bias)
        return y if gives_flat else y.view(shape)  # a ReLU in place would copy a view, and its gradient too

    return forward


@layer("BatchNorm")
def batch_norm(context: LayerContext) -> Forward:
    """Normalisation by batch statistics, or by three blobs: sum of means, sum of variances, factor to divide by."""
    param, (mean_sum, variance_sum, factor) = context.layer.batch_norm_param, context.blobs
    use_global = param.use_global_stats if param.HasField("use_global_stats") else not context.training
    if use_global:
        return _normalize_by_sums(context, param.eps)
    count = math.prod(context.bottom_shapes[0]) // mean_sum.numel()
    if count < 2:
        raise context.reject("batch statistics need two or more values for each channel", got=count)
    # Zeros, not whatever memory holds: PyTorch's running average multiplies the old value by 0, and 0 * NaN is NaN.
    mean, variance = torch.zeros_like(mean_sum), torch.zeros_like(variance_sum)
    sums, news = [mean_sum, variance_sum, factor], [mean, variance, torch.ones_like(factor)]
    fraction, eps, (gain, shift) = param.moving_average_fraction, param.eps, context.affine

    def forward(x: Tensor) -> Tensor:
        # momentum 1 leaves in the buffers this batch's mean and its variance times m / (m - 1): what Caffe adds up.
        y = torch.batch_norm(x, gain, shift, mean, variance, True, 1.0, eps, False)
        with torch.no_grad():
            torch._foreach_mul_(sums, fraction)
            torch._foreach_add_(sums, news)
        return y

    return forward


def _normalize_by_sums(context: LayerContext, eps: float) -> Forward:
    (mean_sum, variance_sum, factor), (gain, shift) = context.blobs, context.affine

    def forward(x: Tensor) -> Tensor:
        divisor = torch.where(factor == 0, torch.inf, factor)  # Caffe: before the first batch, mean and variance are 0
        return torch.batch_norm(x, gain, shift, mean_sum / divisor, variance_sum / divisor, False, 0.0, eps, False)

    return forward


@layer("Scale")
def scale(context: LayerContext) -> Forward:
    """y = x * s (+ b), s a learned blob or the second bottom, spread over the axes from `axis` on."""
    param, rank, blobs = context.layer.scale_param, len(context.bottom_shapes[0]), context.blobs
    if len(context.bottom_shapes) == 2:
        shift = blobs[0] if blobs else None
        return lambda x, s: _affine(x, _spread(s, param.axis, rank), _maybe_spread(shift, param.axis, rank))
    factor, shift = blobs[0], (blobs[1] if len(blobs) > 1 else None)
    return lambda x: _affine(x, _spread(factor, param.axis, rank), _maybe_spread(shift, param.axis, rank))


def _affine(x: Tensor, factor: Tensor, shift: Tensor | None) -> Tensor:
    return x * factor if shift is None else torch.addcmul(shift, x, factor)


@layer("Bias")
def bias(context: LayerContext) -> Forward:
    """y = x + b, b a learned blob or the second bottom, spread over the axes from `axis` on."""
    axis, rank = context.layer.bias_param.axis, len(context.bottom_shapes[0])
    if context.blobs:
        shift = context.blobs[0]
        return lambda x: x + _spread(shift, axis, rank)
    return lambda x, b: x + _spread(b, axis, rank)


@layer("PReLU")
def prelu(context: LayerContext) -> Forward:
    """max(x, 0) + a * min(x, 0), one slope a for each channel or (channel_shared) for all."""
    slope = context.blobs[0]
    return lambda x: torch.prelu(x, slope.reshape(-1))


def _spread(blob: Tensor, axis: int, rank: int) -> Tensor:
    """A view of `blob` that broadcasts over a tensor of `rank` axes with the blob's axes at `axis`."""
    start = axis % rank if blob.dim() else 0
    shape: Shape = (1,) * start + tuple(blob.shape) + (1,) * (rank - start - blob.dim())
    return blob.view(shape)


def _maybe_spread(blob: Tensor | None, axis: int, rank: int) -> Tensor | None:
    return None if blob is None else _spread(blob, axis, rank)


def _each_bottom(forward: Any) -> Forward:
    """A layer that treats every bottom alike, with the same weights."""
    return lambda first, *rest: (forward(first), *map(forward, rest)) if rest else forward(first)
