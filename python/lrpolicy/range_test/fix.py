"""LRBench's FIX scan as a range test of its own: constant rates, a few epoch budgets, several seeds."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError, RunError
from lrpolicy.executors.base import Event, Executor
from lrpolicy.policies import Policy
from lrpolicy.range_test.bootstrap import Estimate, bootstrap
from lrpolicy.range_test.fix_scan import (
    Unlearned,
    coarse_rates,
    finer_rates,
    fix_range,
    further_rates,
    learned_top1,
)
from lrpolicy.range_test.result import RangeTestResult, SeedCurve, drained
from lrpolicy.range_test.trainings import Stage, Training, from_same_start, train_all
from lrpolicy.search import RateRange

# Accuracy of each seed by rate, NaN where it diverged.
Accuracies = dict[float, list[float]]


@dataclass(frozen=True)
class FixTest:
    """One scan: the job (its schedule, seed and max_iter are replaced), the iterations of an epoch, the epoch budgets.

    A constant rate's training passes through its shorter budgets on its way, so each rate is trained once for each
    seed, for the longest budget, and measured after every epoch. The interval is the longest budget's; a shorter one
    that disagrees is a note. `class_count` gives chance level.

    Raises:
        InputError: no budget, one below 1, no seed, a seed twice, or a job that resumes.
    """

    job: TrainingJob
    epoch: int
    class_count: int
    executor: Executor
    budgets: tuple[int, ...] = (1, 2, 4)
    seeds: tuple[int, ...] = (1, 2, 3)
    engine: str = "torch"

    def __post_init__(self) -> None:
        if not self.budgets or min(self.budgets) < 1:
            raise InputError("a scan needs budgets of 1 epoch or more", got=self.budgets or "none")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError("a range test needs seeds that differ", got=self.seeds or "none")
        from_same_start(self.job)

    @property
    def length(self) -> int:
        """The updates of one training."""
        return self.epoch * max(self.budgets)

    def run(self) -> RangeTestResult:
        """The whole scan. Raises RunError when no rate learns, with what was tried, or when a training fails."""
        return drained(self.steps())

    def steps(self) -> Generator[Stage | Event, None, RangeTestResult]:
        """`run`, yielding what happens as it happens."""
        found: dict[float, list[Training]] = {}
        found |= yield from self._train("coarse rates", coarse_rates())
        for _ in range(2):  # two decades beyond the usual rates, where the best one lies at their end
            if further := further_rates(self._medians(found)):
                found |= yield from self._train("further rates", further)
        if not all(map(math.isnan, self._medians(found).values())):
            found |= yield from self._train("finer rates", finer_rates(self._medians(found)))
        return self._judge(found)

    def _train(self, stage: str, rates: Sequence[float]) -> Generator[Stage | Event, None, dict[float, list[Training]]]:
        start = replace(from_same_start(self.job), max_iter=self.length, test_interval=self.epoch)
        jobs = [
            replace(start, schedule=Policy("fixed", base_lr=rate), seed=seed) for rate in rates for seed in self.seeds
        ]
        trainings = yield from train_all(self.executor, self.engine, stage, jobs)
        count = len(self.seeds)
        return {rate: trainings[place * count : (place + 1) * count] for place, rate in enumerate(rates)}

    def _accuracies(self, found: dict[float, list[Training]], budget: int) -> Accuracies:
        """The best Top-1 that each training reached within the budget."""

        def best(training: Training) -> float:
            return math.nan if training.diverged else learned_top1(training.measurements, within=budget * self.epoch)

        return {rate: [best(training) for training in trainings] for rate, trainings in sorted(found.items())}

    def _medians(self, found: dict[float, list[Training]]) -> dict[float, float]:
        return _medians(self._accuracies(found, max(self.budgets)))

    def _unlearned(self, found: dict[float, list[Training]]) -> Unlearned:
        seen = (m for trainings in found.values() for training in trainings for m in training.measurements)
        return Unlearned.of(seen, self.class_count)

    def _judge(self, found: dict[float, list[Training]]) -> RangeTestResult:
        longest = self._accuracies(found, max(self.budgets))
        unlearned = self._unlearned(found)
        interval = fix_range(_medians(longest), self.class_count, unlearned)

        def of_seeds(drawn: NDArray[np.int64]) -> tuple[float, ...]:
            medians = _medians({rate: [values[seed] for seed in drawn] for rate, values in longest.items()})
            try:
                again = fix_range(medians, self.class_count, unlearned)
            except RunError:
                return (math.nan,) * 3
            return again.low, again.best, again.high

        rates = tuple(longest)
        trainings = [training for several in found.values() for training in several]
        return RangeTestResult(
            method="fix",
            judged_by="accuracy",
            **bootstrap(len(self.seeds), ("low", "suggestion", "high"), of_seeds),
            valley=Estimate(math.nan),
            curves=tuple(
                SeedCurve(seed, rates, tuple(values[place] for values in longest.values()))
                for place, seed in enumerate(self.seeds)
            ),
            median=SeedCurve(0, rates, tuple(_medians(longest).values())),
            iterations=sum(training.iterations for training in trainings),
            notes=tuple(self._disagreements(found, interval)),
        )

    def _disagreements(self, found: dict[float, list[Training]], interval: RateRange) -> list[str]:
        """A sentence for each shorter budget with another interval: the paper expects the same pattern in all."""
        notes = []
        for budget in sorted(self.budgets)[:-1]:
            after = f"after {budget} epoch{'s' * (budget > 1)}"
            try:
                medians = _medians(self._accuracies(found, budget))
                shorter = fix_range(medians, self.class_count, self._unlearned(found))
            except RunError:
                notes.append(f"{after} no rate had learned anything yet")
                continue
            if shorter != interval:
                notes.append(
                    f"{after} the interval was [{shorter.low:g}, {shorter.high:g}], the best rate {shorter.best:g}"
                )
        return notes


def _medians(accuracies: Accuracies) -> dict[float, float]:
    """The median over seeds at each rate; a diverged seed counts as the worst, NaN says that half diverged or more."""
    middle = {rate: median(-math.inf if math.isnan(v) else v for v in values) for rate, values in accuracies.items()}
    return {rate: math.nan if value < 0 else value for rate, value in middle.items()}
