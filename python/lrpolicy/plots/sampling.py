"""From a schedule to the points a picture needs: few, yet none of the peaks lost."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lrpolicy.errors import InputError
from lrpolicy.schedules import Schedule

Floats = NDArray[np.float64]
Points = tuple[Floats, Floats]

# Beyond this many iterations a schedule is read at evenly spaced ones.
MOST_READ = 1 << 22
# A range of rates is drawn on a log axis when its top lies this far above what a curve spends half its time below.
LOG_FROM = 30.0
# How far below the top a log axis reaches: what lies deeper no longer trains anything.
LOG_DEPTH = 1e6


def read_rates(schedule: Schedule, max_iter: int) -> Points:
    """Iterations 0 .. max_iter - 1 (every one, up to four million of them) and their rates, as float64 [n]."""
    if max_iter < 1:
        raise InputError("max_iter must be 1 or more", got=max_iter)
    if max_iter <= MOST_READ:
        return np.arange(max_iter, dtype=np.float64), schedule.rates(range(max_iter))
    iterations = np.linspace(0, max_iter - 1, MOST_READ).astype(np.int64)
    return iterations.astype(np.float64), schedule.rates(iterations)


def envelope(points: Points, bins: int) -> Points:
    """At most 2 * bins of the points: each bin's lowest and highest, in their order of time.

    A cycle shorter than a pixel becomes a filled band, as it should, and never the false long cycle that plain
    thinning shows.
    """
    x, y = points
    if len(x) <= 2 * bins:
        return points
    edges = np.linspace(0, len(x), bins + 1).astype(np.int64)[:-1]
    lowest = _first_of_each(np.minimum.reduceat(y, edges), y, edges)
    highest = _first_of_each(np.maximum.reduceat(y, edges), y, edges)
    keep = np.unique(np.concatenate([[0], lowest, highest, [len(x) - 1]]))
    return x[keep], y[keep]


def _first_of_each(extremes: Floats, y: Floats, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each bin the first index in y that holds the bin's extreme."""
    sizes = np.diff(np.append(edges, len(y)))
    hits = np.flatnonzero(y == np.repeat(extremes, sizes))
    return hits[np.searchsorted(hits, edges)]


def wants_log(curves: Iterable[Floats]) -> bool:
    """Whether rates span so many decades that a linear axis would hide a curve on its bottom line."""
    positive = [curve[curve > 0] for curve in curves]
    positive = [curve for curve in positive if curve.size]
    if not positive:
        return False
    top = max(float(curve.max()) for curve in positive)
    return top > LOG_FROM * min(float(np.median(curve)) for curve in positive)
