"""The short proof of an interval: trainings inside it against trainings just outside."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from statistics import fmean

from lrpolicy.engines.base import TrainingJob
from lrpolicy.executors.base import Event, Executor
from lrpolicy.policies import Policy
from lrpolicy.range_test.result import Judge, RangeTestResult
from lrpolicy.range_test.trainings import Stage, Training, from_same_start, train_all
from lrpolicy.search import rounded

# A control trains with a constant rate this many times below the interval's lower end, or above its upper one.
OUTSIDE = 10.0


@dataclass(frozen=True)
class Control:
    """One way to train, and how it ended over the seeds: means on the split that steers (NaN when any diverged)."""

    name: str
    inside: bool
    policy: Policy
    loss: float
    top1: float
    diverged: int

    def cost(self, by: Judge) -> float:
        """What the interval is judged by, lower is better; infinite for one that diverged."""
        value = self.loss if by == "loss" else 1.0 - self.top1
        return math.inf if math.isnan(value) else value


@dataclass(frozen=True)
class Confirmation:
    """`held` says that both trainings inside the interval ended better than both outside."""

    controls: tuple[Control, ...]
    held: bool
    seeds: int
    iterations: int


def confirm(
    job: TrainingJob,
    result: RangeTestResult,
    executor: Executor,
    *,
    iterations: int,
    seeds: tuple[int, ...],
    engine: str = "torch",
) -> Generator[Stage | Event, None, Confirmation]:
    """Train `fixed` at the suggestion and one `tri` cycle over the interval, against `fixed` rates outside of it.

    `seeds` should be others than those that found the interval. Raises RunError when a training fails.
    """
    found = result.range
    half = max(1, math.ceil(iterations / 2))
    low, best, high = (rounded(rate) for rate in (found.low, found.best, found.high))
    plans = (
        ("fixed, the suggestion", True, Policy("fixed", base_lr=best)),
        ("cyclic, over the interval", True, Policy("tri", base_lr=low, max_lr=high, stepsize=half)),
        ("fixed, below the interval", False, Policy("fixed", base_lr=rounded(low / OUTSIDE))),
        ("fixed, above the interval", False, Policy("fixed", base_lr=rounded(high * OUTSIDE))),
    )
    start = replace(from_same_start(job), max_iter=iterations, test_interval=0)
    jobs = [replace(start, schedule=policy, seed=seed) for _, _, policy in plans for seed in seeds]
    trainings = yield from train_all(executor, engine, "confirmation", jobs)
    controls = tuple(
        _control(*plan, trainings[place * len(seeds) : (place + 1) * len(seeds)]) for place, plan in enumerate(plans)
    )
    costs = {
        inside: [control.cost(result.judged_by) for control in controls if control.inside is inside]
        for inside in (True, False)
    }
    return Confirmation(controls, max(costs[True]) < min(costs[False]), len(seeds), iterations)


def _control(name: str, inside: bool, policy: Policy, trainings: list[Training]) -> Control:
    ends = [training.measurements[-1].evaluation for training in trainings if training.measurements]
    diverged = sum(training.diverged for training in trainings)
    known = ends and not diverged
    return Control(
        name,
        inside,
        policy,
        loss=fmean(end.loss for end in ends) if known else math.nan,
        top1=fmean(end.top1 for end in ends) if known else math.nan,
        diverged=diverged,
    )
