"""How sure a number is: its value, and where it lands when the seeds are drawn again (percentile bootstrap)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrpolicy.confidence import LEVEL

DRAWS = 400


@dataclass(frozen=True)
class Estimate:
    """A rate, and its 95 % bootstrap interval over seeds (NaN where one seed is all there is).

    From few seeds such an interval is too narrow: see `lrpolicy.confidence`.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


def bootstrap(
    seeds: int, names: tuple[str, ...], evaluate: Callable[[NDArray[np.int64]], tuple[float, ...]]
) -> dict[str, Estimate]:
    """Estimate several numbers at once. `evaluate` maps the indices of the seeds drawn to the numbers, NaN for none.

    The draws are the same for the same number of seeds, and touch no generator but their own.
    """
    values = evaluate(np.arange(seeds))
    if seeds < 2:
        return {name: Estimate(value) for name, value in zip(names, values, strict=True)}
    random = np.random.Generator(np.random.Philox(key=0))
    drawn = np.array([evaluate(random.integers(0, seeds, seeds)) for _ in range(DRAWS)])
    tail = (1.0 - LEVEL) / 2.0
    estimates = {}
    for name, value, column in zip(names, values, drawn.T, strict=True):
        known = column[~np.isnan(column)]
        low, high = np.quantile(known, [tail, 1.0 - tail]) if known.size else (math.nan, math.nan)
        estimates[name] = Estimate(value, float(low), float(high))
    return estimates
