"""The shapes that each layer type leaves, by Caffe's rules: what the layer's Reshape would do.

Each rule takes a LayerParameter and its bottoms' shapes and returns its tops' shapes; a misfit is an InputError that
says what was expected. Results without elements, which Caffe lets pass, are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from lrpolicy.net.geometry import convolution_output, pooling_output
from lrpolicy.net.layer_types import DATA_TYPES, layer_type
from lrpolicy.net.shape import Shape, Shapes, canonical_axis, misfit, text
from lrpolicy.prototxt.messages import enum_name


def top_shapes(layer: Any, bottoms: Shapes, data_shapes: Mapping[str, Shape] | None = None) -> Shapes:
    """The shapes of one layer's tops. Raises InputError where the bottoms do not fit."""
    if layer.type in DATA_TYPES:
        tops = _data(layer, data_shapes or {})
    else:
        tops = _RULES.get(layer.type, _same)(layer, bottoms)
    for shape in tops:
        if any(dim < 1 for dim in shape):
            raise misfit(layer, "every top needs at least one element along each axis", text(shape))
    return tops


# ------------------------------------------------------------------------------------------------ data layers


def _data(layer: Any, data_shapes: Mapping[str, Shape]) -> Shapes:
    block = getattr(layer, layer_type(layer).blocks[0])
    if layer.type == "MemoryData":
        example: Shape = (block.channels, block.height, block.width)
    elif layer.name in data_shapes:
        example = tuple(data_shapes[layer.name])
    else:
        raise misfit(layer, "the shape of its data is not known here")
    if block.batch_size < 1:
        raise misfit(layer, "batch_size must be 1 or more", block.batch_size)
    crop = layer.transform_param.crop_size
    if crop and (len(example) != 3 or min(example[1:]) < crop):
        raise misfit(layer, f"crop_size {crop} does not fit into its images", text(example))
    if crop:
        example = (example[0], crop, crop)
    return [(block.batch_size, *example), *[(block.batch_size,)] * (len(layer.top) - 1)]


def _dummy_data(layer: Any, bottoms: Shapes) -> Shapes:
    block, count = layer.dummy_data_param, len(layer.top)
    old = [list(getattr(block, name)) for name in ("num", "channels", "height", "width")]
    if any(old) and block.shape:
        raise misfit(layer, "shape and num, channels, height, width exclude each other")
    given = old if any(old) else [[tuple(shape.dim) for shape in block.shape]]
    for values in given:
        if len(values) not in (1, count):
            raise misfit(layer, f"each size must be given once, or once for each of its {count} tops", len(values))
    if len(block.data_filler) not in (0, 1, count):
        raise misfit(layer, f"data_filler must be given once, or once for each of its {count} tops")
    spread = [values * count if len(values) == 1 else values for values in given]
    return list(zip(*spread, strict=True)) if any(old) else spread[0]


def _input(layer: Any, bottoms: Shapes) -> Shapes:
    given = [tuple(shape.dim) for shape in layer.input_param.shape]
    if len(given) not in (1, len(layer.top)):
        raise misfit(layer, f"shape must be given once, or once for each of its {len(layer.top)} tops", len(given))
    return given * len(layer.top) if len(given) == 1 else given


# --------------------------------------------------------------------------------------- layers with weights


def _convolution(layer: Any, bottoms: Shapes) -> Shapes:
    if len(layer.top) != len(bottoms):
        raise misfit(layer, f"as many tops as bottoms are needed, {len(bottoms)}", len(layer.top))
    if any(shape != bottoms[0] for shape in bottoms):
        raise misfit(layer, f"all bottoms must have the first one's shape, {text(bottoms[0])}")
    param = layer.convolution_param
    axis = canonical_axis(layer, param.axis, bottoms[0])
    if param.num_output < 1:
        raise misfit(layer, "num_output must be 1 or more", param.num_output)
    if param.group < 1 or bottoms[0][axis] % param.group or param.num_output % param.group:
        rule = f"group {param.group} must divide {bottoms[0][axis]} input channels and {param.num_output} outputs"
        raise misfit(layer, rule)
    spatial = convolution_output(layer, bottoms[0][axis + 1 :])
    return [(*bottoms[0][:axis], param.num_output, *spatial)] * len(bottoms)


def _inner_product(layer: Any, bottoms: Shapes) -> Shapes:
    param = layer.inner_product_param
    if param.num_output < 1:
        raise misfit(layer, "num_output must be 1 or more", param.num_output)
    return [(*bottoms[0][: canonical_axis(layer, param.axis, bottoms[0])], param.num_output)]


