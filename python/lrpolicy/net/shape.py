"""A shape, as a value and for people, and the error of a layer that it does not fit."""

from __future__ import annotations

from typing import Any

from lrpolicy.errors import InputError

Shape = tuple[int, ...]
Shapes = list[Shape]


def misfit(layer: Any, rule: str, got: object | None = None) -> InputError:
    """The error of a layer whose shapes or settings do not fit."""
    return InputError(f'layer "{layer.name}" ({layer.type}): {rule}', got=got)


def text(shape: Shape) -> str:
    """A shape for people: 100 x 3 x 32 x 32."""
    return " x ".join(map(str, shape)) if shape else "a single number"


def canonical_axis(layer: Any, axis: int, shape: Shape) -> int:
    """`axis` counted from the front; Caffe counts negative ones from the end."""
    if not -len(shape) <= axis < len(shape):
        raise misfit(layer, f"axis {axis} does not exist in a bottom of {text(shape)}")
    return axis % len(shape)
