"""Iterations as a caller gives them, a range or an array, checked once; and the memory for what is computed of them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy.errors import InputError

LAST_ITERATION = 2**50


def as_iterations(ts: range | ArrayLike) -> NDArray[np.int64]:
    """Iterations as an array of whole numbers from 0 to 2^50, in the shape of `ts`. Raises InputError."""
    if isinstance(ts, range) and ts:
        check_iterations(min(ts[0], ts[-1]), max(ts[0], ts[-1]))
        return np.arange(ts.start, ts.stop, ts.step, dtype=np.int64)
    try:
        array = np.asarray(ts)
    except (TypeError, ValueError):
        raise InputError("iterations are a range or an array of whole numbers", got=repr(ts)) from None
    if not array.size:
        return np.empty(array.shape, dtype=np.int64)
    if array.dtype.kind not in "iu":
        raise InputError("iterations are whole numbers", got=f"an array of {array.dtype}")
    check_iterations(int(array.min()), int(array.max()))
    return np.asarray(array, dtype=np.int64, order="C")


def as_iteration(t: Any) -> int:
    """One iteration as a whole number from 0 to 2^50. Raises InputError."""
    try:
        number = operator.index(t)
    except TypeError:
        raise InputError("an iteration is a whole number from 0 to 2^50", got=repr(t)) from None
    if not 0 <= number <= LAST_ITERATION:
        check_iterations(number, number)
    return number


def check_iterations(least: int, most: int) -> None:
    """Raise InputError where iterations from `least` to `most` are not all allowed."""
    if least < 0 or most > LAST_ITERATION:
        raise InputError("an iteration is a whole number from 0 to 2^50", got=least if least < 0 else most)


def room_for(shape: tuple[int, ...], out: NDArray[Any] | None) -> NDArray[Any]:
    """`out`, if the rates may go there; new memory if there is none."""
    if out is None:
        return np.empty(shape)
    if not isinstance(out, np.ndarray):
        raise InputError("out is a NumPy array", got=type(out).__name__)
    flags = out.flags
    if out.dtype not in (np.float64, np.float32) or out.shape != shape or not (flags.c_contiguous and flags.writeable):
        kind = f"{out.dtype}, {out.shape}, {'' if flags.c_contiguous else 'not '}contiguous"
        got = f"{kind}{'' if flags.writeable else ', read-only'}"
        raise InputError(f"out is a writeable, C-contiguous array of float64 or float32 and shape {shape}", got=got)
    return out
