"""Losses and what is read off a classifier: Softmax, SoftmaxWithLoss, EuclideanLoss, Accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from lrpolicy.engines.torch.layers.registry import Forward, LayerContext, layer
from lrpolicy.prototxt.messages import enum_name

# Caffe takes the logarithm of at least FLT_MIN: no example's loss exceeds this.
_LARGEST_LOSS = -math.log(torch.finfo(torch.float32).tiny)

# Divides a sum of losses as loss_param asks: a function of (sum, labels).
Divide = Callable[[Tensor, Tensor], Tensor]


@layer("Softmax")
def softmax(context: LayerContext) -> Forward:
    """exp(x) / sum(exp(x)) along `axis`."""
    axis = context.layer.softmax_param.axis
    return lambda x: torch.softmax(x, axis)


@layer("SoftmaxWithLoss")
def softmax_with_loss(context: LayerContext) -> Forward:
    """The mean of -log(probability of the label); `normalization` says what the sum is divided by.

    Labels equal to ignore_label count nowhere.
    """
    scores = context.bottom_shapes[0]
    axis = context.layer.softmax_param.axis % len(scores)
    outer, inner = math.prod(scores[:axis]), math.prod(scores[axis + 1 :])
    shape = (outer, scores[axis], inner) if inner > 1 else (outer, scores[axis])
    labels_shape = (outer, inner) if inner > 1 else (outer,)
    ignore = context.layer.loss_param.ignore_label if context.layer.loss_param.HasField("ignore_label") else None
    normalize = _normalizer(context, outer, inner, ignore)

    def forward(x: Tensor, label: Tensor) -> Tensor:
        y = label.reshape(labels_shape).long()
        each = F.cross_entropy(x.reshape(shape), y, reduction="none", ignore_index=-100 if ignore is None else ignore)
        # The value is clipped like Caffe's, however large; the gradient is not, like Caffe's.
        value = each.detach()
        return normalize((value.clamp(max=_LARGEST_LOSS) + (each - value)).sum(), y)

    return forward


def _normalizer(context: LayerContext, outer: int, inner: int, ignore: int | None) -> Divide:
    param = context.layer.loss_param
    mode = enum_name(param, "normalization")
    if param.HasField("normalize") and not param.HasField("normalization"):
        mode = "VALID" if param.normalize else "BATCH_SIZE"
    return _divider(mode, outer * inner, outer, ignore)


def _divider(mode: str, full: int, batch: int, ignore: int | None) -> Divide:
    if mode == "VALID" and ignore is not None:
        return lambda total, y: total / (y != ignore).sum().clamp(min=1)
    divisor = {"VALID": full, "FULL": full, "BATCH_SIZE": batch, "NONE": 1}[mode]
    return lambda total, _: total / divisor


@layer("EuclideanLoss")
def euclidean_loss(context: LayerContext) -> Forward:
    """Half the mean over the batch of the squared distance."""
    batch = context.bottom_shapes[0][0]
    return lambda x, y: (x - y).square().sum() / (2 * batch)


@layer("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(context: LayerContext) -> Forward:
    """The sum of the cross-entropies of independent sigmoids, divided as loss_param says (default: by the batch)."""
    shape, param = context.bottom_shapes[0], context.layer.loss_param
    ignore = param.ignore_label if param.HasField("ignore_label") else None
    mode = "BATCH_SIZE"
    if param.HasField("normalization"):
        mode = enum_name(param, "normalization")
    elif param.HasField("normalize") and param.normalize:
        mode = "VALID"
    normalize = _divider(mode, math.prod(shape), shape[0], ignore)

    def forward(x: Tensor, target: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(x, target.to(x.dtype), reduction="none")
        counted = each if ignore is None else each * (target != ignore)
        return normalize(counted.sum(), target)

    return forward


@layer("Accuracy")
def accuracy(context: LayerContext) -> Forward:
    """The share of labels whose score is among the top_k; a tie counts against the label, as in Caffe.

    A second top gets the accuracy of each class (0 for a class without examples).
    """
    param, scores = context.layer.accuracy_param, context.bottom_shapes[0]
    axis = param.axis % len(scores)
    shape = (math.prod(scores[:axis]), scores[axis], math.prod(scores[axis + 1 :]))
    ignore = param.ignore_label if param.HasField("ignore_label") else None

    def forward(x: Tensor, label: Tensor) -> Tensor | tuple[Tensor, ...]:
        x, y = x.detach().reshape(shape), label.reshape(shape[0], 1, shape[2]).long()
        counts = torch.ones_like(y, dtype=torch.bool) if ignore is None else y != ignore
        y = torch.where(counts, y, 0)
        hits = ((x >= x.gather(1, y)).sum(1, keepdim=True) <= param.top_k) & counts
        share: Tensor = hits.sum() / counts.sum().clamp(min=1)
        if len(context.top_shapes) < 2:
            return share
        per_class = F.one_hot(y, shape[1])
        totals = (per_class * counts.unsqueeze(-1)).sum((0, 1, 2))
        return share, (per_class * hits.unsqueeze(-1)).sum((0, 1, 2)) / totals.clamp(min=1)

    return forward
