"""The LR policy evaluator (LRBench paper, section IV): finds the range, tries candidates, measures the best again.

Three stages, each a set of independent trials. *range*: short trials with fixed rates find where training works.
*search*: candidates of every function, one seed each. *final*: the best candidate of each function with fresh seeds,
so that what selected a policy is not what ranks it. Whatever happens is stored before anyone hears of it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from lrpolicy.database import Database
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError
from lrpolicy.executors.base import Event, Executor, Finished, Measured, Progressed, Started
from lrpolicy.policies import Policy
from lrpolicy.range_test import coarse_rates, finer_rates, fix_range
from lrpolicy.ranking import RankedPolicy, rank
from lrpolicy.records import Measurement, Protocol, Split, Task, TrialOutcome, TrialSpec, TrialStatus
from lrpolicy.search import RateRange, SearchSpace

_IS_RESULT = (TrialStatus.COMPLETED, TrialStatus.DIVERGED)


@dataclass(frozen=True)
class Plan:
    """What a tuning run tries. Iterations count updates; `scan_iter` is the length of a range trial.

    Raises InputError for a count below 1.
    """

    functions: tuple[str, ...]
    max_iter: int
    scan_iter: int
    candidates: int = 3
    seeds: int = 3
    first_seed: int = 1
    range: RateRange | None = None

    def __post_init__(self) -> None:
        for name in ("max_iter", "scan_iter", "candidates", "seeds"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more", got=getattr(self, name))
        if not self.functions:
            raise InputError("a tuning run needs at least one policy")

    @property
    def iterations(self) -> int:
        """About how many updates the whole plan does (the finer range trials are a guess)."""
        scan = 0 if self.range else (len(coarse_rates()) + 2) * self.scan_iter
        return scan + len(self.functions) * (self.candidates + self.seeds) * self.max_iter


@dataclass(frozen=True)
class StageStarted:
    """A stage begins: how many trials it has, how many of them an earlier run has already done."""

    name: str
    trials: int
    done: int


@dataclass
class Evaluator:
    """One tuning run: its job (the solver, net and data all trials share), its plan, where it runs and is stored."""

    job: TrainingJob
    task: Task
    plan: Plan
    executor: Executor
    database: Database
    run: int
    engine: str = "torch"
    # The trials that run now, each with the points of its training curve that are not stored yet.
    _running: dict[int, list[tuple[int, float, float]]] = field(default_factory=dict, init=False)

    def evaluate(self) -> Iterator[StageStarted | Event]:
        """Run the three stages; yields what happens. A stage that an earlier run finished is read, not repeated."""
        found = self.plan.range
        if found is None:
            found = yield from self._scan()
        space = SearchSpace(found, self.plan.max_iter, self.iterations_per_epoch)
        candidates = [policy for name in self.plan.functions for policy in space.candidates(name, self.plan.candidates)]
        yield from self._stage("search", self._exact(candidates), [self.plan.first_seed], self.plan.max_iter)
        seeds = [self.plan.first_seed + 1 + extra for extra in range(self.plan.seeds)]
        yield from self._stage("final", self._winners(), seeds, self.plan.max_iter)

    def ranking(self, stage: str = "final") -> list[RankedPolicy]:
        """The ranked table of a stage, read from the database."""
        return rank(self._results(stage))

    def measurements(self, stage: str = "final") -> dict[Policy, list[Measurement]]:
        """What the first finished trial of each policy measured on the split that steers, in order of iteration."""
        split = Split.TEST if self.job.protocol is Protocol.PAPER else Split.VALIDATION
        found: dict[Policy, list[Measurement]] = {}
        for trial in self.database.trials(run=self.run, stage=stage):
            policy = Policy.from_dict(trial.spec.policy)
            if trial.status is TrialStatus.COMPLETED and policy not in found:
                found[policy] = [m for m in self.database.measurements(trial.id) if m.split is split]
        return found

    @cached_property
    def batch_size(self) -> int:
        """Examples that one update sees."""
        return self.job.solver.batch_size * int(self.job.solver.message.iter_size)

    @property
    def iterations_per_epoch(self) -> int:
        """Updates that see the training data once."""
        return max(1, math.ceil(self.task.dataset.train_size / self.batch_size))

    def _scan(self) -> Generator[StageStarted | Event, None, RateRange]:
        for rates in (coarse_rates, lambda: finer_rates(self._scanned())):
            policies = self._exact(Policy("fixed", base_lr=rate) for rate in rates())
            yield from self._stage("range", policies, [self.plan.first_seed], self.plan.scan_iter)
        return fix_range(self._scanned(), self.task.dataset.class_count)

    def _scanned(self) -> dict[float, float]:
        """Rate -> best Top-1 of the range trials, NaN for those that diverged before they learned."""
        return {
            spec.policy["base_lr"]: math.nan if outcome.best is None else outcome.best.evaluation.top1
            for spec, outcome in self._results("range")
        }

    def _winners(self) -> list[Policy]:
        """The best candidate of each function, in the order of the functions."""
        ranked = self.ranking("search")
        best = {row.policy.name: row.policy for row in reversed(ranked)}
        return [best[name] for name in self.plan.functions if name in best]

    def _exact(self, policies: Iterable[Policy]) -> list[Policy]:
        """The policies as a prototxt holds them: float32 fields, so that what was tried is what can be written."""
        return list(dict.fromkeys(self.job.solver.with_policy(policy).policy for policy in policies))

    def _stage(
        self, name: str, policies: Sequence[Policy], seeds: Sequence[int], max_iter: int
    ) -> Iterator[StageStarted | Event]:
        finished = {trial.id for trial in self.database.trials(run=self.run, stage=name) if trial.status in _IS_RESULT}
        jobs = []
        for seed in seeds:
            for policy in policies:
                job = replace(self.job, schedule=policy, seed=seed, max_iter=max_iter)
                trial = self.database.plan_trial(self.run, self._spec(job, policy, name))
                if trial not in finished:
                    jobs.append((trial, job))
        trials = len(policies) * len(seeds)
        yield StageStarted(name, trials, trials - len(jobs))
        try:
            for event in self.executor.run(self.engine, jobs):
                self._store(event)
                yield event
        finally:
            self._mark_interrupted()

    def _spec(self, job: TrainingJob, policy: Policy, stage: str) -> TrialSpec:
        message = job.solver.message
        return TrialSpec(
            policy=policy.to_dict(),
            seed=job.seed,
            max_iter=job.max_iter or message.max_iter,
            batch_size=self.batch_size,
            test_interval=job.test_interval or message.test_interval,
            optimizer=job.solver.solver_type,
            momentum=message.momentum,
            weight_decay=message.weight_decay,
            protocol=job.protocol,
            stage=stage,
            engine=self.engine,
            device=job.device,
        )

    def _store(self, event: Event) -> None:
        match event:
            case Started(trial):
                self._running[trial] = []  # first, so that an interruption from here on marks it
                self.database.reset_trial(trial)
                self.database.start_trial(trial)
            case Progressed(trial, iteration, loss, rate):
                self._running[trial].append((iteration, loss, rate))
            case Measured(trial, measurement):
                self.database.add_measurement(trial, measurement)
                self._store_curve(trial)
            case Finished(trial, outcome):
                self._store_curve(trial)
                self.database.finish_trial(trial, outcome)
                self._running.pop(trial, None)

    def _store_curve(self, trial: int) -> None:
        points = self._running.get(trial)
        if points:
            self.database.add_curve(trial, *zip(*points, strict=True))
            points.clear()

    def _mark_interrupted(self) -> None:
        """Trials that a stop caught in the middle: what they measured stays, a resumed run does them again."""
        for trial in list(self._running):
            self._store(Finished(trial, TrialOutcome(TrialStatus.INTERRUPTED, iterations=0, seconds=0.0)))

    def _results(self, stage: str) -> list[tuple[TrialSpec, TrialOutcome]]:
        trials = self.database.trials(run=self.run, stage=stage)
        return [(trial.spec, trial.outcome) for trial in trials if trial.status in _IS_RESULT and trial.outcome]
