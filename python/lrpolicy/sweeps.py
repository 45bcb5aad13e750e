"""Rates that rise once from a low to a high end: what Smith's range test trains with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy.errors import InputError
from lrpolicy.iterations import as_iteration, as_iterations

SweepScale = Literal["log", "linear"]


@dataclass(frozen=True)
class Sweep:
    """A `Schedule`: `low` at iteration 0, `high` at iteration `iterations` - 1, and that rate ever after.

    With u = t / (iterations - 1), "log" gives low^(1-u) * high^u (equal ratios) and "linear" low*(1-u) + high*u (equal
    steps). Both ends are met exactly.

    Raises:
        InputError: not 0 < low < high < infinity, iterations that are no whole number from 2, or an unknown scale.
    """

    low: float
    high: float
    iterations: int
    scale: SweepScale = "log"

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            rule = "a sweep needs finite rates, 0 < low < high"
            remedy = "for example from 1e-5 to 1"
            raise InputError(rule, got=f"low {self.low:g}, high {self.high:g}", remedy=remedy)
        if as_iteration(self.iterations) < 2:
            raise InputError("a sweep needs 2 iterations or more", got=self.iterations)
        if self.scale not in get_args(SweepScale):
            raise InputError("a sweep's scale is log or linear", got=self.scale)

    def rate(self, t: int, /) -> float:
        """The rate at iteration t. Raises InputError."""
        return float(self.rates([t])[0])

    def rates(self, ts: range | ArrayLike) -> NDArray[np.float64]:
        """The rates at many iterations, in the shape of `ts`. Raises InputError."""
        u = np.minimum(as_iterations(ts) / (self.iterations - 1), 1.0)
        logarithmic = self.scale == "log"
        between = self.low ** (1.0 - u) * self.high**u if logarithmic else self.low * (1.0 - u) + self.high * u
        # Said, not computed: NumPy's vector code may round x**1.
        return np.select([u == 0, u == 1], [self.low, self.high], between)
