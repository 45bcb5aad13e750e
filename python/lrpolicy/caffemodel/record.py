"""What the snapshot files hold, as plain values, and how a blob fits a shape."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrpolicy.errors import InputError

Array = NDArray[np.float32]
Weights = Mapping[str, Sequence[Array]]


@dataclass(frozen=True, eq=False)
class SolverState:
    """A .solverstate: where a training stands.

    `iter` counts the updates done; `learned_net` is the path of the .caffemodel that belongs to it; `current_step` is
    multistep's counter; `history` holds the optimizer's tensors in Caffe's order (one per parameter blob; AdaDelta
    and Adam append a second set). `extra` is lrpolicy's own, the JSON of a policy's state among it, and
    `policy_history` the policy's tensors; an unpatched Caffe passes both by.
    """

    iter: int
    learned_net: str
    current_step: int
    history: tuple[Array, ...]
    extra: bytes = b""
    policy_history: tuple[Array, ...] = ()


def fit(blob: Array, shape: tuple[int, ...], what: str, remedy: str | None = None) -> Array:
    """`blob` in the wanted shape: equal, or an old 4-D blob whose leading axes of 1 are left out.

    Raises InputError, naming `what`, where it has another shape.
    """
    old = blob.ndim == 4 and blob.shape == (1,) * (4 - len(shape)) + shape
    if blob.shape == shape or (old and blob.size == math.prod(shape)):
        return blob.reshape(shape)
    raise InputError(f"{what} must have the shape {list(shape)}", got=str(list(blob.shape)), remedy=remedy)


def fit_layer(
    found: Sequence[Array],
    shapes: Sequence[tuple[int, ...]],
    shared: Container[int],
    where: str,
    name: str,
    remedy: str | None = None,
) -> list[Array | None]:
    """A layer's blobs from the file `where` in the shapes wanted; None for one that the file leaves out.

    That may be one in `shared`, whose memory another layer owns. Raises InputError for another number or shape.
    """
    padded = [*found, *[np.empty(0, np.float32)] * (len(shapes) - len(found))]
    absent = [not blob.size and index in shared for index, blob in enumerate(padded)]
    if len(padded) != len(shapes) or not all(absent[len(found) :]):
        rule = f'layer "{name}" has {len(shapes)} blobs in the net'
        raise InputError(rule, where=where, got=len(found), remedy=remedy)
    return [
        None if left_out else fit(theirs, shape, f'{where}: layer "{name}", blob {index}', remedy)
        for index, (theirs, shape, left_out) in enumerate(zip(padded, shapes, absent, strict=True))
    ]
