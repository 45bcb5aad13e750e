"""Made-up trials in a real database, and the tasks that they are of."""

from __future__ import annotations

import math
from dataclasses import replace

from lrpolicy.database import Database, RunState, Setting
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

LENET = NetworkInfo("lenet", "aaaa", 431_080)
MNIST = DatasetInfo("mnist", 54_000, 6_000, 10_000, 1, 28, 28, 10, "1111")
TASK = Task("torch", LENET, MNIST)
FASHION = replace(TASK, dataset=replace(MNIST, name="fashion", fingerprint="2222"))
CIFAR = Task(
    "torch", NetworkInfo("cnn3", "bbbb", 89_578), DatasetInfo("cifar10", 45_000, 5_000, 10_000, 3, 32, 32, 10, "3333")
)
IMAGENET = Task(
    "torch", NetworkInfo("alexnet", "cccc", 61 * 10**6), DatasetInfo("imagenet", 10**6, 0, 1, 3, 224, 224, 1000, "4")
)
SETTING = Setting(1000, 64, "SGD", 0.9, 5e-4)
FIXED = {"lr_policy": "fixed", "base_lr": 0.01}
TRI = {"lr_policy": "tri", "base_lr": 0.001, "max_lr": 0.01, "stepsize": 500}
STEP = {"lr_policy": "step", "base_lr": 0.1, "gamma": 0.1, "stepsize": 250}


def spec(
    policy: dict[str, object],
    seed: int = 1,
    stage: str = "final",
    setting: Setting = SETTING,
    protocol: Protocol = Protocol.VALIDATION,
    test_interval: int = 100,
) -> TrialSpec:
    return TrialSpec(
        policy=policy,
        seed=seed,
        max_iter=setting.max_iter,
        batch_size=setting.batch_size,
        test_interval=test_interval,
        optimizer=setting.optimizer,
        momentum=setting.momentum,
        weight_decay=setting.weight_decay,
        protocol=protocol,
        stage=stage,
    )


def measured(top1: float, iteration: int, split: Split = Split.VALIDATION, loss: float = 0.3) -> Measurement:
    seen = Evaluation(loss, top1, 0.99, 0.9, 1 - top1, (1 - top1) / 2, 0, 5000)
    return Measurement(iteration, split, 0.01, 0.25, seen, iteration / 100)


def store(results: Database, run: int, wanted: TrialSpec, top1: list[float], start: int = 100) -> None:
    """A trial that measured these accuracies every 100 iterations from `start`; one that ends in NaN diverged."""
    trial = results.plan_trial(run, wanted)
    found = [measured(value, start + 100 * place) for place, value in enumerate(top1) if not math.isnan(value)]
    for one in found:
        results.add_measurement(trial, one)
    best = max(found, key=lambda one: (one.evaluation.top1, -one.iteration), default=None)
    test = None if best is None else measured(best.evaluation.top1 - 0.01, best.iteration, Split.TEST)
    status = TrialStatus.DIVERGED if math.isnan(top1[-1]) else TrialStatus.COMPLETED
    results.finish_trial(trial, TrialOutcome(status, wanted.max_iter, 1.0, best, test))


def run_of(results: Database, task: Task, policies: dict[str, list[list[float]]], **where: object) -> int:
    """A completed run: policy name -> for each seed the accuracies."""
    known = {"fixed": FIXED, "tri": TRI, "step": STEP}
    run = results.start_run(task, {})
    for name, seeds in policies.items():
        for seed, top1 in enumerate(seeds):
            store(results, run, spec(known[name], seed, **where), top1)  # type: ignore[arg-type]
    results.finish_run(run, RunState.COMPLETED)
    return run


def scan(
    results: Database,
    task: Task,
    good: dict[float, float],
    setting: Setting,
    protocol: Protocol = Protocol.VALIDATION,
) -> int:
    run = results.start_run(task, {})
    for rate, top1 in good.items():
        store(results, run, spec({"lr_policy": "fixed", "base_lr": rate}, 1, "range", setting, protocol), [top1])
    return run
