"""How sure a comparison over few seeds is: the bootstrap (Efron 1979), plain resampling with a given generator.

Seeds are drawn with replacement, independently for each policy. Percentile intervals from few seeds are too narrow,
because they cannot leave the span of what was seen: see `COVERAGE`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
RESAMPLES = 10_000

# How often a nominal 95 % interval of so many normally distributed values holds their true mean. Simulated, but for two
# and three: theirs is from the least to the greatest, which hold it unless both are on one side: 1 - 2 * 2^-n.
COVERAGE: Mapping[int, float] = MappingProxyType({2: 0.5, 3: 0.75, 4: 0.79, 5: 0.83, 10: 0.90})


def resampled_means(values: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Means of rows drawn with replacement: values [n] or [n, k] give [resamples] or [resamples, k]."""
    table = np.asarray(values, dtype=np.float64)
    picks = rng.integers(0, len(table), (resamples, len(table)))
    return np.asarray(table[picks].mean(axis=1))


def interval(
    values: ArrayLike, rng: np.random.Generator, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean of `values` [n]; NaN twice for fewer than two, or with a NaN.

    An infinite value (a seed that never got there) makes the upper end infinite once it is drawn often enough.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.size < 2 or np.isnan(table).any():
        return math.nan, math.nan
    means = resampled_means(table, rng, resamples)
    ends = [(1 - level) / 2, (1 + level) / 2]
    if np.isfinite(means).all():
        low, high = np.quantile(means, ends)
    else:  # between a finite and an infinite value there is nothing to interpolate
        low, high = np.quantile(means, ends, method="inverted_cdf")
    return float(low), float(high)


def share_of_wins(scores: NDArray[np.float64], *, split: bool = True) -> NDArray[np.float64]:
    """How often each column of `scores` [resamples, n] is the smallest of its row; with `split`, equals share a win.

    A row without a finite score has no winner.
    """
    least = scores.min(axis=-1, keepdims=True)
    wins = ((scores == least) & np.isfinite(least)).astype(np.float64)
    if split:
        wins /= np.maximum(wins.sum(axis=-1, keepdims=True), 1)
    return np.asarray(wins.mean(axis=0))