def _scale(layer: Any, bottoms: Shapes) -> Shapes:
    param = layer.scale_param if layer.type == "Scale" else layer.bias_param
    operand = bottoms[1] if len(bottoms) == 2 else broadcast_shape(layer, param, bottoms[0])
    if not operand:
        return [bottoms[0]]
    axis = canonical_axis(layer, param.axis, bottoms[0])
    if bottoms[0][axis : axis + len(operand)] != operand:
        rule = f"the second bottom must match the first one, {text(bottoms[0])}, from axis {axis} on"
        raise misfit(layer, rule, text(operand))
    return [bottoms[0]]


def broadcast_shape(layer: Any, param: Any, bottom: Shape) -> Shape:
    """The shape of a Scale or Bias layer's own blob: `num_axes` axes of the bottom from `axis` on (-1: all)."""
    if param.num_axes == 0:
        return ()
    axis = canonical_axis(layer, param.axis, bottom)
    end = len(bottom) if param.num_axes == -1 else axis + param.num_axes
    if not axis < end <= len(bottom):
        raise misfit(layer, f"num_axes {param.num_axes} from axis {axis} reaches past a bottom of {text(bottom)}")
    return bottom[axis:end]


def _channels(layer: Any, bottoms: Shapes) -> Shapes:
    if len(bottoms[0]) < 2:
        raise misfit(layer, "its bottom needs two axes or more", text(bottoms[0]))
    return [bottoms[0]]


# ---------------------------------------------------------------------------------------------- other layers


def _same(layer: Any, bottoms: Shapes) -> Shapes:
    return [bottoms[0]] * len(layer.top)


def _pooling(layer: Any, bottoms: Shapes) -> Shapes:
    if len(bottoms[0]) != 4:
        raise misfit(layer, "its bottom must have 4 axes (num, channels, height, width)", text(bottoms[0]))
    return [(*bottoms[0][:2], *pooling_output(layer, bottoms[0][2:]))] * len(layer.top)


def _lrn(layer: Any, bottoms: Shapes) -> Shapes:
    if len(bottoms[0]) != 4:
        raise misfit(layer, "its bottom must have 4 axes (num, channels, height, width)", text(bottoms[0]))
    if layer.lrn_param.local_size % 2 == 0:
        raise misfit(layer, "local_size must be odd", layer.lrn_param.local_size)
    return [bottoms[0]]


def _softmax(layer: Any, bottoms: Shapes) -> Shapes:
    canonical_axis(layer, layer.softmax_param.axis, bottoms[0])
    return [bottoms[0]]


def _eltwise(layer: Any, bottoms: Shapes) -> Shapes:
    param = layer.eltwise_param
    if param.coeff and len(param.coeff) != len(bottoms):
        raise misfit(layer, f"coeff must be given once for each of its {len(bottoms)} bottoms", len(param.coeff))
    if param.coeff and enum_name(param, "operation") == "PROD":
        raise misfit(layer, "coeff belongs to operation SUM")
    for index, shape in enumerate(bottoms):
        if shape != bottoms[0]:
            rule = f'bottom "{layer.bottom[index]}" must have the shape of "{layer.bottom[0]}", {text(bottoms[0])}'
            raise misfit(layer, rule, text(shape))
    return [bottoms[0]]


def _old_axis(layer: Any, param: Any, old: str, shape: Shape) -> int:
    if param.HasField("axis") and param.HasField(old):
        raise misfit(layer, f"axis and {old} exclude each other")
    return canonical_axis(layer, getattr(param, old) if param.HasField(old) else param.axis, shape)


def _concat(layer: Any, bottoms: Shapes) -> Shapes:
    axis = _old_axis(layer, layer.concat_param, "concat_dim", bottoms[0])
    first = bottoms[0]
    for index, shape in enumerate(bottoms):
        if len(shape) != len(first) or shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            rule = (
                f'bottom "{layer.bottom[index]}" must match "{layer.bottom[0]}", {text(first)}, except on axis {axis}'
            )
            raise misfit(layer, rule, text(shape))
    return [(*first[:axis], sum(shape[axis] for shape in bottoms), *first[axis + 1 :])]


