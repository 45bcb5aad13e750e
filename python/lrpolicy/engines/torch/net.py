"""A Caffe net as a list of closures over its weights: built once, run at every pass.

Layers run in the order of the file. A top named like a bottom replaces it, so later layers read the new value; what
Caffe does with Split layers, autograd does by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lrpolicy.engines.torch.fillers import blob_filler, fill
from lrpolicy.engines.torch.layers import Forward, LayerContext, StepRandom, build_layer
from lrpolicy.engines.torch.optimizers import Weight
from lrpolicy.engines.torch.placement import placed
from lrpolicy.errors import InputError
from lrpolicy.net import DATA_TYPES, LOSSES, Net, Parameter, Shape, infer, loss_weights, parameters
from lrpolicy.prototxt.messages import TRAIN

Blobs = dict[str, list[Tensor]]

# Layers whose backward pass does not read their own result: a ReLU in place may write over it.
_RESULT_NOT_NEEDED = ("Convolution", "InnerProduct", "BatchNorm", "Scale", "Eltwise", "Pooling")


@dataclass(frozen=True)
class _Step:
    """One layer at run time; `detached` lists the bottoms that propagate_down: false cuts off."""

    forward: Forward
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    detached: tuple[int, ...] = ()


@dataclass(frozen=True)
class Definition:
    """One phase of a net prototxt: its layers, what `lrpolicy.net` inferred about them."""

    layers: list[Any]
    shapes: Mapping[int, tuple[list[Shape], list[Shape]]]
    parameters: list[Parameter]
    where: Callable[[Any], str]

    @classmethod
    def of(cls, net: Net, message: Any, data_shapes: Mapping[str, Shape]) -> Definition:
        """Infer from a NetParameter that `net` was filtered to. Raises InputError where layers or data do not fit."""
        shapes = infer(message, data_shapes, net.where)
        return cls(list(message.layer), shapes, parameters(message, shapes, net.where), net.where)


class Weights:
    """The weight tensors of a net: by layer, as Caffe's files hold them, and as the list of those that are learned.

    `learned` has each tensor once, in Caffe's order, frozen ones (lr_mult 0) included: solver states have a history
    for every one of them. Fillers draw by (seed, place in that list). `shared` names the blobs (layer, number) whose
    memory another layer owns. `dtype` is float32 or float64, Caffe's Dtype; fillers draw float32 numbers.

    Raises:
        InputError: a filler that does not fit, or weights shared between blobs of different shapes.
    """

    def __init__(
        self, definition: Definition, seed: int, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self.dtype = dtype
        self.by_layer: Blobs = {}
        self.learned: list[Weight] = []
        self.shared: set[tuple[str, int]] = set()
        owners: dict[int, Tensor] = {}
        for index, parameter in enumerate(definition.parameters):
            layer = definition.layers[parameter.layer]
            if parameter.owner == index:
                filler = blob_filler(layer, parameter.blob)
                try:
                    values = fill(filler, parameter.shape, seed, len(self.learned))
                except InputError as error:
                    raise error.at(f'layer "{layer.name}"') from None
                owners[index] = placed(torch.from_numpy(values).to(dtype), device).requires_grad_(
                    parameter.lr_mult != 0
                )
                weight = Weight(layer.name, parameter.blob, owners[index], parameter.lr_mult, parameter.decay_mult)
                self.learned.append(weight)
            elif owners[parameter.owner].shape != parameter.shape:
                rule = "the torch engine shares weights between blobs of one shape only"
                raise InputError(rule, where=f'layer "{layer.name}"', got=parameter.shape)
            if parameter.owner != index:
                self.shared.add((layer.name, parameter.blob))
            self.by_layer.setdefault(layer.name, []).append(owners[parameter.owner])

    def copy(self) -> Blobs:
        """The values of every layer's blobs now."""
        return {name: [blob.detach().clone() for blob in blobs] for name, blobs in self.by_layer.items()}

    @torch.no_grad()
    def assign(self, values: Mapping[str, Sequence[Tensor | None]]) -> None:
        """Take over the values of the layers named in `values`, in place; None leaves a blob as it is."""
        for name, blobs in values.items():
            for mine, theirs in zip(self.by_layer.get(name, ()), blobs, strict=True):
                if theirs is not None:
                    mine.copy_(theirs)


