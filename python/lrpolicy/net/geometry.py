"""Windows that slide: kernel, stride, pad and dilation of convolutions and poolings, and the sizes they leave.

Caffe's spellings: one number for all axes, one for each, or the _h and _w pair. The engine asks here, too.
"""

from __future__ import annotations

import math
from typing import Any

from lrpolicy.net.shape import Shape, misfit, text
from lrpolicy.prototxt.messages import enum_name


def convolution_window(layer: Any, axes: int) -> dict[str, Shape]:
    """A Convolution's {"kernel_size", "stride", "pad", "dilation"}, each one number per spatial axis.

    Raises InputError where they are missing, given twice, zero or too many (src/caffe/layers/base_conv_layer.cpp).
    """
    window = {
        "kernel_size": _sizes(layer, "kernel_size", axes, None),
        "stride": _sizes(layer, "stride", axes, 1),
        "pad": _sizes(layer, "pad", axes, 0),
        "dilation": _sizes(layer, "dilation", axes, 1),
    }
    for name in ("kernel_size", "stride", "dilation"):
        if any(size < 1 for size in window[name]):
            raise misfit(layer, f"{name} must be 1 or more", text(window[name]))
    return window


def convolution_output(layer: Any, spatial: Shape) -> Shape:
    """The spatial size that a Convolution leaves, rounded down. Raises InputError where the kernel is larger."""
    window = convolution_window(layer, len(spatial))
    sizes = []
    for index, size in enumerate(spatial):
        kernel, stride, pad, dilation = (values[index] for values in window.values())
        room = size + 2 * pad - (dilation * (kernel - 1) + 1)
        if room < 0:
            raise misfit(
                layer, f"kernel_size {kernel} (dilation {dilation}) is larger than the padded input", size + 2 * pad
            )
        sizes.append(room // stride + 1)
    return tuple(sizes)


def pooling_window(layer: Any, spatial: Shape) -> dict[str, Shape]:
    """A Pooling's {"kernel_size", "stride", "pad"}, each (height, width); global pooling takes the whole input.

    Raises InputError as Caffe would die (src/caffe/layers/pooling_layer.cpp).
    """
    param = layer.pooling_param
    kernel_given = any(param.HasField(name) for name in ("kernel_size", "kernel_h", "kernel_w"))
    if param.global_pooling and kernel_given:
        raise misfit(layer, "global_pooling and a kernel size exclude each other")
    window = {
        "kernel_size": spatial if param.global_pooling else _pair(layer, "kernel_size"),
        "stride": _pair(layer, "stride"),
        "pad": _pair(layer, "pad"),
    }
    for name in ("kernel_size", "stride"):
        if any(size < 1 for size in window[name]):
            raise misfit(layer, f"{name} must be 1 or more", text(window[name]))
    if param.global_pooling and (window["stride"] != (1, 1) or window["pad"] != (0, 0)):
        raise misfit(layer, "global_pooling needs pad 0 and stride 1")
    if any(window["pad"]) and enum_name(param, "pool") == "STOCHASTIC":
        raise misfit(layer, "stochastic pooling takes no pad")
    if any(pad >= kernel for pad, kernel in zip(window["pad"], window["kernel_size"], strict=True)):
        raise misfit(layer, f"pad must be smaller than kernel_size {text(window['kernel_size'])}", text(window["pad"]))
    return window


def pooling_output(layer: Any, spatial: Shape) -> Shape:
    """The (height, width) that a Pooling leaves: rounded up, and clipped so that the last window starts inside."""
    window = pooling_window(layer, spatial)
    up = enum_name(layer.pooling_param, "round_mode") == "CEIL"
    sizes = []
    for index, size in enumerate(spatial):
        kernel, stride, pad = (values[index] for values in window.values())
        room = size + 2 * pad - kernel
        pooled = (math.ceil(room / stride) if up else room // stride) + 1
        if pooled < 1:
            raise misfit(layer, f"kernel_size {kernel} is larger than the padded input", size + 2 * pad)
        if any(window["pad"]) and (pooled - 1) * stride >= size + pad:
            pooled -= 1
        sizes.append(pooled)
    return tuple(sizes)


def _sizes(layer: Any, name: str, axes: int, default: int | None) -> Shape:
    """A Convolution's repeated field, or its _h and _w pair, as one number per axis."""
    param, stem = layer.convolution_param, name.removesuffix("_size")
    given = list(getattr(param, name))
    if name != "dilation" and (param.HasField(f"{stem}_h") or param.HasField(f"{stem}_w")):
        if given or axes != 2:
            raise misfit(layer, f"{stem}_h and {stem}_w go with two spatial axes and without {name}")
        given = [getattr(param, f"{stem}_h"), getattr(param, f"{stem}_w")]
    if not given and default is not None:
        given = [default]
    if len(given) not in (1, axes):
        raise misfit(layer, f"{name} must be given once, or once for each of {axes} spatial axes", len(given))
    return tuple(given * axes if len(given) == 1 else given)


def _pair(layer: Any, name: str) -> Shape:
    """A Pooling's singular field, or its _h and _w pair."""
    param, stem = layer.pooling_param, name.removesuffix("_size")
    high, wide = param.HasField(f"{stem}_h"), param.HasField(f"{stem}_w")
    if high != wide or (high and param.HasField(name)):
        raise misfit(layer, f"{name} or the pair {stem}_h and {stem}_w is needed")
    if high:
        return getattr(param, f"{stem}_h"), getattr(param, f"{stem}_w")
    return (getattr(param, name),) * 2
