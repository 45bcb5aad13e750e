"""An engine that trains nothing: what it reports is decided by the job's policy and seed."""

from __future__ import annotations

import math
import os
import signal
import tempfile
import time
from pathlib import Path

from lrpolicy.engines.base import Observer, TrainingJob
from lrpolicy.errors import InputError
from lrpolicy.records import DatasetInfo, Evaluation, Measurement, NetworkInfo, Split, Task, TrialOutcome, TrialStatus

# Options of `lrpolicy tune` for a short run with this engine.
TUNE_FAKE = (
    *("--engine", "support.fake_engine:FakeEngine", "--max-iter", "40"),
    *("--candidates", "2", "--seeds", "2", "--cold"),
)
DATASET = DatasetInfo("toy", 900, 100, 100, 1, 8, 8, 10, "d0")


def evaluation(top1: float) -> Evaluation:
    return Evaluation(1.0 - top1, top1, min(1.0, top1 + 0.05), 0.9, 0.1, 0.01, 0, 100)


def accuracy(rate: float, seed: int) -> float:
    """Learns best near 0.03, nothing below 1e-4, and diverges above 0.5."""
    return max(0.1, 0.95 - 0.15 * math.log10(rate / 0.03) ** 2) + 0.001 * (seed % 3)


class FakeEngine:
    """Deterministic outcomes. Seeds misbehave.

    666 is killed, 667 raises, 668 is wrong input, 669 runs for ever, 670 leaves a temporary file behind,
    671 and 673 are wrong input after one and three seconds.
    """

    name = "fake"

    def describe(self, job: TrainingJob) -> Task:
        return Task("fake", NetworkInfo("net", "n0", 10), DATASET)

    def train(self, job: TrainingJob, observer: Observer) -> TrialOutcome:
        assert job.schedule is not None
        if job.seed == 666:
            os.kill(os.getpid(), signal.SIGKILL)
        if job.seed == 667:
            raise OSError("the disk caught fire")
        if job.seed == 668:
            raise InputError("this job cannot be trained", where="net.prototxt:3")
        if job.seed in (671, 673):
            time.sleep(job.seed - 670)
            raise InputError("this job cannot be trained", where="net.prototxt:3")
        if job.seed == 670:
            (Path(tempfile.gettempdir()) / "left behind").touch()
        while job.seed == 669:
            if observer.stopping():
                return TrialOutcome(TrialStatus.INTERRUPTED, 0, 0.0)
            time.sleep(0.01)
        max_iter = job.max_iter or 100
        rates = job.schedule.rates(range(max_iter))
        if rates.max() > 0.5:
            return TrialOutcome(TrialStatus.DIVERGED, 3, 0.1, message="loss is nan at iteration 3")
        best = None
        for part in (1, 2):
            iteration = part * max_iter // 2
            observer.displayed(iteration, 1.0, float(rates[iteration - 1]))
            top1 = accuracy(float(rates.mean()), job.seed) - (0.1 if part == 1 else 0.0)
            best = Measurement(iteration, Split.VALIDATION, float(rates[iteration - 1]), 0.5, evaluation(top1), 0.1)
            observer.measured(best)
        assert best is not None
        test = Measurement(max_iter, Split.TEST, best.rate, 0.5, evaluation(best.evaluation.top1 - 0.01), 0.2)
        observer.measured(test)
        return TrialOutcome(TrialStatus.COMPLETED, max_iter, 0.2, best, test)


class FrozenEngine(FakeEngine):
    """Nothing is learned here; the fresh net is above chance by luck, and what it measures later by luck again."""

    name = "frozen"

    def train(self, job: TrainingJob, observer: Observer) -> TrialOutcome:
        max_iter = job.max_iter or 100
        first, last = (
            Measurement(iteration, Split.VALIDATION, 0.1, math.nan, evaluation(top1), 0.1)
            for iteration, top1 in ((0, 0.16), (max_iter, 0.13))
        )
        observer.measured(first)
        observer.measured(last)
        return TrialOutcome(TrialStatus.COMPLETED, max_iter, 0.1, first)


class DivergingEngine(FakeEngine):
    """Everything diverges here, after a first measurement of the fresh net at chance."""

    name = "diverging"

    def train(self, job: TrainingJob, observer: Observer) -> TrialOutcome:
        first = Measurement(0, Split.VALIDATION, 0.1, math.nan, evaluation(0.1), 0.1)
        observer.measured(first)
        return TrialOutcome(TrialStatus.DIVERGED, 3, 0.1, first, message="loss is nan at iteration 3")
