"""Pooling and local response normalisation: layers that look at a neighbourhood."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from lrpolicy.engines.torch.layers.registry import Forward, LayerContext, layer
from lrpolicy.net import pooling_window
from lrpolicy.prototxt.messages import enum_name

Sizes = tuple[int, ...]


@layer("Pooling")
def pooling(context: LayerContext) -> Forward:
    """MAX or AVE over windows, or over everything (global_pooling); the output size is rounded up unless FLOOR.

    AVE divides by the part of the window that lies inside the padded image (caffe/layers/pooling_layer.cpp).
    """
    param, size = context.layer.pooling_param, context.bottom_shapes[0][2:]
    method = enum_name(param, "pool")
    if method == "STOCHASTIC":
        raise context.reject("the torch engine pools by MAX or AVE", got=method)
    if len(context.top_shapes) > 1:
        raise context.reject("the torch engine pools into one top", got=len(context.top_shapes))
    if param.global_pooling:
        return (lambda x: x.amax((2, 3), True)) if method == "MAX" else (lambda x: x.mean((2, 3), True))
    kernel, stride, pad = pooling_window(context.layer, size).values()
    out = context.top_shapes[0][2:]
    if any((o - 1) * s >= n + p for o, s, n, p in zip(out, stride, size, pad, strict=True)):
        raise context.reject("the last window starts outside the image", remedy="take a stride up to the kernel's size")
    if all(2 * p <= k for p, k in zip(pad, kernel, strict=True)):
        ceil = enum_name(param, "round_mode") == "CEIL"
        if method == "MAX":
            return lambda x: torch.max_pool2d(x, kernel, stride, pad, 1, ceil)
        return lambda x: F.avg_pool2d(x, kernel, stride, pad, ceil, True)
    return _wide_pad_pooling(context, method, out, kernel, stride, pad)


def _wide_pad_pooling(
    context: LayerContext, method: str, out: Sizes, kernel: Sizes, stride: Sizes, pad: Sizes
) -> Forward:
    """Pooling with more padding than half the kernel, which PyTorch's own operators refuse: pad first."""
    size, dtype, device = context.bottom_shapes[0][2:], context.dtype, context.random.device
    high = [max(0, (o - 1) * s + k - n - p) for o, s, k, n, p in zip(out, stride, kernel, size, pad, strict=True)]
    border = (pad[1], high[1], pad[0], high[0])
    if method == "MAX":
        lowest = torch.finfo(dtype).min
        return lambda x: torch.max_pool2d(F.pad(x, border, value=lowest), kernel, stride)
    counts = [
        torch.tensor([min(i * s + k, n + 2 * p) - i * s for i in range(o)], dtype=dtype, device=device)
        for o, s, k, n, p in zip(out, stride, kernel, size, pad, strict=True)
    ]
    correction = kernel[0] * kernel[1] / torch.outer(*counts)
    return lambda x: F.avg_pool2d(F.pad(x, border), kernel, stride) * correction


@layer("LRN")
def lrn(context: LayerContext) -> Forward:
    """x / (k + alpha * a)^beta, a the mean of x^2 over a window that counts the padding.

    ACROSS_CHANNELS: the window is local_size channels. WITHIN_CHANNEL: local_size x local_size pixels, and k is 1.
    """
    param = context.layer.lrn_param
    size, alpha, beta = param.local_size, param.alpha, param.beta
    if enum_name(param, "norm_region") == "WITHIN_CHANNEL":
        return lambda x: x * F.avg_pool2d(x * x, size, 1, size // 2).mul_(alpha).add_(1.0).pow(-beta)
    k, half = param.k, size // 2
    channels = context.bottom_shapes[0][1]

    def across(x: Tensor) -> Tensor:
        padded = F.pad(x * x, (0, 0, 0, 0, half, half))
        total = padded.narrow(1, 0, channels)
        for shift in range(1, size):
            total = total + padded.narrow(1, shift, channels)
        top: Tensor = x * (total * (alpha / size) + k).pow(-beta)
        return top

    return across
