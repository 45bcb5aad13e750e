"""Smith's range test: train while the rate rises, and read from the curves where training works."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError, RunError
from lrpolicy.executors.base import Event, Executor
from lrpolicy.range_test import curves
from lrpolicy.range_test.bootstrap import Estimate, bootstrap
from lrpolicy.range_test.curves import Floats
from lrpolicy.range_test.result import Judge, RangeTestResult, SeedCurve, drained
from lrpolicy.range_test.sweeping import SWEEP_ENGINE, SweepJob
from lrpolicy.range_test.trainings import Stage, Training, from_same_start, train_all
from lrpolicy.sweeps import Sweep

# A sweep judged by accuracy is measured about this often.
MEASUREMENTS = 50
LEAST_ITERATIONS = 30


@dataclass(frozen=True)
class SmithTest:
    """One range test: the job (solver, net, data; its schedule, seed and max_iter are replaced), the sweep, the seeds.

    `by` judges each rate by the loss of its iteration, or by the Top-1 on the validation split, measured some fifty
    times (after every iteration of a short sweep).

    Raises:
        InputError: fewer than 30 iterations, no seed, a seed twice, a job that resumes, or momentum outside [0, 1).
    """

    job: TrainingJob
    sweep: Sweep
    executor: Executor
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    by: Judge = "loss"
    engine: str = "torch"

    def __post_init__(self) -> None:
        if self.sweep.iterations < LEAST_ITERATIONS:
            raise InputError(f"a range test needs {LEAST_ITERATIONS} iterations or more", got=self.sweep.iterations)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError("a range test needs seeds that differ", got=self.seeds or "none")
        from_same_start(self.job)

    @property
    def length(self) -> int:
        """The updates of one training."""
        return self.sweep.iterations

    def run(self) -> RangeTestResult:
        """The whole test. Raises RunError when there is no interval, with what was tried, or when a training fails."""
        return drained(self.steps())

    def steps(self) -> Generator[Stage | Event, None, RangeTestResult]:
        """`run`, yielding what happens as it happens."""
        trainings = yield from train_all(
            self.executor, SWEEP_ENGINE, "sweep", [self.sweep_job(seed) for seed in self.seeds]
        )
        points = self._points()
        values = np.array([self._values(training, points) for training in trainings])
        return self._judge(self.sweep.rates(points - 1), values, trainings)

    def sweep_job(self, seed: int) -> SweepJob:
        """The training of one seed: the rate rises, every iteration's loss is shown, nothing is saved."""
        start = from_same_start(self.job)
        solver = start.solver.with_policy(start.solver.policy, display=1, average_loss=1)
        job = SweepJob(**{**vars(start), "solver": solver, "schedule": self.sweep, "seed": seed}, engine=self.engine)
        return replace(job, max_iter=self.sweep.iterations, test_interval=self._measured_every)

    @property
    def _measured_every(self) -> int:
        return 0 if self.by == "loss" else max(1, self.sweep.iterations // MEASUREMENTS)

    def _points(self) -> NDArray[np.int64]:
        """The counts of updates after which there is a value."""
        step = self._measured_every or 1
        return np.arange(step, self.sweep.iterations + 1, step)

    def _values(self, training: Training, points: NDArray[np.int64]) -> list[float]:
        if self.by == "loss":
            found = dict(training.losses)
        else:
            found = {m.iteration: m.evaluation.top1 for m in training.measurements}
        return [found.get(point, math.nan) for point in points.tolist()]

    def _judge(self, rates: Floats, values: Floats, trainings: Sequence[Training]) -> RangeTestResult:
        costs = values if self.by == "loss" else 1.0 - values
        smooth = np.array([curves.smoothed(curve) for curve in costs])
        median = curves.median_over_seeds(smooth)
        lag = curves.momentum_lag(self.job.solver.message.momentum) / (self._measured_every or 1)
        try:
            found = curves.find_ends(rates, median, curves.standard_error(costs), lag)
        except RunError as error:
            raise RunError(f"{error} ({self.by}); {self._tried(trainings)}") from None

        shown = np.where(np.isfinite(median), median if self.by == "loss" else 1.0 - median, np.nan)
        axis = tuple(rates.tolist())
        return RangeTestResult(
            method="smith",
            judged_by=self.by,
            **self._estimates(rates, costs, smooth, lag),
            curves=tuple(SeedCurve(s, axis, tuple(v)) for s, v in zip(self.seeds, values.tolist(), strict=True)),
            median=SeedCurve(0, axis, tuple(shown.tolist())),
            iterations=sum(training.iterations for training in trainings),
            notes=() if found.edge_seen else (self._no_edge(),),
        )

    def _estimates(self, rates: Floats, costs: Floats, smooth: Floats, lag: float) -> dict[str, Estimate]:
        """The three ends and the baseline, each with what other seeds would have said."""
        valleys = np.log([curves.valley(rates, curve) for curve in costs])

        def of_seeds(drawn: NDArray[np.int64]) -> tuple[float, ...]:
            known = valleys[drawn][~np.isnan(valleys[drawn])]
            valley = float(np.exp(np.median(known))) if known.size else math.nan
            try:
                ends = curves.find_ends(rates, curves.median_over_seeds(smooth[drawn]), 0.0, lag)
            except RunError:
                return math.nan, math.nan, math.nan, valley
            return ends.low, ends.suggestion, ends.high, valley

        return bootstrap(len(self.seeds), ("low", "suggestion", "high", "valley"), of_seeds)

    def _tried(self, trainings: Sequence[Training]) -> str:
        """What was tried, for the one who found nothing."""
        sweep = self.sweep
        ends = [
            f"seed {t.job.seed} diverged at rate {sweep.rate(max(0, t.iterations - 1)):.3g}"
            if t.diverged
            else f"seed {t.job.seed} reached the end"
            for t in trainings
        ]
        return (
            f"tried rates from {sweep.low:g} to {sweep.high:g} ({sweep.scale}) in {sweep.iterations} iterations: "
            + ", ".join(ends)
            + "; try other rates or more iterations, or check the net and its data"
        )

    def _no_edge(self) -> str:
        return (
            f"training still works at {self.sweep.high:g}, the highest rate tried: the interval may reach further up; "
            "sweep to a higher rate to see"
        )
