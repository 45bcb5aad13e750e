"""What a range test found, as plain values."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, TypeVar

from lrpolicy.executors.base import Event
from lrpolicy.range_test.bootstrap import Estimate
from lrpolicy.range_test.trainings import Stage
from lrpolicy.search import RateRange

Judge = Literal["loss", "accuracy"]
Method = Literal["smith", "fix"]
T = TypeVar("T")


@dataclass(frozen=True)
class SeedCurve:
    """One seed's curve: rates, and the loss or the validation Top-1 at each, NaN where the training had diverged."""

    seed: int
    rates: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class RangeTestResult:
    """The interval [low, high] of good rates, the suggestion in it, and how sure each is over seeds.

    `valley` is the baseline rule's suggestion (NaN where it has none). `curves` hold one curve for each seed, `median`
    their smoothed median over the same rates (NaN where half had diverged); both hold losses, or validation Top-1 in
    [0, 1]. `iterations` counts the updates spent; `notes` say in sentences what the numbers alone do not.
    """

    method: Method
    judged_by: Judge
    low: Estimate
    suggestion: Estimate
    high: Estimate
    valley: Estimate
    curves: tuple[SeedCurve, ...]
    median: SeedCurve
    iterations: int
    notes: tuple[str, ...] = ()

    @property
    def range(self) -> RateRange:
        """The interval as the evaluator takes it."""
        return RateRange(self.low.value, self.suggestion.value, self.high.value)


def drained(steps: Generator[Stage | Event, None, T]) -> T:
    """The value that the steps end with, for a caller who does not follow them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
