"""Runs the trainings of a range test and gathers what they report."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError, RunError
from lrpolicy.executors.base import Event, Executor, Finished, Measured, Progressed
from lrpolicy.records import Measurement, Split, TrialOutcome, TrialStatus


@dataclass(frozen=True)
class Stage:
    """A part of a range test begins: its name, and about how many trainings of how many iterations it has."""

    name: str
    trainings: int
    iterations: int


@dataclass
class Training:
    """What one training reported: losses as (updates done, loss), measurements of the split that steers, its end."""

    job: TrainingJob
    losses: list[tuple[int, float]] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    outcome: TrialOutcome | None = None

    @property
    def iterations(self) -> int:
        """The updates done."""
        return 0 if self.outcome is None else self.outcome.iterations

    @property
    def diverged(self) -> bool:
        """Whether it did not reach its end because of its rate."""
        return self.outcome is not None and self.outcome.status is TrialStatus.DIVERGED


Steps = Generator[Stage | Event, None, "list[Training]"]


def train_all(executor: Executor, engine: str, stage: str, jobs: Sequence[TrainingJob]) -> Steps:
    """Run the jobs, yielding what happens; returns their trainings in the order of the jobs.

    Raises RunError where a training failed (divergence is no failure).
    """
    yield Stage(stage, len(jobs), jobs[0].max_iter or 0)
    trainings = [Training(job) for job in jobs]
    for event in executor.run(engine, enumerate(jobs)):
        training = trainings[event.trial]
        match event:
            case Progressed(_, iteration, loss, _):
                training.losses.append((iteration, loss))
            case Measured(_, measurement) if measurement.split is _steering(training, measurement):
                training.measurements.append(measurement)
            case Finished(_, outcome):
                training.outcome = outcome
                if outcome.status not in (TrialStatus.COMPLETED, TrialStatus.DIVERGED):
                    raise RunError(f"the {stage} training with seed {training.job.seed} failed: {outcome.message}")
        yield event
    return trainings


def from_same_start(job: TrainingJob) -> TrainingJob:
    """The job as every training of a range test starts it: fresh weights (or `weights`), and nothing is written.

    Raises InputError for a job that resumes (its optimizer's history belongs to one seed and one schedule), and for a
    momentum that forgets nothing: no rate is good then, and none can be told from those before it.
    """
    momentum = job.solver.message.momentum
    if not 0 <= momentum < 1:
        where, remedy = job.solver.where("momentum"), "set it to 0.9 for example"
        raise InputError("a range test needs momentum in [0, 1)", where=where, got=momentum, remedy=remedy)
    if job.resume is not None:
        raise InputError(
            "a range test cannot resume", where=str(job.resume), remedy="start from the snapshot's weights instead"
        )
    return replace(job, snapshot_prefix=None)


def _steering(training: Training, measurement: Measurement) -> Split:
    """The split of a training's first measurement steers; the test set is measured once more, at the end."""
    return training.measurements[0].split if training.measurements else measurement.split
