"""An engine that trains a noisy quadratic with SGD and momentum: its stability limit is known in closed form."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from lrpolicy.engines.base import Observer, TrainingJob
from lrpolicy.records import Evaluation, Measurement, NetworkInfo, Split, Task, TrialOutcome, TrialStatus
from support.fake_engine import DATASET

CURVATURES = np.geomspace(1.0, 20.0, 8)
STABLE_BELOW = 2.0 / CURVATURES[-1]  # gradient descent without momentum: 2 / L
NOISE = 0.02


def _evaluation(loss: float) -> Evaluation:
    top1 = 0.1 + 0.85 / (1.0 + loss)
    return Evaluation(loss, top1, 1.0, 0.9, 0.1, 0.01, 0, 100)


class QuadraticEngine:
    """Minimises sum(curvature * w^2) / 2 from random weights; the loss it shows carries noise."""

    name = "quadratic"
    loss: Callable[[np.ndarray], float] = staticmethod(lambda w: float(CURVATURES @ w**2) / 2)
    gradient: Callable[[np.ndarray], np.ndarray] = staticmethod(lambda w: CURVATURES * w)

    def describe(self, job: TrainingJob) -> Task:
        return Task(self.name, NetworkInfo("quadratic", "q0", len(CURVATURES)), DATASET)

    def train(self, job: TrainingJob, observer: Observer) -> TrialOutcome:
        random = np.random.Generator(np.random.Philox(key=job.seed))
        weights, velocity = random.normal(size=len(CURVATURES)), np.zeros(len(CURVATURES))
        momentum = job.solver.message.momentum
        rates, interval, total = job.schedule.rates(range(job.max_iter)), job.test_interval, 0.0
        best = None
        for t, rate in enumerate(rates.tolist()):
            loss = self.loss(weights) * (1.0 + NOISE * random.normal())
            velocity = momentum * velocity + rate * (self.gradient(weights) + NOISE * random.normal(size=len(weights)))
            weights = weights - velocity
            if not math.isfinite(loss):
                return TrialOutcome(TrialStatus.DIVERGED, t, 0.1, message=f"the loss of iteration {t} is not finite")
            total += loss
            if observer.stopping():
                return TrialOutcome(TrialStatus.INTERRUPTED, t + 1, 0.1)
            observer.displayed(t + 1, loss, rate)
            if t + 1 == job.max_iter or (interval and (t + 1) % interval == 0):
                best = Measurement(t + 1, Split.VALIDATION, rate, loss, _evaluation(self.loss(weights)), 0.1)
                observer.measured(best)
        return TrialOutcome(TrialStatus.COMPLETED, job.max_iter, 0.1, best)


class FlatEngine(QuadraticEngine):
    """Nothing learns here."""

    name = "flat"
    loss = staticmethod(lambda w: 2.3)
    gradient = staticmethod(np.zeros_like)


class CliffEngine(QuadraticEngine):
    """Everything diverges here."""

    name = "cliff"
    loss = staticmethod(lambda w: math.inf if abs(w).max() > 0 else 0.0)


class BrokenEngine(QuadraticEngine):
    """Seed 3 fails here for a reason of its own."""

    name = "broken"

    def train(self, job: TrainingJob, observer: Observer) -> TrialOutcome:
        if job.seed == 3:
            raise OSError("the disk caught fire")
        return super().train(job, observer)


class UnluckyEngine(QuadraticEngine):
    """Seed 3 diverges here before its first loss."""

    name = "unlucky"

    def train(self, job: TrainingJob, observer: Observer) -> TrialOutcome:
        if job.seed == 3:
            return TrialOutcome(TrialStatus.DIVERGED, 0, 0.0, message="the loss of iteration 0 is not finite")
        return super().train(job, observer)


class SlowEngine(QuadraticEngine):
    """Takes its time, so that a kill at a random moment finds something to interrupt."""

    name = "slow"
    seconds = 0.002

    @staticmethod
    def loss(weights: np.ndarray) -> float:
        time.sleep(SlowEngine.seconds)
        return QuadraticEngine.loss(weights)
