"""What a layer is to the engine: a function that makes, once, the closure a net calls at every pass.

Shapes are known before (lrpolicy.net.shapes), so a closure holds numbers and tensors and decides nothing while it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lrpolicy.errors import InputError, did_you_mean

Shape = tuple[int, ...]
# Takes a layer's bottoms; gives its only top, or a tuple of all tops (empty for a layer without tops).
Forward = Callable[..., Tensor | tuple[Tensor, ...]]


class StepRandom:
    """The random numbers of the passes: a pure function of (seed, step), in the order in which layers ask."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed, self.device = seed, device
        self.step = 0
        self.generator = torch.Generator(device)

    def begin(self, step: int) -> None:
        """Start the pass number `step` (iteration * iter_size + part)."""
        self.step = step
        # Odd multipliers spread neighbouring steps and seeds over the generator's 64-bit key.
        self.generator.manual_seed((self.seed * 0x9E3779B97F4A7C15 + step * 0xD1B54A32D192ED03) % 2**63)


@dataclass(frozen=True)
class LayerContext:
    """One layer, ready to be built.

    `blobs` are its weight tensors in Caffe's order; the closure may hold them, for updates happen in place. `dtype` is
    the type of all numbers.
    `overwrites` allows the closure to write its result over its first bottom. `affine` holds the factor and shift of
    a Scale layer that a BatchNorm does in passing.
    """

    layer: Any
    bottom_shapes: tuple[Shape, ...]
    top_shapes: tuple[Shape, ...]
    blobs: tuple[Tensor, ...]
    training: bool
    random: StepRandom
    dtype: torch.dtype = torch.float32
    overwrites: bool = False
    affine: tuple[Tensor | None, Tensor | None] = (None, None)

    def reject(self, rule: str, **details: Any) -> InputError:
        """The error of a layer that cannot be built; the net adds file and line."""
        return InputError(f'layer "{self.layer.name}" ({self.layer.type}): {rule}', **details)


Builder = Callable[[LayerContext], Forward]
_BUILDERS: dict[str, Builder] = {}


def layer(*types: str) -> Callable[[Builder], Builder]:
    """Enter a builder in the registry under Caffe's layer types."""

    def enter(builder: Builder) -> Builder:
        for name in types:
            _BUILDERS[name] = builder
        return builder

    return enter


def build_layer(context: LayerContext) -> Forward:
    """The closure of a layer. Raises InputError for a type that the engine does not have."""
    kind = context.layer.type
    if kind not in _BUILDERS:
        raise context.reject(f'the torch engine has no layer type "{kind}"', remedy=did_you_mean(kind, _BUILDERS))
    return _BUILDERS[kind](context)


def layer_types() -> list[str]:
    """The layer types that the engine can build, data layers left out."""
    return sorted(_BUILDERS)
