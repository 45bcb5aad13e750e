"""What a net's training loss is made of (Caffe's Net::ForwardFromTo: the sum of loss_weight times top)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lrpolicy.net.layer_types import LOSSES
from lrpolicy.prototxt.messages import enum_name


def loss_weights(layer: Any) -> list[float]:
    """How much each top of a layer counts towards the training loss; a loss counts its first top once by itself."""
    return list(layer.loss_weight) or ([1.0] if layer.type in LOSSES else [])


def other_loss(net: Any, bottoms: Sequence[str]) -> tuple[Any | None, str] | None:
    """What makes the training loss another one than the mean cross-entropy of `bottoms`, scores and labels.

    That is one SoftmaxWithLoss, counted once, over all examples: there is one score for each class, so that every
    normalization but NONE divides by the number of examples.

    Returns:
        The layer of the filtered net (None where it is not a single one) and a reason; None where nothing does.
    """
    losses = [layer for layer in net.layer if any(loss_weights(layer))]
    if len(losses) != 1:
        return None, f"it is the sum of {len(losses)} losses"
    reason = next(_differences(losses[0], bottoms), None)
    return None if reason is None else (losses[0], reason)


def _differences(layer: Any, bottoms: Sequence[str]) -> Iterator[str]:
    param, (weight, *others) = layer.loss_param, loss_weights(layer)
    if layer.type != "SoftmaxWithLoss":
        yield f"it is that of a layer of type {layer.type}"
    if weight != 1 or any(others):
        yield f"it has loss_weight {', '.join(f'{number:g}' for number in (weight, *others))}"
    if enum_name(param, "normalization") == "NONE":
        yield "normalization: NONE makes it a sum over the minibatch"
    if param.HasField("ignore_label"):
        yield f"it leaves out the examples with ignore_label {param.ignore_label}"
    if list(layer.bottom) != list(bottoms):
        yield f"it reads {' and '.join(layer.bottom)}, where a test reads {' and '.join(bottoms)}"
