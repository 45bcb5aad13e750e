"""Runs one stage: trials side by side, everything stored before anyone hears of it, nothing done twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from lrpolicy.database import Database, Setting, StoredTrial
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import RunError
from lrpolicy.executors.base import Event, Executor, Finished, Measured, Progressed, Started
from lrpolicy.records import TrialOutcome, TrialSpec, TrialStatus
from lrpolicy.stateful import AnyPolicy

_IS_RESULT = (TrialStatus.COMPLETED, TrialStatus.DIVERGED)


@dataclass(frozen=True)
class StageStarted:
    """A stage begins: how many trials of how many iterations it has, how many of them an earlier run has done."""

    name: str
    trials: int
    done: int
    iterations: int


@dataclass
class Stages:
    """The trials of one run: what all share, where they run, where they are stored."""

    job: TrainingJob
    setting: Setting
    executor: Executor
    database: Database
    run: int
    engine: str
    # The trials that run now, each with the points of its training curve that are not stored yet.
    _running: dict[int, list[tuple[int, float, float]]] = field(default_factory=dict, init=False)

    def train(
        self, name: str, policies: Sequence[AnyPolicy], seeds: Sequence[int], max_iter: int, test_interval: int
    ) -> Iterator[StageStarted | Event]:
        """Train every policy with every seed, but for the trials that are results already.

        Raises RunError where all trials that it did failed.
        """
        finished = {trial.id for trial in self.results(name)}
        jobs = []
        for seed in seeds:
            for policy in policies:
                job = replace(
                    self.job, schedule=policy, seed=seed, max_iter=max_iter, test_interval=test_interval or None
                )
                trial = self.database.plan_trial(self.run, self._spec(policy, seed, max_iter, test_interval, name))
                if trial not in finished:
                    jobs.append((trial, job))
        trials = len(policies) * len(seeds)
        yield StageStarted(name, trials, trials - len(jobs), max_iter)
        failures = []
        try:
            for event in self.executor.run(self.engine, jobs):
                self._store(event)
                yield event
                if isinstance(event, Finished) and event.outcome.status is TrialStatus.FAILED:
                    failures.append(event.outcome.message)
        finally:
            self._mark_interrupted()
        if failures and len(failures) == len(jobs):
            raise RunError(f"all {len(failures)} trials of stage {name} failed; the first: {failures[0]}")

    def results(self, name: str, max_iter: int | None = None) -> list[StoredTrial]:
        """The trials of a stage (of this length only) that completed or diverged, in the order of their planning."""
        trials = self.database.trials(run=self.run, stage=name)
        return [t for t in trials if t.status in _IS_RESULT and max_iter in (None, t.spec.max_iter)]

    def _spec(self, policy: AnyPolicy, seed: int, max_iter: int, test_interval: int, stage: str) -> TrialSpec:
        return TrialSpec(
            policy=policy.to_dict(),
            seed=seed,
            max_iter=max_iter,
            batch_size=self.setting.batch_size,
            test_interval=test_interval,
            optimizer=self.setting.optimizer,
            momentum=self.setting.momentum,
            weight_decay=self.setting.weight_decay,
            momentum_convention=self.setting.momentum_convention,
            protocol=self.job.protocol,
            stage=stage,
            engine=self.engine,
            device=self.job.device,
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
