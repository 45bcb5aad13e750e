"""The parameter blobs of a net: their shapes, multipliers, and which of them are shared by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lrpolicy.errors import InputError
from lrpolicy.net.geometry import convolution_window
from lrpolicy.net.shape import Shape, Shapes, canonical_axis, misfit, text
from lrpolicy.net.shape_rules import broadcast_shape
from lrpolicy.net.shapes import Where
from lrpolicy.prototxt.messages import ParamSpec, enum_name


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter blob. `owner` is the index, in the list of all, of the blob whose memory it uses (often itself)."""

    layer: int
    blob: int
    shape: Shape
    lr_mult: float
    decay_mult: float
    owner: int


def parameter_shapes(layer: Any, bottoms: Shapes) -> Shapes:
    """The shapes of one layer's blobs, in Caffe's order (weights before bias). Empty for layers without weights."""
    rule = {
        "Convolution": _convolution,
        "InnerProduct": _inner_product,
        "BatchNorm": _batch_norm,
        "Scale": _scale,
        "Bias": _bias,
        "PReLU": _prelu,
    }.get(layer.type)
    return rule(layer, bottoms) if rule else []


def parameters(net: Any, shapes: Mapping[int, tuple[Shapes, Shapes]], where: Where | None = None) -> list[Parameter]:
    """All parameter blobs of a filtered net, layer by layer; `shapes` is what `infer` returned.

    A blob whose `param { name }` has been seen before shares the first one's memory. All of a name have the same
    multipliers, whichever of them sets one; where several do, they must agree (Caffe's Net::AppendParam).

    Raises:
        InputError: more `param` blocks than blobs, shared blobs that do not fit, a rate for batch statistics, or a
            layer with weights that has the name of another.
    """
    found: list[Parameter] = []
    owners: dict[str, Parameter] = {}
    named = _named_specs(net)
    for index, layer in enumerate(net.layer):
        blobs = parameter_shapes(layer, shapes[index][0])
        try:
            if len(layer.param) > len(blobs):
                raise misfit(layer, f"it has {len(blobs)} parameter blob(s)", f"{len(layer.param)} param blocks")
            for blob, shape in enumerate(blobs):
                spec = layer.param[blob] if blob < len(layer.param) else ParamSpec()
                common = named.get(spec.name, spec)
                own = Parameter(index, blob, shape, _lr_mult(layer, common), common.decay_mult, len(found))
                owner = owners.setdefault(spec.name, own) if spec.name else own
                _check_sharing(layer, spec, common, shape, owner)
                found.append(replace(owner, layer=index, blob=blob, shape=shape))
        except InputError as error:
            place = where(layer, "param") if where else None
            raise (error.at(place) if place else error) from None
    _check_names(net, {net.layer[parameter.layer].name for parameter in found}, where)
    return found


def weight_count(found: list[Parameter]) -> int:
    """How many numbers the net learns: shared blobs once, blobs of rate 0 (batch statistics, frozen ones) not."""
    return sum(
        math.prod(parameter.shape)
        for index, parameter in enumerate(found)
        if parameter.owner == index and parameter.lr_mult != 0
    )


def _named_specs(net: Any) -> dict[str, Any]:
    """For each name the multipliers of its blobs: those that the first blob to set them says."""
    named: dict[str, Any] = {}
    for spec in (spec for layer in net.layer for spec in layer.param if spec.name):
        common = named.setdefault(spec.name, ParamSpec())
        for field in ("lr_mult", "decay_mult"):
            if spec.HasField(field) and not common.HasField(field):
                setattr(common, field, getattr(spec, field))
    return named


def _lr_mult(layer: Any, spec: Any) -> float:
    if layer.type != "BatchNorm":
        return float(spec.lr_mult)
    if spec.HasField("lr_mult") and spec.lr_mult != 0:
        raise misfit(layer, "batch statistics are not learned: lr_mult must be 0", spec.lr_mult)
    return 0.0


def _check_names(net: Any, names: set[str], where: Where | None) -> None:
    """Weights go from one net to another, and into files, by the layers' names; Caffe takes the first of a name."""
    first: dict[str, Any] = {}
    for layer in net.layer:
        if layer.name in first and layer.name in names:
            rule = f'two layers of the {enum_name(net.state, "phase")} phase are named "{layer.name}"'
            if where:
                rule += f", the other one at {where(first[layer.name])}"
            remedy = "give each layer with weights a name of its own"
            raise InputError(rule, where=where and where(layer), remedy=remedy)
        first.setdefault(layer.name, layer)


def _check_sharing(layer: Any, spec: Any, common: Any, shape: Shape, owner: Parameter) -> None:
    permissive = enum_name(spec, "share_mode") == "PERMISSIVE"
    fits = math.prod(shape) == math.prod(owner.shape) if permissive else shape == owner.shape
    if not fits:
        raise misfit(layer, f'the shared param "{spec.name}" has the shape {text(owner.shape)}', text(shape))
    for name in ("lr_mult", "decay_mult"):
        if spec.HasField(name) and getattr(spec, name) != getattr(common, name):
            raise misfit(
                layer, f'the shared param "{spec.name}" has {name} {getattr(common, name)}', getattr(spec, name)
            )


def _convolution(layer: Any, bottoms: Shapes) -> Shapes:
    param = layer.convolution_param
    axis = canonical_axis(layer, param.axis, bottoms[0])
    kernel = convolution_window(layer, len(bottoms[0]) - axis - 1)["kernel_size"]
    weights = (param.num_output, bottoms[0][axis] // param.group, *kernel)
    return [weights, (param.num_output,)] if param.bias_term else [weights]


def _inner_product(layer: Any, bottoms: Shapes) -> Shapes:
    param = layer.inner_product_param
    inputs = math.prod(bottoms[0][canonical_axis(layer, param.axis, bottoms[0]) :])
    weights = (inputs, param.num_output) if param.transpose else (param.num_output, inputs)
    return [weights, (param.num_output,)] if param.bias_term else [weights]


def _batch_norm(layer: Any, bottoms: Shapes) -> Shapes:
    channels = bottoms[0][1]
    return [(channels,), (channels,), (1,)]


def _scale(layer: Any, bottoms: Shapes) -> Shapes:
    own = bottoms[1] if len(bottoms) == 2 else broadcast_shape(layer, layer.scale_param, bottoms[0])
    return [own] * ((len(bottoms) == 1) + layer.scale_param.bias_term)


def _bias(layer: Any, bottoms: Shapes) -> Shapes:
    return [broadcast_shape(layer, layer.bias_param, bottoms[0])] if len(bottoms) == 1 else []


def _prelu(layer: Any, bottoms: Shapes) -> Shapes:
    return [() if layer.prelu_param.channel_shared else (bottoms[0][1],)]
