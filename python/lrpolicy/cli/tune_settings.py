"""What `lrpolicy tune` was asked for, as the database keeps it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lrpolicy.database import Setting
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError
from lrpolicy.evaluator import Budget, Plan, setting_of
from lrpolicy.goals import find_goal
from lrpolicy.records import Protocol
from lrpolicy.search import RateRange, functions_named, observes_tests, paper_functions
from lrpolicy.solver import Solver


@dataclass(frozen=True)
class Settings:
    """What the user asked for, as the database keeps it, so that --resume asks for the same.

    `range` (low, best, high) and `range_from`, `leaders` and `leaders_from` are what the database had stored for a task
    like this one when the run began: later it may know more.
    """

    target: str
    data: str | None
    policies: str | None
    max_iter: int | None
    scan_iter: int | None
    test_interval: int | None
    candidates: int
    seeds: int
    seed: int
    protocol: str
    engine: str
    device: str
    workers: int | None
    search: str = "halving"
    budget: str | None = None
    goal: str = "accuracy"
    top1: float | None = None
    range: tuple[float, float, float] | None = None
    range_from: str | None = None
    leaders: Sequence[str] | None = None
    leaders_from: str | None = None

    def job(self, solver: Solver) -> TrainingJob:
        """What all trials share."""
        cores = len(os.sched_getaffinity(0))
        return TrainingJob(
            solver,
            data=None if self.data is None else Path(self.data),
            test_interval=self.test_interval,
            protocol=Protocol(self.protocol),
            device=self.device,
            threads=max(1, cores // self.places),
        )

    def wanted(self, job: TrainingJob) -> Setting:
        """How the trials of the finals train."""
        return replace(setting_of(job), max_iter=self.max_iter or job.solver.message.max_iter)

    @property
    def places(self) -> int:
        """Trials at a time: one for each core, or one for a GPU."""
        cores = len(os.sched_getaffinity(0))
        return self.workers or (cores if self.device == "cpu" else 1)

    def plan(self, solver: Solver) -> Plan:
        """What the evaluator tries.

        Raises InputError for a policy that has no candidates, or observes test passes where the solver has none.
        """
        max_iter = self.max_iter or solver.message.max_iter
        functions = self.leaders or paper_functions() if self.policies is None else functions_named(self.policies)
        for name in functions:
            if solver.message.test_interval < 1 and observes_tests(name):
                rule = f'"{name}" observes the loss of each test pass, and the solver has none'
                remedy = "give --test-interval, the iterations of an epoch"
                raise InputError(rule, where="--policies", remedy=remedy)
        return Plan(
            functions=tuple(functions),
            max_iter=max_iter,
            scan_iter=self.scan_iter,
            candidates=self.candidates,
            seeds=self.seeds,
            first_seed=self.seed,
            range=None if self.range is None else RateRange(*self.range),
            search=self.search,
            budget=None if self.budget is None else Budget.parse(self.budget),
            goal=find_goal(self.goal, self.top1),
        )
