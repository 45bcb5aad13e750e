"""A training function of the user's own as an engine: `train_fn(schedule, trial)`, in any framework."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from statistics import fmean

from numpy.typing import ArrayLike

from lrpolicy.engines.base import Observer, TrainingJob
from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.metrics import evaluate
from lrpolicy.records import TRAIN_LOSSES, Evaluation, Measurement, Protocol, Split, Task, TrialOutcome, TrialStatus
from lrpolicy.schedules import Schedule
from lrpolicy.stateful import AdaptivePolicy


class TrialEnded(BaseException):
    """Raised by `report` to leave a training that should stop. No error, so that nobody catches it as one."""


class FunctionTrial:
    """One training, as the training function sees it.

    `seed` is what all its randomness should come from; `max_iter` is how many updates to do. Iterations count updates
    done: after the first update it is 1.
    """

    def __init__(self, job: TrainingJob, schedule: Schedule, observer: Observer) -> None:
        self.seed, self.max_iter = job.seed, job.max_iter or 0
        self._schedule, self._observer = schedule, observer
        self._steering = Split.TEST if job.protocol is Protocol.PAPER else Split.VALIDATION
        self._started = time.monotonic()
        self._losses: deque[float] = deque(maxlen=TRAIN_LOSSES)  # since the measurement before, at most
        self._reached: dict[Split, int] = {}
        self._divergence = ""
        self._best: Measurement | None = None
        self._tests: list[Measurement] = []

    @property
    def should_stop(self) -> bool:
        """Whether the training should return now: it diverged, or the run is being stopped."""
        return bool(self._divergence) or self._observer.stopping()

    def report(
        self,
        iteration: int,
        loss: float,
        top1: float | None = None,
        *,
        probabilities: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        split: str = "validation",
    ) -> None:
        """Report a loss, and for "validation" and "test" the accuracy too.

        `loss` is the mean over the split, for "train" that of the last minibatch: a measurement has the mean of at most
        20 of these, since the measurement before. Give either `top1`, a ratio in
        [0, 1], or the `probabilities` (n, classes) with their `labels` (n,): these give all metrics. A loss or a
        probability that is not finite ends the trial as diverged. A test reported at the iteration of the best
        validation is the one that counts, else the last one.

        Raises:
            InputError: an unknown split, an iteration outside [0, max_iter] or not above the split's last one, a value
                outside its range, or nothing to measure.
        """
        where = self._split(split)
        self._check_iteration(where, iteration)
        if not math.isfinite(loss):
            self._divergence = f"{where} loss is {float(loss)} at iteration {iteration}"
        elif where is Split.TRAIN:
            self._losses.append(float(loss))
            self._observer.displayed(iteration, float(loss), self._rate(iteration))
        elif math.isnan((evaluation := _evaluation(float(loss), top1, probabilities, labels)).top1):
            self._divergence = f"{where} probabilities are not finite at iteration {iteration}"
        else:
            self._measured(iteration, where, evaluation)
        if self.should_stop:
            raise TrialEnded

    def outcome(self) -> TrialOutcome:
        """How the trial ended, once the function has returned. Raises InputError where it measured nothing."""
        iterations, seconds = max(self._reached.values(), default=0), time.monotonic() - self._started
        if self._divergence:
            return TrialOutcome(TrialStatus.DIVERGED, iterations, seconds, self._best, message=self._divergence)
        if self._observer.stopping():
            return TrialOutcome(TrialStatus.INTERRUPTED, iterations, seconds, self._best)
        if self._best is None:
            raise InputError(
                f"the training function returned without a report of split {self._steering}",
                remedy="call trial.report(iteration, loss, top1) at least once, at the end",
            )
        test = next((m for m in self._tests if m.iteration == self._best.iteration), None)
        test = test or (self._tests[-1] if self._tests else None)
        return TrialOutcome(TrialStatus.COMPLETED, iterations, seconds, self._best, test)

    def _measured(self, iteration: int, split: Split, evaluation: Evaluation) -> None:
        train_loss = fmean(self._losses) if self._losses else math.nan
        seconds = time.monotonic() - self._started
        measurement = Measurement(iteration, split, self._rate(iteration), train_loss, evaluation, seconds)
        if split is self._steering:
            self._losses.clear()
            if self._best is None or evaluation.top1 > self._best.evaluation.top1:
                self._best = measurement
        if split is Split.TEST:
            self._tests.append(measurement)
        self._observer.measured(measurement)

    def _rate(self, iteration: int) -> float:
        return float(self._schedule.rate(max(0, iteration - 1)))

    def _split(self, name: str) -> Split:
        known = [str(split) for split in Split]
        if name not in known:
            raise InputError(f'split "{name}" is unknown', remedy=did_you_mean(str(name), known))
        return Split(name)

    def _check_iteration(self, split: Split, iteration: int) -> None:
        last = self._reached.get(split, -1)
        if not last < iteration <= self.max_iter:
            rule = f"an iteration of split {split} must lie above the last one ({last}) and not above max_iter"
            raise InputError(f"{rule} = {self.max_iter}", got=iteration)
        self._reached[split] = int(iteration)


TrainFunction = Callable[[Schedule, FunctionTrial], object]


class FunctionEngine:
    """Runs a training function. It describes no task: whoever tunes a function names its task."""

    name = "function"

    def __init__(self, function: TrainFunction) -> None:
        self._function = function

    def describe(self, job: TrainingJob) -> Task:
        """Not known: raises InputError."""
        raise InputError("the task of a training function is not in a file", remedy="use lrpolicy.tune(train_fn, ...)")

    def train(self, job: TrainingJob, observer: Observer) -> TrialOutcome:
        """Call the function and gather what it reports. Its own exceptions pass through."""
        if job.schedule is None:
            raise InputError("a training function needs a schedule")
        if isinstance(job.schedule, AdaptivePolicy):
            rule = f'"{job.schedule.name}" observes the training, which a training function of your own does not show'
            raise InputError(rule, remedy="take one of the policies that are functions of the iteration")
        trial = FunctionTrial(job, job.schedule, observer)
        with contextlib.suppress(TrialEnded):
            self._function(job.schedule, trial)
        return trial.outcome()


def _evaluation(
    loss: float, top1: float | None, probabilities: ArrayLike | None, labels: ArrayLike | None
) -> Evaluation:
    if (top1 is None) == (probabilities is None) or (probabilities is None) != (labels is None):
        raise InputError("a report needs either top1, or probabilities and labels")
    if probabilities is not None and labels is not None:
        return evaluate(probabilities, labels, loss)
    assert top1 is not None
    if not 0 <= top1 <= 1:
        raise InputError("top1 is a ratio in [0, 1]", got=top1, remedy="97 % is 0.97")
    return Evaluation(loss, float(top1), math.nan, math.nan, math.nan, math.nan, 0, 0)
