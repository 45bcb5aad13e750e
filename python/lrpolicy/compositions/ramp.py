"""A rate that goes from one number to another and stays there: what warm-ups and cool-downs are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.iterations import as_iteration, as_iterations
from lrpolicy.policies import Policy
from lrpolicy.policy_text import written
from lrpolicy.stateful.values import check_rate, settle, whole

if TYPE_CHECKING:
    from lrpolicy.compositions.chain import Chain

# The policy whose half cycle has the shape, its cycles in iterations of a ramp, and whether it begins at its low end.
_HALF_CYCLES = {"linear": ("tri", 1, True), "cosine": ("cos", 2, False)}
SHAPES = tuple(_HALF_CYCLES)


@dataclass(frozen=True)
class Ramp:
    """A `Schedule`: `start` at t = 0, `end` at t = `iterations` and ever after, both exactly.

    In between it is half a cycle of `tri` (shape "linear") or of `cos` ("cosine"), to the bit.

    Raises InputError for a rate below 0, iterations below 1 or an unknown shape.
    """

    start: float
    end: float
    iterations: int
    shape: str = "linear"
    _wave: Policy = field(init=False, repr=False, compare=False)
    _first: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise InputError(f'shape "{self.shape}" is unknown', remedy=did_you_mean(str(self.shape), SHAPES))
        iterations = whole("iterations", self.iterations, 1, 2**48)
        start, end = check_rate("start", self.start), check_rate("end", self.end)
        name, lengths, begins_low = _HALF_CYCLES[self.shape]
        wave = Policy(name, base_lr=start, max_lr=end, stepsize=lengths * iterations)
        first = 0 if (start < end) == begins_low else iterations
        settle(self, start=start, end=end, iterations=iterations, _wave=wave, _first=first)

    def rate(self, t: int, /) -> float:
        """The rate at iteration t. Raises InputError."""
        return self._wave.rate(min(as_iteration(t), self.iterations) + self._first)

    def rates(self, ts: range | ArrayLike) -> NDArray[np.float64]:
        """The rates at many iterations, in the shape of `ts`. Raises InputError."""
        return self._wave.rates(np.minimum(as_iterations(ts), self.iterations) + self._first)

    def to_text(self) -> str:
        """`ramp:start=...,end=...,iterations=...,shape=...`, a part of a chain's text (see `parse_chain`)."""
        return written("ramp", {name: getattr(self, name) for name in ("start", "end", "iterations", "shape")})

    def __rshift__(self, other: object) -> Chain:
        """A chain, see `lrpolicy.compositions`. Raises InputError."""
        from lrpolicy.compositions.chain import joined  # which is made of ramps

        return joined(self, other)