class TorchNet:
    """One phase of a net: run with the tops of its data layer, it gives what was asked for when it was built.

    `wanted` names a blob; None stands for the training loss. Layers that neither contribute to it nor keep statistics
    are left out. `draws` says whether a pass takes random numbers.

    Raises:
        InputError: a layer that the engine does not have or that cannot be built; no loss to train on.
    """

    def __init__(
        self, definition: Definition, weights: Weights, random: StepRandom, *, training: bool, wanted: str | None = None
    ) -> None:
        self._wanted = wanted
        self._losses = [loss for index in range(len(definition.layers)) for loss in _losses(definition, index)]
        if wanted is None and not self._losses:
            raise InputError("the net has no loss in the TRAIN phase", remedy="add a SoftmaxWithLoss layer")
        targets = {wanted} if wanted is not None else {name for name, _ in self._losses}
        merged = _merged_scales(definition)
        contributing = _contributing(definition, targets, keep_statistics=training)
        self.draws = any(_draws(layer) for _, layer in contributing)
        self._steps = [
            _Step(
                _built(definition, _context(definition, index, weights, random, training)),
                tuple(layer.bottom),
                _tops(layer),
                tuple(i for i, flows in enumerate(layer.propagate_down) if not flows),
            )
            for index, layer in contributing
            if layer.type not in (*DATA_TYPES, "Input") and index not in merged
        ]

    def run(self, values: dict[str, Tensor]) -> Tensor:
        """The wanted blob, or the weighted sum of the losses, for these data tops (name to tensor)."""
        for step in self._steps:
            bottoms = [values[name] for name in step.bottoms]
            for index in step.detached:
                bottoms[index] = bottoms[index].detach()
            result = step.forward(*bottoms)
            if isinstance(result, Tensor):
                values[step.tops[0]] = result
            else:
                values.update(zip(step.tops, result, strict=True))
        if self._wanted is not None:
            return values[self._wanted]
        return self._total_loss(values)

    def _total_loss(self, values: dict[str, Tensor]) -> Tensor:
        terms = [values[name].sum() * weight if weight != 1 else values[name].sum() for name, weight in self._losses]
        return sum(terms[1:], terms[0])


def _built(definition: Definition, context: LayerContext) -> Forward:
    try:
        return build_layer(context)
    except InputError as error:
        raise error.at(definition.where(context.layer)) from None


def _tops(layer: Any) -> tuple[str, ...]:
    """A layer's tops; a loss layer without one gets a top that nobody can name."""
    return tuple(layer.top) or ((f"({layer.name})",) if layer.type in LOSSES else ())


def _losses(definition: Definition, index: int) -> list[tuple[str, float]]:
    """A layer's tops that count towards the loss, with their loss_weight (1 for the first top of a loss layer)."""
    layer = definition.layers[index]
    return [(top, weight) for top, weight in zip(_tops(layer), loss_weights(layer), strict=False) if weight]


def _contributing(definition: Definition, targets: set[str], *, keep_statistics: bool) -> list[tuple[int, Any]]:
    """The layers that the targets depend on (and BatchNorm layers, whose sums change in training), with their index."""
    needed, kept = set(targets), []
    for index, layer in reversed(list(enumerate(definition.layers))):
        tops = _tops(layer)
        if needed.isdisjoint(tops) and not (keep_statistics and layer.type == "BatchNorm"):
            continue
        kept.append((index, layer))
        needed.difference_update(tops)
        needed.update(layer.bottom)
    return kept[::-1]


def _draws(layer: Any) -> bool:
    fillers = layer.dummy_data_param.data_filler if layer.type == "DummyData" else ()
    return layer.type == "Dropout" or any(filler.type != "constant" for filler in fillers)


def _context(definition: Definition, index: int, weights: Weights, random: StepRandom, training: bool) -> LayerContext:
    layer = definition.layers[index]
    bottoms, tops = definition.shapes[index]
    return LayerContext(
        layer,
        tuple(bottoms),
        tuple(tops),
        _blobs(definition, index, weights),
        layer.phase == TRAIN if layer.HasField("phase") else training,
        random,
        weights.dtype,
        _may_overwrite(definition.layers[:index], layer),
        _affine(definition, index, weights),
    )


def _blobs(definition: Definition, index: int, weights: Weights) -> tuple[Tensor, ...]:
    """The weights of a layer, which another phase may have made. Raises InputError where that has other ones."""
    layer = definition.layers[index]
    blobs = tuple(weights.by_layer.get(layer.name, ()))
    if [tuple(blob.shape) for blob in blobs] != [p.shape for p in definition.parameters if p.layer == index]:
        rule = "its weights are not those of the layer of that name in the TRAIN phase"
        raise InputError(rule, where=f'layer "{layer.name}"', remedy="give both phases the same layer")
    return blobs


def _merged_scales(definition: Definition) -> set[int]:
    """The Scale layers that the BatchNorm before them does in passing: in place, one factor for each channel."""
    return {
        index
        for index, (before, layer) in enumerate(pairwise(definition.layers), 1)
        if before.type == "BatchNorm"
        and layer.type == "Scale"
        and list(before.top) == list(layer.bottom) == list(layer.top)
        and layer.scale_param.axis == 1
        and layer.scale_param.num_axes == 1
    }


def _affine(definition: Definition, index: int, weights: Weights) -> tuple[Tensor | None, Tensor | None]:
    """The factor and shift of the Scale layer merged into the layer at `index`, if there is one."""
    if index + 1 not in _merged_scales(definition):
        return None, None
    factor, *shift = _blobs(definition, index + 1, weights)
    return factor, shift[0] if shift else None


def _may_overwrite(earlier: list[Any], layer: Any) -> bool:
    """Whether an in-place layer is the only reader of its bottom and the bottom's maker does not need it any more."""
    if list(layer.top) != list(layer.bottom):
        return False
    for other in reversed(earlier):
        if layer.bottom[0] in other.top:
            return other.type in _RESULT_NOT_NEEDED and not other.pooling_param.global_pooling
        if layer.bottom[0] in other.bottom:
            return False
    return False
