"""The rival of bench_tuning.py: Optuna's TPE, with Hyperband pruning trainings of the full schedule."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrpolicy.engines import load_engine
from lrpolicy.engines.base import Engine, TrainingJob
from lrpolicy.policies import Policy
from lrpolicy.records import Measurement, Split, TrialStatus
from lrpolicy.search import SearchSpace


class _Pruned:
    """An observer that tells Optuna what was measured at the rungs, and stops where it prunes or the budget ends."""

    def __init__(self, trial: Any, rungs: Sequence[int], left: int) -> None:
        self.trial, self.rungs, self.left = trial, rungs, left
        self.reached, self.stop, self.best = 0, False, 0.0

    def displayed(self, iteration: int, loss: float, rate: float) -> None:
        self.reached = iteration

    def measured(self, measurement: Measurement) -> None:
        if measurement.split is not Split.VALIDATION:
            return
        self.reached = measurement.iteration
        self.best = max(self.best, measurement.evaluation.top1)
        for rung in self.rungs:
            if rung <= measurement.iteration < rung + self.rungs[0]:
                self.trial.report(self.best, rung)
                self.stop = self.stop or self.trial.should_prune()
        self.stop = self.stop or self.reached >= self.left

    def saved(self, path: Path) -> None:
        raise AssertionError(path)

    def stopping(self) -> bool:
        return self.stop


def optuna_search(
    job: TrainingJob, space: SearchSpace, places: Mapping[str, Sequence[int]], budget: int, seed: int
) -> tuple[Policy, int, int]:
    """The policy of Optuna's best trial (of those that ended, else of all), iterations spent, trials begun.

    `places` are those of each function's candidates in the space.
    """
    optuna = importlib.import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    shortest = math.ceil(space.max_iter / 9)
    rungs = (shortest, 3 * shortest)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(shortest, space.max_iter, 3),
    )
    engine: Engine = load_engine("torch")
    spent, trials, best = 0, 0, (False, -1.0, Policy("fixed", base_lr=space.range.best))
    while spent < budget:
        trial = study.ask()
        trials += 1
        name = trial.suggest_categorical("function", list(places))
        candidate = space.candidate(name, places[name][trial.suggest_int(name, 0, len(places[name]) - 1)])
        policy = job.solver.with_policy(candidate).policy
        watch = _Pruned(trial, rungs, budget - spent)
        outcome = engine.train(replace(job, schedule=policy, seed=seed, test_interval=shortest), watch)
        spent += max(outcome.iterations, watch.reached)
        ended = outcome.status is TrialStatus.COMPLETED
        diverged = outcome.status is TrialStatus.DIVERGED
        if diverged or ended:
            study.tell(trial, 0.0 if diverged else watch.best)
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        if not diverged:
            best = max(best, (ended, watch.best, policy), key=lambda row: row[:2])
    return best[2], spent, trials