def _slice(layer: Any, bottoms: Shapes) -> Shapes:
    shape, points, count = bottoms[0], list(layer.slice_param.slice_point), len(layer.top)
    axis = _old_axis(layer, layer.slice_param, "slice_dim", shape)
    if points:
        edges = [0, *points, shape[axis]]
        if len(points) != count - 1 or any(low >= high for low, high in pairwise(edges)):
            raise misfit(layer, f"slice_point must give {count - 1} rising points inside (0, {shape[axis]})", points)
        sizes = [high - low for low, high in pairwise(edges)]
    elif shape[axis] % count:
        raise misfit(layer, f"its {count} tops must divide axis {axis} of the bottom evenly", text(shape))
    else:
        sizes = [shape[axis] // count] * count
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _crop(layer: Any, bottoms: Shapes) -> Shapes:
    source, target = bottoms
    axis, offset = canonical_axis(layer, layer.crop_param.axis, source), list(layer.crop_param.offset)
    count = len(source) - axis
    if len(offset) not in (0, 1, count):
        raise misfit(layer, f"offset must be given once, or once for each of {count} axes", len(offset))
    offset = offset * count if len(offset) == 1 else offset or [0] * count
    if len(target) != len(source) or any(
        s - o < t for s, o, t in zip(source[axis:], offset, target[axis:], strict=True)
    ):
        raise misfit(layer, f"a window of {text(target)} at offset {offset} does not fit into {text(source)}")
    return [(*source[:axis], *target[axis:])]


def _flatten(layer: Any, bottoms: Shapes) -> Shapes:
    shape = bottoms[0]
    axis = canonical_axis(layer, layer.flatten_param.axis, shape)
    end = canonical_axis(layer, layer.flatten_param.end_axis, shape)
    if axis > end:
        raise misfit(layer, f"axis {axis} must not lie behind end_axis {end}")
    return [(*shape[:axis], math.prod(shape[axis : end + 1]), *shape[end + 1 :])]


def _reshape(layer: Any, bottoms: Shapes) -> Shapes:
    param, shape = layer.reshape_param, bottoms[0]
    start = param.axis if param.axis >= 0 else len(shape) + param.axis + 1
    end = len(shape) if param.num_axes == -1 else start + param.num_axes
    if not 0 <= start <= end <= len(shape):
        raise misfit(layer, f"axis {param.axis} and num_axes {param.num_axes} reach past a bottom of {text(shape)}")
    wanted = list(param.shape.dim)
    if wanted.count(-1) > 1 or any(dim < -1 for dim in wanted):
        raise misfit(layer, "dim must be positive, 0 (as in the bottom) or, once, -1 (what is left)", wanted)
    for index, dim in enumerate(wanted):
        if dim == 0 and start + index >= len(shape):
            raise misfit(layer, f"dim {index} is 0, but the bottom of {text(shape)} has no such axis to copy")
        wanted[index] = dim or shape[start + index]
    total, fixed = math.prod(shape[start:end]), math.prod(dim for dim in wanted if dim != -1)
    if -1 in wanted and total % fixed == 0:
        wanted[wanted.index(-1)] = total // fixed
    if -1 in wanted or math.prod(wanted) != total:
        raise misfit(layer, f"a bottom of {text(shape)} cannot take the new dims {list(param.shape.dim)}")
    return [(*shape[:start], *wanted, *shape[end:])]


# ------------------------------------------------------------------------------------- losses and measurement


def _check_labels(layer: Any, axis: int, bottoms: Shapes) -> int:
    """Check that there is one label for every prediction; returns the class axis."""
    axis = canonical_axis(layer, axis, bottoms[0])
    wanted = math.prod(bottoms[0]) // bottoms[0][axis]
    if math.prod(bottoms[1]) != wanted:
        rule = f"predictions of {text(bottoms[0])} with classes on axis {axis} need {wanted} labels"
        raise misfit(layer, rule, text(bottoms[1]))
    return axis


def _softmax_loss(layer: Any, bottoms: Shapes) -> Shapes:
    _check_labels(layer, layer.softmax_param.axis, bottoms)
    return [()]


def _accuracy(layer: Any, bottoms: Shapes) -> Shapes:
    axis = _check_labels(layer, layer.accuracy_param.axis, bottoms)
    classes = bottoms[0][axis]
    if not 1 <= layer.accuracy_param.top_k <= classes:
        raise misfit(layer, f"top_k must lie in [1, {classes}]", layer.accuracy_param.top_k)
    return [(), (classes,)][: len(layer.top)]


def _paired_loss(layer: Any, bottoms: Shapes) -> Shapes:
    if math.prod(bottoms[0]) != math.prod(bottoms[1]) or bottoms[0][:1] != bottoms[1][:1]:
        raise misfit(layer, f"both bottoms must have the same size, {text(bottoms[0])}", text(bottoms[1]))
    return [()]


_RULES: dict[str, Callable[[Any, Shapes], Shapes]] = {
    "DummyData": _dummy_data,
    "Input": _input,
    "Convolution": _convolution,
    "InnerProduct": _inner_product,
    "Scale": _scale,
    "Bias": _scale,
    "PReLU": _channels,
    "BatchNorm": _channels,
    "Pooling": _pooling,
    "LRN": _lrn,
    "Softmax": _softmax,
    "Eltwise": _eltwise,
    "Concat": _concat,
    "Slice": _slice,
    "Crop": _crop,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "SoftmaxWithLoss": _softmax_loss,
    "Accuracy": _accuracy,
    "EuclideanLoss": _paired_loss,
    "SigmoidCrossEntropyLoss": _paired_loss,
}
