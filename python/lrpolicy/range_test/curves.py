"""What a sweep's curves say: smoothing, the median over seeds, the ends of the good interval, the valley.

Everything here is arithmetic on arrays. A curve holds one value for each point of a sweep, lower is better (a loss, or
1 - Top-1), NaN from where the training had diverged. Points are equally spaced in the sweep's own scale, so windows
are shares of the sweep: the same at 50 points and at 5000, on a linear and on a logarithmic axis.

The rule. One training's curve is noisy, and that noise decides where its slope is steepest: rules that look for the
steepest descent jump over decades from seed to seed. What seeds agree on is the *edge*, the rate at which the curve
leaves its bottom. The rule smooths each seed's curve, takes the median over seeds, finds the edge, and steps back from
it twice: by iterations, because momentum shows a rate late (the rate has risen on by then, and the more so the shorter
the sweep), and by a factor, because a whole training bears less than a few steps. The factors were chosen on toy tasks
and checked on others (benchmarks/bench_range_test.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrpolicy.errors import RunError

Floats = NDArray[np.float64]

# Standard deviation of the smoothing window, as a share of the sweep.
WINDOW = 0.03
# Of these, how far the window reaches: what lies beyond would add less than a rounding.
REACH = 9.0
# The first part of the sweep, in which nothing has been learned yet.
START = 0.05
# The curve leaves its bottom when it has given back this share of what it had gained ...
BOTTOM = 0.15
# ... and has started to learn when it has gained this share.
LEARNING = 0.2
# From the edge down to the largest rate for a training, and to the suggestion.
HIGH_BELOW_EDGE = 2.0
SUGGESTION_BELOW_EDGE = 5.0
# A short sweep shows learning late: the interval spans a decade at least.
LEAST_SPAN = 10.0
# A gain below this share of the starting value, or below this many standard errors, is none.
LEAST_GAIN = 0.01
LEAST_SIGNIFICANCE = 5.0


@dataclass(frozen=True)
class Ends:
    """Where training works, as rates. `edge` is what makes the median curve leave its bottom, `edge_seen` whether it
    does within the sweep. low <= suggestion <= high <= edge.
    """

    low: float
    suggestion: float
    high: float
    edge: float
    edge_seen: bool


def smoothed(curve: Floats) -> Floats:
    """The curve under a Gaussian window, of the same length; NaN where the curve is, and no value looks past that.

    By how much a loss explodes says nothing, yet under the window it would hide what came before: values stand at most
    as far above the curve's start as its lowest value lies below.
    """
    alive = _alive(curve)
    if not alive:
        return np.full(len(curve), np.nan)
    start = float(np.median(curve[: min(alive, _first(len(curve)))]))
    curve = np.minimum(curve, 2.0 * start - float(curve[:alive].min()))
    window = max(1.0, WINDOW * len(curve))
    reach = min(alive - 1, math.ceil(REACH * window))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / window) ** 2)
    size = alive + 2 * reach
    spectra = np.fft.rfft([curve[:alive], np.ones(alive)], size) * np.fft.rfft(weights, size)
    sums, norms = np.fft.irfft(spectra, size)[:, reach : reach + alive]
    return np.concatenate([sums / norms, np.full(len(curve) - alive, np.nan)])


def median_over_seeds(curves: Floats) -> Floats:
    """The median (points,) of smoothed curves (seeds, points); infinite where half of the seeds had diverged."""
    return np.asarray(np.median(np.where(np.isnan(curves), np.inf, curves), axis=0))


def standard_error(curves: Floats) -> float:
    """How far the median of the smoothed curves can be off by the noise of single values; curves (seeds, points)."""
    residuals = np.concatenate([curve[:n] - smoothed(curve)[:n] for curve in curves if (n := _alive(curve))] or [[]])
    if not residuals.size:
        return 0.0
    deviation = 1.4826 * float(np.median(np.abs(residuals)))  # of a normal distribution, unmoved by outliers
    averaged = 2.0 * np.sqrt(np.pi) * max(1.0, WINDOW * curves.shape[1]) * len(curves)
    return deviation / float(np.sqrt(averaged))


def momentum_lag(momentum: float) -> float:
    """After how many iterations half of a rate's effect has come out of momentum's memory; `momentum` in [0, 1)."""
    return math.log(0.5) / math.log(momentum) if momentum > 0 else 0.0


def find_ends(rates: Floats, median: Floats, error: float, lag: float) -> Ends:
    """The interval that a median curve (points,) shows `lag` points late; `error` is its `standard_error`.

    Raises:
        RunError: the curve diverges at once, or gains nothing.
    """
    first = _first(len(median))
    if not np.isfinite(median[:first]).all():
        raise RunError(f"everything diverges: half of the trainings did not get past a rate of {rates[first - 1]:.3g}")
    start, bottom = float(np.median(median[:first])), int(median.argmin())
    gain = start - float(median[bottom])
    if bottom < first or gain <= max(LEAST_GAIN * abs(start), LEAST_SIGNIFICANCE * error):
        raise RunError(f"nothing learns: the median over seeds falls from {start:.4g} to {median[bottom]:.4g} only")
    edge = _last_of_run(median <= median[bottom] + BOTTOM * gain, bottom, +1)
    low = _last_of_run(median <= start - LEARNING * gain, bottom, -1)
    cause = float(np.exp(np.interp(edge - lag, np.arange(len(rates)), np.log(rates))))
    high = cause / HIGH_BELOW_EDGE
    return Ends(
        low=min(float(rates[low]), high / LEAST_SPAN),
        suggestion=cause / SUGGESTION_BELOW_EDGE,
        high=high,
        edge=cause,
        edge_seen=edge + 1 < len(rates),
    )


def valley(rates: Floats, curve: Floats) -> float:
    """The baseline: the rate at two thirds of the longest valley, the longest run of ever lower values (gaps allowed).

    NaN where the curve never falls. This is what fastai documents for its suggestion of that name.
    """
    values = curve[: _alive(curve)]
    length, begin = np.ones(len(values), np.int64), np.arange(len(values))
    for place in range(1, len(values)):
        before = np.flatnonzero(values[:place] > values[place])
        if before.size:
            best = before[length[before].argmax()]
            length[place], begin[place] = length[best] + 1, begin[best]
    if not len(values) or length.max() < 2:
        return float("nan")
    end = int(length.argmax())
    return float(rates[begin[end] + 2 * (end - begin[end]) // 3])


def _first(points: int) -> int:
    """How many points the start of a sweep has."""
    return max(3, round(START * points))


def _alive(curve: Floats) -> int:
    """How many values come before the first that is not finite."""
    finite = np.isfinite(curve)
    return len(curve) if finite.all() else int(finite.argmin())


def _last_of_run(inside: NDArray[np.bool_], place: int, step: int) -> int:
    """The last index of the run of true values around `place`, in the direction of `step`."""
    while 0 <= place + step < len(inside) and inside[place + step]:
        place += step
    return place
