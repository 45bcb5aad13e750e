"""The range of good fixed rates, found by LRBench's FIX scan (section V-A): from large to small by tens, then finer.

The scan trains a few short trials with constant rates. This module only decides which rates to try and what the results
say; whoever calls it trains them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median
from typing import NamedTuple

from lrpolicy.errors import RunError
from lrpolicy.records import Measurement
from lrpolicy.search import SCAN_RATES, RateRange, rounded

# A rate is good while it keeps this share of what the best rate learned above chance.
GOOD_SHARE = 0.9
# Below this gain over chance and over the untrained net nothing has been learned, nor below so many standard deviations
# of a Top-1 measured on so few examples (that of a binomial share): the best of all rates is a lucky one.
LEAST_GAIN = 0.02
LEAST_SIGNIFICANCE = 3.0
# A trial of the scan takes this share of the training that the rates are for. Which rates are good depends on how long
# one trains, and in a few updates none shows: what took less than this share of a trial's length says nothing.
TRIAL_SHARE = 1 / 4
LEAST_SHARE = 1 / 3


class Unlearned(NamedTuple):
    """What a net reaches that has learned nothing.

    `untrained` is the Top-1 before the first update (NaN: not measured), `constant` the best Top-1 seen of a net that
    was right in one class alone, as one is that always answers the most frequent class (0: not seen). `examples` says
    on how many each Top-1 of the scan was measured (0: not known).
    """

    untrained: float = math.nan
    examples: int = 0
    constant: float = 0.0

    @classmethod
    def of(cls, measurements: Iterable[Measurement], class_count: int, examples: int = 0) -> Unlearned:
        """What the measurements of a scan's trials say, the median over them; `examples` where they do not know."""
        seen = list(measurements)
        first = [measurement.evaluation.top1 for measurement in seen if measurement.iteration == 0]
        counts = [measurement.evaluation.example_count for measurement in seen]
        of_one_class = (m.evaluation.top1 for m in seen if m.evaluation.classes_without_hit == class_count - 1)
        return cls(
            median(first) if first else math.nan, max(counts, default=0) or examples, max(of_one_class, default=0.0)
        )

    def least_learned(self, chance: float) -> float:
        """The Top-1 from which on something has been learned."""
        level = chance if math.isnan(self.untrained) else max(chance, self.untrained)
        deviation = math.sqrt(level * (1.0 - level) / self.examples) if self.examples else 0.0
        return min(1.0, level + max(LEAST_GAIN, LEAST_SIGNIFICANCE * deviation))


def learned_top1(measurements: Iterable[Measurement], within: float = math.inf) -> float:
    """The best Top-1 after the first update and up to the iteration `within`; NaN where nothing was measured there.

    Before the first update all rates are alike, so that counts for none.
    """
    return max((m.evaluation.top1 for m in measurements if 0 < m.iteration <= within), default=math.nan)


def trial_length(max_iter: int) -> int:
    """The iterations of a trial of the scan, for trainings of `max_iter`; at least 1."""
    return max(1, int(max_iter * TRIAL_SHARE))


def coarse_rates() -> tuple[float, ...]:
    """The first rates to try."""
    return SCAN_RATES


def finer_rates(accuracy: Mapping[float, float]) -> tuple[float, ...]:
    """Rates half a decade around the best one and above the highest good one, not tried yet.

    `accuracy` maps a rate to the best Top-1 in [0, 1] that it reached, NaN where the training diverged.
    """
    best = _best(accuracy)
    highest = max(rate for rate in accuracy if _is_good(accuracy, rate, chance=0.0))
    step = math.sqrt(10.0)
    rates = (rounded(best * step, 2), rounded(best / step, 2), rounded(highest * step, 2))
    return tuple(rate for rate in dict.fromkeys(rates) if rate not in accuracy)


def further_rates(accuracy: Mapping[float, float]) -> tuple[float, ...]:
    """The next power of ten beyond the rates tried, where the best of them is the last on that side; else none."""
    best, rates = _best(accuracy), sorted(accuracy)
    if math.isnan(accuracy[best]):
        return (rounded(rates[0] / 10.0, 2),)
    beyond = {rates[0]: rates[0] / 10.0, rates[-1]: rates[-1] * 10.0}
    return (rounded(beyond[best], 2),) if best in beyond else ()


def fix_range(
    accuracy: Mapping[float, float],
    class_count: int,
    unlearned: Unlearned = Unlearned(),  # noqa: B008 (a constant)
) -> RateRange:
    """The contiguous run of good rates around the best one; `accuracy` is that after the first update.

    Raises:
        RunError: no rate learned anything; the message lists what was tried.
    """
    chance = max(1.0 / class_count, unlearned.constant)
    best = _best(accuracy)
    least = unlearned.least_learned(chance)
    if not accuracy[best] >= least:
        before = "" if math.isnan(unlearned.untrained) else f", the untrained net has {_percent(unlearned.untrained)}"
        raise RunError(
            "no fixed rate learns anything: "
            + ", ".join(f"{rate:g} -> {_percent(value)}" for rate, value in sorted(accuracy.items()))
            + f" Top-1 (chance is {_percent(chance)}{before}; below {_percent(least)} it may be luck); "
            "train longer, or check the net and its data"
        )
    rates = sorted(accuracy)
    low = high = rates.index(best)
    while low > 0 and _is_good(accuracy, rates[low - 1], chance):
        low -= 1
    while high + 1 < len(rates) and _is_good(accuracy, rates[high + 1], chance):
        high += 1
    return RateRange(rates[low], best, rates[high])


def _best(accuracy: Mapping[float, float]) -> float:
    """The best rate, of equals the largest: the scan goes from large to small, and meets that one first."""
    return max(accuracy, key=lambda rate: (-1.0 if math.isnan(accuracy[rate]) else accuracy[rate], rate))


def _is_good(accuracy: Mapping[float, float], rate: float, chance: float) -> bool:
    return rate == _best(accuracy) or accuracy[rate] - chance >= GOOD_SHARE * (accuracy[_best(accuracy)] - chance)


def _percent(value: float) -> str:
    return "diverged" if math.isnan(value) else f"{100 * value:.1f} %"
