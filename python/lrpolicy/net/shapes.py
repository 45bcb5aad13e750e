"""Shape inference without a framework: a walk through a net that knows every blob's shape, or says why it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.net.layer_types import LOSSES, MANY, layer_type
from lrpolicy.net.losses import loss_weights
from lrpolicy.net.shape import Shape, Shapes, misfit
from lrpolicy.net.shape_rules import top_shapes
from lrpolicy.prototxt.messages import TRAIN

Where = Callable[..., str | None]

# What Caffe computes rightly where the top is the bottom. The three behind lose what their gradient needs.
_IN_PLACE = ("ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "Exp", "Softmax", "Dropout", "BatchNorm", "Scale", "Bias")
_IN_PLACE_WITHOUT_GRADIENT = ("Power", "Log", "BNLL")
# The bottoms through which Caffe's layers send no gradient.
_WITHOUT_GRADIENT = {"Accuracy": (0, 1), "SoftmaxWithLoss": (1,), "SigmoidCrossEntropyLoss": (1,)}
_LEARNING = ("Convolution", "InnerProduct", "Scale", "Bias", "PReLU")


def infer(
    net: Any, data_shapes: Mapping[str, Shape] | None = None, where: Where | None = None
) -> dict[int, tuple[Shapes, Shapes]]:
    """The shapes of every bottom and top of a filtered net.

    Args:
        net: a NetParameter as `Net.for_state` returns it.
        data_shapes: for each layer that reads data, by its name, the shape of one example as stored, usually
            (channels, height, width); cropping is applied here, the batch size is the layer's.
        where: `Net.where`, so that errors name file and line.

    Returns:
        For each layer's index its bottoms' and its tops' shapes, the batch axis first.

    Raises:
        InputError: a bottom that no layer makes, a top made twice, a wrong number of either, shapes that do not fit, or
            a gradient that Caffe cannot compute.
    """
    blobs: dict[str, Shape] = {}
    shapes: dict[int, tuple[Shapes, Shapes]] = {}
    learned: set[str] = set()
    gradients: list[list[bool]] = []
    for index, layer in enumerate(net.layer):
        place = partial(where or _nowhere, layer)
        try:
            bottoms = _bottoms(layer, blobs, place)
            _check_in_place(layer, net.state.phase == TRAIN and not learned.isdisjoint(layer.bottom), place)
            tops = top_shapes(layer, bottoms, data_shapes or {})
            _add_tops(layer, tops, blobs, place)
        except InputError as error:
            blocks = [block for block in layer_type(layer).blocks if layer.HasField(block)]
            place_of_rule = error.where or place(*blocks[:1])
            remedy = "change this layer, or those that make its bottoms"
            raise (error.at(place_of_rule, remedy) if place_of_rule else error) from None
        shapes[index] = bottoms, tops
        gradients.append([name in learned for name in layer.bottom])
        if layer.type in _LEARNING or any(gradients[-1]):
            learned.update(layer.top)
    if net.state.phase == TRAIN:
        _check_gradients(net, gradients, where or _nowhere)
    return shapes


def _nowhere(layer: Any, *field: str | int) -> None:
    """The place of a layer when no file is known."""


def _bottoms(layer: Any, blobs: dict[str, Shape], place: Where) -> Shapes:
    known = layer_type(layer)
    for kind, names, (least, most) in (("bottom", layer.bottom, known.bottoms), ("top", layer.top, known.tops)):
        if not least <= len(names) <= most:
            wanted = f"{least}" if least == most else f"{least} or more" if most == MANY else f"{least} to {most}"
            error = misfit(layer, f"the type takes {wanted} {kind}(s)", len(names))
            raise InputError(error.rule, where=place(kind), got=error.got)
    _check_counts(layer, place)
    for index, name in enumerate(layer.bottom):
        if name not in blobs:
            error = misfit(layer, f'bottom "{name}" is made by no layer above')
            raise InputError(error.rule, where=place("bottom", index), remedy=did_you_mean(name, blobs))
    return [blobs[name] for name in layer.bottom]


def _check_counts(layer: Any, place: Where) -> None:
    """loss_weight goes with the tops, propagate_down with the bottoms; a loss weighs its first top by itself."""
    weights = len(loss_weights(layer))
    if weights not in (0, len(layer.top) or int(layer.type in LOSSES)):
        rule = f"loss_weight must be given once for each of its {len(layer.top)} tops"
        raise InputError(misfit(layer, rule).rule, where=place("loss_weight"), got=len(layer.loss_weight))
    if len(layer.propagate_down) not in (0, len(layer.bottom)):
        rule = f"propagate_down must be given once for each of its {len(layer.bottom)} bottoms"
        raise InputError(misfit(layer, rule).rule, where=place("propagate_down"), got=len(layer.propagate_down))


def _check_in_place(layer: Any, gradient: bool, place: Where) -> None:
    """Caffe dies on AbsVal, Flatten, Reshape and Split in place, and trains the others with wrong numbers."""
    if layer.type in _IN_PLACE or (layer.type in _IN_PLACE_WITHOUT_GRADIENT and not gradient):
        return
    for index, (bottom, top) in enumerate(zip(layer.bottom, layer.top, strict=False)):
        if bottom == top:
            what = "the gradient of this type" if layer.type in _IN_PLACE_WITHOUT_GRADIENT else "this type"
            rule = misfit(layer, f"Caffe cannot compute {what} in place").rule
            raise InputError(rule, where=place("top", index), got=f'"{top}"', remedy="give its top a name of its own")


def _check_gradients(net: Any, gradients: list[list[bool]], where: Where) -> None:
    """Caffe's first backward pass stops at an accuracy or a label that needs a gradient.

    That is one between the loss and something learned: `gradients` says for each layer which bottoms depend on such.
    """
    under_loss: set[str] = set()
    for layer, learned in reversed(list(zip(net.layer, gradients, strict=True))):
        contributes = any(loss_weights(layer)) or not under_loss.isdisjoint(layer.top)
        if contributes:
            under_loss.update(layer.bottom)
        forced = net.force_backward and layer.type == "Accuracy"
        flows = list(layer.propagate_down) or learned
        for index in _WITHOUT_GRADIENT.get(layer.type, ()):
            if forced or (contributes and any(learned) and flows[index]):
                rule = misfit(layer, f'Caffe cannot compute the gradient of its bottom "{layer.bottom[index]}"').rule
                remedy = "have no loss depend on it" + ", or include { phase: TEST }" * (layer.type == "Accuracy")
                raise InputError(rule, where=where(layer), remedy=remedy)


def _add_tops(layer: Any, tops: Shapes, blobs: dict[str, Shape], place: Where) -> None:
    for index, (name, shape) in enumerate(zip(layer.top, tops, strict=False)):
        in_place = index < len(layer.bottom) and layer.bottom[index] == name
        if name in blobs and not in_place:
            error = misfit(layer, f'top "{name}" is already made by a layer above')
            raise InputError(error.rule, where=place("top", index))
        blobs[name] = shape
