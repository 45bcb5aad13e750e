"""A run as the database would give it back, made without one: three policies, three seeds, a range scan, accidents."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import numpy as np

from lrpolicy.database import RunState, StoredRun, StoredTrial
from lrpolicy.goals import find_goal
from lrpolicy.policies import Policy
from lrpolicy.ranking import rank
from lrpolicy.records import (
    DatasetInfo,
    Evaluation,
    Measurement,
    NetworkInfo,
    Protocol,
    Split,
    Task,
    TrialOutcome,
    TrialSpec,
    TrialStatus,
)
from lrpolicy.reports.gather import RunResults
from lrpolicy.verdict import Verdict, judge

MAX_ITER = 400
POLICIES = (
    Policy("sinexp", base_lr=0.01, max_lr=0.1, gamma=0.995, stepsize=100),
    Policy("multistep", base_lr=0.1, gamma=0.3, stepvalue=(100, 300)),
    Policy("fixed", base_lr=0.03),
)
TOPS = (0.97, 0.965, 0.92)
MESSAGE = "loss is nan at iteration 7"


def stored_run(
    *, name: str = "net", message: str = MESSAGE, protocol: Protocol = Protocol.VALIDATION, seeds: int = 3
) -> RunResults:
    """The run, its network, dataset and versions named `name`, its accidents telling `message`."""
    data = DatasetInfo(name, 900, 100, 200, 1, 8, 8, 10, f"print of {name}")
    run = StoredRun(
        7,
        "6e1f2e6c-0000-4000-8000-000000000007",
        Task(name, NetworkInfo(name, f"print of {name}", 12_345), data, name),
        RunState.COMPLETED,
        datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        None,
        {"target": name},
        {"torch": name},
        {"processor": name},
    )
    trials: list[StoredTrial] = []
    measured: dict[int, tuple[Measurement, ...]] = {}

    def add(policy: Policy, seed: int, stage: str, status: TrialStatus, top1: float = 0.0, length: int = 400) -> None:
        spec = TrialSpec(
            policy.to_dict(), seed, length, 32, 100, "SGD", 0.9, 0.0005, protocol=protocol, stage=stage, engine=name
        )
        seen: list[Measurement] = []
        if status is TrialStatus.COMPLETED:
            split = Split.TEST if protocol is Protocol.PAPER else Split.VALIDATION
            seen = [measurement(split, t, top1 * (1 - 0.5 ** (t // 100 + 1))) for t in range(0, length + 1, 100)]
        test = measurement(Split.TEST, length, top1 - 0.01) if seen else None
        outcome = TrialOutcome(status, length, 4.0, seen[-1] if seen else None, test, "" if seen else message)
        measured[len(trials)] = tuple(seen)
        trials.append(StoredTrial(len(trials), 7, spec, status, 1, policy.parameter_count, outcome))

    for exponent, top1 in zip(range(-4, 0), (0.3, 0.6, 0.9, 0.85), strict=True):
        add(Policy("fixed", base_lr=10.0**exponent), 1, "range", TrialStatus.COMPLETED, top1, 200)
    add(Policy("fixed", base_lr=1.0), 1, "range", TrialStatus.DIVERGED, length=200)
    for seed in range(2, 2 + seeds):
        for policy, top1 in zip(POLICIES, TOPS, strict=True):
            add(policy, seed, "final", TrialStatus.COMPLETED, top1 + 0.004 * (seed % 3))
    add(POLICIES[2], 9, "final", TrialStatus.FAILED)
    return RunResults(run, "final", tuple(trials), measured)


def measurement(split: Split, iteration: int, top1: float) -> Measurement:
    """A measurement with this Top-1."""
    seen = Evaluation(1.2 - top1, top1, min(1.0, top1 + 0.02), 0.9, 0.1, 0.05, 0, 100)
    return Measurement(iteration, split, 0.01, 0.2, seen, iteration / 100)


def verdict_of(found: RunResults, goal: str = "accuracy", target: float | None = None) -> Verdict:
    """The verdict on the run's ranked stage."""
    wanted = find_goal(goal, target)
    return judge(rank(found.results(), wanted), wanted, np.random.default_rng(0))


def without_ranges(found: RunResults) -> RunResults:
    """The same run without its range trials."""
    trials = tuple(trial for trial in found.trials if trial.spec.stage != "range")
    return dataclasses.replace(found, trials=trials)
