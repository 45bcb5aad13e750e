"""Ranks policies by what was measured (LRBench paper, section IV, part 3)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrpolicy.errors import RunError
from lrpolicy.goals import COLUMNS, Goal, find_goal, rounded
from lrpolicy.records import Measurement, TrialOutcome, TrialSpec, TrialStatus
from lrpolicy.stateful import AnyPolicy, policy_from_dict


class Result(NamedTuple):
    """A finished trial. `measurements` are those on the split that steers, by iteration; only targets need them."""

    spec: TrialSpec
    outcome: TrialOutcome
    measurements: Sequence[Measurement] = ()


@dataclass(frozen=True)
class Spread:
    """One value for each seed, with their mean and sample standard deviation."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of the values."""
        return cls(tuple(values))

    @property
    def mean(self) -> float:
        """The mean; NaN without values."""
        return fmean(self.values) if self.values else math.nan

    @property
    def deviation(self) -> float:
        """The sample standard deviation (divisor n - 1); NaN for fewer than two values, or where one is not finite."""
        return stdev(self.values) if len(self.values) > 1 and all(map(math.isfinite, self.values)) else math.nan


@dataclass(frozen=True)
class Metrics:
    """Six of the eight metrics (LRBench paper, section III) on one split, over seeds. Ratios lie in [0, 1]."""

    top1: Spread
    top5: Spread
    average_confidence: Spread
    confidence_deviation: Spread
    confidence_deviation_across_classes: Spread
    loss_difference: Spread

    @classmethod
    def of(cls, measurements: Sequence[Measurement]) -> Metrics:
        """The metrics of one measurement for each seed."""
        seen = [measurement.evaluation for measurement in measurements]
        return cls(
            Spread.of(e.top1 for e in seen),
            Spread.of(e.top5 for e in seen),
            Spread.of(e.average_confidence for e in seen),
            Spread.of(e.confidence_deviation for e in seen),
            Spread.of(e.confidence_deviation_across_classes for e in seen),
            Spread.of(m.loss_difference for m in measurements),
        )


@dataclass(frozen=True)
class RankedPolicy:
    """One row of the ranked table.

    `selection` is measured on the split that steers (validation, or the test set under the paper's protocol), `test` on
    the test set. With `parameter_count` and `iterations_at_best` these are the paper's eight metrics; `loss` is the one
    on the split that steers. `columns` holds what goals ask for, by the names of `goals.COLUMNS` (the two of a target
    only where one was given); all its values are in the order of the completed trials. `score` is the goal's: the
    smaller, the better.
    """

    rank: int
    policy: AnyPolicy
    seeds: tuple[int, ...]
    diverged: int
    selection: Metrics
    test: Metrics
    parameter_count: int
    iterations_at_best: Spread
    loss: Spread
    columns: Mapping[str, Spread]
    score: float = math.nan

    @property
    def is_sound(self) -> bool:
        """Whether no trial diverged and there is something to compare."""
        return not self.diverged and bool(self.selection.top1.values)


# What decides between equal scores, in this order; after these, the name.
TIE_BREAKS: Mapping[str, Callable[[RankedPolicy], float]] = MappingProxyType(
    {
        "the higher mean Top-1": lambda row: -float(rounded(row.selection.top1.mean)),
        "fewer iterations to its best": lambda row: row.iterations_at_best.mean,
        "the smaller loss difference": lambda row: row.selection.loss_difference.mean,
    }
)


def rank(trials: Iterable[Result | tuple[TrialSpec, TrialOutcome]], goal: Goal | None = None) -> list[RankedPolicy]:
    """Rank the policies of finished trials under a goal (by default the accuracy), the best first, from 1.

    The order is: policies that never diverged before those that did; then the goal's score; then `TIE_BREAKS`; then the
    name, so that the order never depends on the order of the trials. Failed, interrupted and running trials are no
    result and are left out.
    """
    goal = goal or find_goal("accuracy")
    outcomes: dict[AnyPolicy, list[Result]] = defaultdict(list)
    for result in (Result(*trial) for trial in trials):
        if result.outcome.status in (TrialStatus.COMPLETED, TrialStatus.DIVERGED):
            outcomes[policy_from_dict(result.spec.policy)].append(result)
    rows = [_row(policy, results, goal.target) for policy, results in outcomes.items()]
    # Policies that diverged stand below the others, and compete among themselves alone.
    for sound in (True, False):
        group = [index for index, row in enumerate(rows) if row.is_sound is sound]
        for index, score in zip(group, goal.score(means_of([rows[index] for index in group])), strict=True):
            rows[index] = replace(rows[index], score=float(score))
    return [replace(row, rank=place) for place, row in enumerate(sorted(rows, key=_order), start=1)]


def check_winner(ranking: Sequence[RankedPolicy], more: str = "") -> None:
    """Raise RunError, whose message ends with `more`, where the first policy is none to name a winner.

    It is none where it finished no trial (then none did), and where no trial of it became better than it began.
    """
    if not ranking or math.isnan(ranking[0].selection.top1.mean):
        raise RunError(f"no policy finished a trial: nothing to rank{more}")
    if not any(ranking[0].iterations_at_best.values):
        first = f'the first, "{ranking[0].policy.name}", was best before its first update'
        raise RunError(f"no policy won: {first}, so it learned nothing{more}")


def means_of(rows: Sequence[RankedPolicy]) -> dict[str, NDArray[np.float64]]:
    """Column name -> the mean of each row [rows], rounded to be compared, for the columns that all rows know."""
    known = [name for name in COLUMNS if all(name in row.columns for row in rows)]
    return {name: rounded([row.columns[name].mean for row in rows]) for name in known}


def _row(policy: AnyPolicy, results: Sequence[Result], target: float | None) -> RankedPolicy:
    completed = [result for result in results if result.outcome.status is TrialStatus.COMPLETED]
    best = [result.outcome.best for result in completed if result.outcome.best is not None]
    selection = Metrics.of(best)
    iterations = Spread.of(measurement.iteration for measurement in best)
    columns = {name: spread for name, spread in vars(selection).items() if name in COLUMNS}
    columns["iterations"] = iterations
    if target is not None:
        reached = [_first_at(result.measurements, target) for result in completed if result.outcome.best is not None]
        columns["iterations_to_target"] = Spread.of(m.iteration if m else math.inf for m in reached)
        columns["seconds_to_target"] = Spread.of(m.seconds if m else math.inf for m in reached)
    return RankedPolicy(
        rank=0,
        policy=policy,
        seeds=tuple(sorted(result.spec.seed for result in results)),
        diverged=len(results) - len(completed),
        selection=selection,
        test=Metrics.of([result.outcome.test for result in completed if result.outcome.test is not None]),
        parameter_count=policy.parameter_count,
        iterations_at_best=iterations,
        loss=Spread.of(measurement.evaluation.loss for measurement in best),
        columns=columns,
    )


def _first_at(measurements: Iterable[Measurement], target: float) -> Measurement | None:
    """The first measurement that reaches the target."""
    return next((measurement for measurement in measurements if measurement.evaluation.top1 >= target), None)


def sort_key(value: float) -> float:
    """A value as it is ordered by: what is not defined (NaN) comes last, and is equal to itself."""
    return math.inf if math.isnan(value) else value


def _order(row: RankedPolicy) -> tuple[object, ...]:
    keys = (row.score, *(key(row) for key in TIE_BREAKS.values()))
    return (row.diverged > 0, *map(sort_key, keys), str(row.policy))
