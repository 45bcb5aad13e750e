"""Training a sweep: any engine, watched so that it stops once the loss has exploded.

The watch travels with the job into the executor's worker, as an engine around the engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from lrpolicy.engines import load_engine
from lrpolicy.engines.base import Engine, Observer, TrainingJob
from lrpolicy.records import Measurement, Task, TrialOutcome, TrialStatus

SWEEP_ENGINE = "lrpolicy.range_test.sweeping:SweepEngine"
# A loss has exploded above this multiple of its best, once it has also given back half of what it had gained.
EXPLOSION = 4.0
_GIVEN_BACK = 0.5
# The memory of the running mean that is watched, in iterations.
_MEMORY = 10


@dataclass(frozen=True)
class SweepJob(TrainingJob):
    """A job for the engine named `engine`, to be stopped when its loss explodes."""

    engine: str = "torch"


class SweepEngine:
    """Hands its jobs to the engine that they name; a training whose loss explodes ends as DIVERGED."""

    name = "sweep"

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}

    def describe(self, job: TrainingJob) -> Task:
        """The task of a job, as its engine describes it."""
        return self._engine(job).describe(job)

    def train(self, job: TrainingJob, observer: Observer) -> TrialOutcome:
        """Train until the end, divergence, explosion, or until the observer stops it."""
        watch = _Watch(observer)
        outcome = self._engine(job).train(job, watch)
        if watch.loss.exploded and outcome.status is TrialStatus.INTERRUPTED:
            return replace(outcome, status=TrialStatus.DIVERGED, message=watch.loss.message)
        return outcome

    def _engine(self, job: TrainingJob) -> Engine:
        name = job.engine if isinstance(job, SweepJob) else "torch"
        if name not in self._engines:
            self._engines[name] = load_engine(name)
        return self._engines[name]


@dataclass
class LossWatch:
    """Follows a loss, one value for each iteration, and says when it has exploded."""

    exploded: bool = False
    message: str = ""
    _mean: float = 0.0
    _weight: float = 0.0
    _first: float = math.nan
    _best: float = math.inf

    def see(self, loss: float) -> None:
        """Take in the next loss."""
        keep = 1.0 - 1.0 / _MEMORY
        self._mean, self._weight = keep * self._mean + (1.0 - keep) * loss, keep * self._weight + 1.0 - keep
        mean = self._mean / self._weight
        if math.isnan(self._first):
            self._first = mean
        self._best = min(self._best, mean)
        given_back = self._best + _GIVEN_BACK * (self._first - self._best)
        # `not <=`: a mean that is NaN has exploded too.
        if not mean <= max(EXPLOSION * self._best, given_back):
            self.exploded = True
            self.message = f"the loss exploded: {mean:.4g} after a best of {self._best:.4g}"


@dataclass
class _Watch:
    """An observer that passes everything on, and asks for the end once the loss has exploded."""

    observer: Observer
    loss: LossWatch = field(default_factory=LossWatch)

    def displayed(self, iteration: int, loss: float, rate: float) -> None:
        self.loss.see(loss)
        self.observer.displayed(iteration, loss, rate)

    def measured(self, measurement: Measurement) -> None:
        self.observer.measured(measurement)

    def saved(self, path: Path) -> None:
        self.observer.saved(path)

    def noted(self, text: str) -> None:
        self.observer.noted(text)

    def stopping(self) -> bool:
        return self.loss.exploded or self.observer.stopping()
