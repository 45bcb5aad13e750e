"""Caffe's weight fillers (caffe/filler.hpp): what a weight tensor holds before the first update.

Draws are a pure function of (seed, index of the tensor in its net): Philox, never a global generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.prototxt.messages import FillerParameter, enum_name

Array = NDArray[np.float32]
Filler = Callable[[Any, tuple[int, ...], np.random.Generator], Array]


def fill(filler: Any, shape: Sequence[int], seed: int, index: int) -> Array:
    """Values for a tensor of `shape` as a FillerParameter asks for them.

    Raises InputError for an unknown filler and for a shape or option that the filler cannot take.
    """
    if filler.type not in _FILLERS:
        raise InputError(f'filler "{filler.type}" is unknown', remedy=did_you_mean(filler.type, _FILLERS))
    if filler.sparse != -1 and filler.type != "gaussian":
        raise InputError(f'filler "{filler.type}" takes no "sparse"', remedy="only gaussian does")
    random = np.random.Generator(np.random.Philox(key=[seed, index]))
    return np.ascontiguousarray(_FILLERS[filler.type](filler, tuple(shape), random), dtype=np.float32)


def blob_filler(layer: Any, blob: int) -> Any:
    """The FillerParameter of a layer's weight blob number `blob`, with the default of Caffe's layer type."""
    block, fields = _BLOB_FILLERS[layer.type]
    if block is None:
        return FillerParameter()
    # A Scale that multiplies by its second bottom has only the bias to learn.
    field = fields[blob + (layer.type == "Scale" and len(layer.bottom) == 2)]
    param = getattr(layer, block)
    if not param.HasField(field):
        return FillerParameter(value=_DEFAULTS.get((layer.type, field), 0.0))
    return getattr(param, field)


def _constant(filler: Any, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    return np.full(shape, filler.value, np.float32)


def _uniform(filler: Any, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    return _draw_uniform(random, shape, filler.min, filler.max)


def _gaussian(filler: Any, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    values: Array = filler.mean + filler.std * random.standard_normal(shape, np.float32)
    if filler.sparse >= 0:
        # Caffe: each weight stays with probability sparse / outputs, whatever the number of inputs is.
        values *= random.random(shape, np.float32) < filler.sparse / shape[0]
    return values


def _xavier(filler: Any, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    bound = math.sqrt(3 / _fan(filler, shape))
    return _draw_uniform(random, shape, -bound, bound)


def _msra(filler: Any, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    values: Array = math.sqrt(2 / _fan(filler, shape)) * random.standard_normal(shape, np.float32)
    return values


def _positive_unitball(filler: Any, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    values = random.random((shape[0], math.prod(shape[1:])), np.float32)
    values /= values.sum(axis=1, keepdims=True)
    return values.reshape(shape)


def _bilinear(filler: Any, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if len(shape) != 4 or shape[2] != shape[3]:
        raise InputError('filler "bilinear" needs a weight of four axes with a square kernel', got=shape)
    factor = math.ceil(shape[3] / 2)
    center = (shape[3] - 1) / (2 * factor)
    ramp = 1 - np.abs(np.arange(shape[3]) / factor - center)
    return np.broadcast_to(np.outer(ramp, ramp), shape).astype(np.float32)


_BLOB_FILLERS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "Convolution": ("convolution_param", ("weight_filler", "bias_filler")),
    "InnerProduct": ("inner_product_param", ("weight_filler", "bias_filler")),
    "Scale": ("scale_param", ("filler", "bias_filler")),
    "Bias": ("bias_param", ("filler",)),
    "PReLU": ("prelu_param", ("filler",)),
    "BatchNorm": (None, ()),
}
_DEFAULTS = {("Scale", "filler"): 1.0, ("PReLU", "filler"): 0.25}

_FILLERS: dict[str, Filler] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "xavier": _xavier,
    "msra": _msra,
    "positive_unitball": _positive_unitball,
    "bilinear": _bilinear,
}


def _fan(filler: Any, shape: tuple[int, ...]) -> float:
    """How many inputs (or outputs, or their mean) a weight connects, as Caffe counts them."""
    count = math.prod(shape)
    fan_in = count / shape[0]
    fan_out = count / shape[1] if len(shape) > 1 else count
    return {"FAN_IN": fan_in, "FAN_OUT": fan_out, "AVERAGE": (fan_in + fan_out) / 2}[enum_name(filler, "variance_norm")]


def _draw_uniform(random: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> Array:
    values: Array = low + (high - low) * random.random(shape, np.float32)
    return values
