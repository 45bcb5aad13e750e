"""Layers that work on each number by itself: activations, Dropout, Power, Eltwise."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from lrpolicy.engines.torch.layers.registry import Forward, LayerContext, layer
from lrpolicy.prototxt.messages import enum_name


@layer("ReLU")
def relu(context: LayerContext) -> Forward:
    """max(x, 0) + negative_slope * min(x, 0)."""
    slope = context.layer.relu_param.negative_slope
    if slope:
        return lambda x: F.leaky_relu(x, slope)
    return torch.relu_ if context.overwrites else torch.relu


@layer("Sigmoid")
def sigmoid(context: LayerContext) -> Forward:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid


@layer("TanH")
def tanh(context: LayerContext) -> Forward:
    """The hyperbolic tangent."""
    return torch.tanh


@layer("ELU")
def elu(context: LayerContext) -> Forward:
    """x for x > 0, else alpha * (exp(x) - 1)."""
    alpha = context.layer.elu_param.alpha
    return lambda x: F.elu(x, alpha)


@layer("AbsVal")
def absolute(context: LayerContext) -> Forward:
    """|x|."""
    return torch.abs


@layer("BNLL")
def bnll(context: LayerContext) -> Forward:
    """log(1 + exp(x))."""
    return F.softplus


@layer("Exp")
def exp(context: LayerContext) -> Forward:
    """base^(shift + scale * x), base -1 meaning e."""
    param = context.layer.exp_param
    log_base = _log_of_base(context, param)
    return lambda x: torch.exp((x * param.scale + param.shift) * log_base)


@layer("Log")
def log(context: LayerContext) -> Forward:
    """log_base(shift + scale * x), base -1 meaning e."""
    param = context.layer.log_param
    log_base = _log_of_base(context, param)
    if log_base == 0:
        raise context.reject("there is no logarithm to base 1", got=param.base)
    return lambda x: torch.log(x * param.scale + param.shift) / log_base


def _log_of_base(context: LayerContext, param: Any) -> float:
    if param.base != -1 and param.base <= 0:
        raise context.reject("base must be greater than 0, or -1 for e", got=param.base)
    return 1.0 if param.base == -1 else math.log(param.base)


@layer("Power")
def power(context: LayerContext) -> Forward:
    """(shift + scale * x)^power."""
    param = context.layer.power_param
    exponent, factor, shift = param.power, param.scale, param.shift
    if exponent == 1:
        return lambda x: x * factor + shift
    return lambda x: (x * factor + shift).pow(exponent)


@layer("Dropout")
def dropout(context: LayerContext) -> Forward:
    """Training: each value is 0 with probability dropout_ratio, else divided by 1 - dropout_ratio. Testing: x."""
    keep, random = 1.0 - context.layer.dropout_param.dropout_ratio, context.random
    if not 0 < keep <= 1:
        raise context.reject("dropout_ratio must lie in [0, 1)", got=1.0 - keep)
    if keep == 1 or not context.training:
        return lambda x: x
    return lambda x: x * torch.empty_like(x).bernoulli_(keep, generator=random.generator).mul_(1 / keep)


@layer("Eltwise")
def eltwise(context: LayerContext) -> Forward:
    """SUM (with coeff), PROD or MAX of bottoms of one shape."""
    param = context.layer.eltwise_param
    operation, coeff = enum_name(param, "operation"), tuple(param.coeff)
    if coeff and (operation != "SUM" or len(coeff) != len(context.bottom_shapes)):
        raise context.reject("coeff belongs to SUM and has one number for each bottom", got=coeff)
    if operation == "PROD":
        return _product
    if operation == "MAX":
        return _maximum
    if all(c == 1 for c in coeff):
        return _total
    return lambda *bottoms: _total(*(c * x for c, x in zip(coeff, bottoms, strict=True)))


def _total(first: Tensor, *rest: Tensor) -> Tensor:
    for other in rest:
        first = first + other
    return first


def _product(first: Tensor, *rest: Tensor) -> Tensor:
    for other in rest:
        first = first * other
    return first


def _maximum(first: Tensor, second: Tensor, *rest: Tensor) -> Tensor:
    # As in Caffe one bottom takes the whole gradient of a tie: the second of the first pair, later the earlier one.
    top = torch.where(first > second, first, second)
    for other in rest:
        top = torch.where(other > top, other, top)
    return top
