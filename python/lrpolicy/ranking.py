"""Ranks policies by what was measured (LRBench paper, section IV, part 3)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from lrpolicy.policies import Policy
from lrpolicy.records import Measurement, TrialOutcome, TrialSpec, TrialStatus


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds; NaN where there is nothing to say (one seed has no deviation)."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of the values; an empty sequence gives NaN twice."""
        mean = fmean(values) if values else math.nan
        return cls(mean, stdev(values) if len(values) > 1 else math.nan)


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
            Spread.of([e.top1 for e in seen]),
            Spread.of([e.top5 for e in seen]),
            Spread.of([e.average_confidence for e in seen]),
            Spread.of([e.confidence_deviation for e in seen]),
            Spread.of([e.confidence_deviation_across_classes for e in seen]),
            Spread.of([m.loss_difference for m in measurements]),
        )


@dataclass(frozen=True)
class RankedPolicy:
    """One row of the ranked table.

    `selection` is measured on the split that steers (validation, or the test set under the paper's protocol), `test` on
    the test set. With `parameter_count` and `iterations_at_best` these are the paper's eight metrics.
    """

    rank: int
    policy: Policy
    seeds: tuple[int, ...]
    diverged: int
    selection: Metrics
    test: Metrics
    parameter_count: int
    iterations_at_best: Spread


def rank(trials: Iterable[tuple[TrialSpec, TrialOutcome]]) -> list[RankedPolicy]:
    """Rank the policies of finished trials, the best first; ranks count from 1.

    The order is: policies that never diverged before those that did; then the higher mean Top-1 on the selection split;
    then fewer iterations to it; then the smaller mean loss difference; then the name, so that the order never depends
    on the order of the trials. Failed, interrupted and running trials are no result and are left out.
    """
    outcomes: dict[Policy, list[tuple[TrialSpec, TrialOutcome]]] = defaultdict(list)
    for spec, outcome in trials:
        if outcome.status in (TrialStatus.COMPLETED, TrialStatus.DIVERGED):
            outcomes[Policy.from_dict(spec.policy)].append((spec, outcome))
    rows = sorted((_row(policy, results) for policy, results in outcomes.items()), key=_order)
    return [_ranked(place, row) for place, row in enumerate(rows, start=1)]


def _row(policy: Policy, results: Sequence[tuple[TrialSpec, TrialOutcome]]) -> RankedPolicy:
    completed = [outcome for _, outcome in results if outcome.status is TrialStatus.COMPLETED]
    best = [outcome.best for outcome in completed if outcome.best is not None]
    return RankedPolicy(
        rank=0,
        policy=policy,
        seeds=tuple(sorted(spec.seed for spec, _ in results)),
        diverged=len(results) - len(completed),
        selection=Metrics.of(best),
        test=Metrics.of([outcome.test for outcome in completed if outcome.test is not None]),
        parameter_count=policy.parameter_count,
        iterations_at_best=Spread.of([measurement.iteration for measurement in best]),
    )


def _order(row: RankedPolicy) -> tuple[object, ...]:
    def last_if_nan(value: float) -> float:
        return math.inf if math.isnan(value) else value

    return (
        row.diverged > 0,
        last_if_nan(-row.selection.top1.mean),
        last_if_nan(row.iterations_at_best.mean),
        last_if_nan(row.selection.loss_difference.mean),
        str(row.policy),
    )


def _ranked(place: int, row: RankedPolicy) -> RankedPolicy:
    return RankedPolicy(**{**vars(row), "rank": place})
