"""What an engine is: something that trains one job and reports as it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

from lrpolicy.records import Measurement, Protocol, Task, TrialOutcome
from lrpolicy.schedules import Schedule
from lrpolicy.solver import Solver
from lrpolicy.stateful import AdaptivePolicy


@dataclass(frozen=True)
class TrainingJob:
    """One training: a Caffe solver with its net, the data, and what replaces the solver's own settings.

    `schedule` replaces the solver's lr_policy; `max_iter` and `test_interval` replace its fields; `data` is the
    directory or file that the net's data layers read (None: what the net itself names). `resume` is a .solverstate.
    """

    solver: Solver
    data: Path | None = None
    schedule: Schedule | AdaptivePolicy | None = None
    seed: int = 1
    max_iter: int | None = None
    test_interval: int | None = None
    protocol: Protocol = Protocol.VALIDATION
    device: str = "cpu"
    threads: int | None = None
    snapshot_prefix: Path | None = None
    resume: Path | None = None
    weights: Path | None = None

    @property
    def weight_files(self) -> list[Path]:
        """The weights to begin with, each over those before it: `weights`, or what the solver's own field names.

        None for a training that goes on, which has its own.
        """
        if self.resume is not None:
            return []
        named = [name for names in self.solver.message.weights for name in names.split(",")]
        return [self.weights] if self.weights is not None else [Path(name.strip()) for name in named]


class Observer(Interface):
    """What an engine tells while it trains. Every call happens between two iterations."""

    def displayed(self, iteration: int, loss: float, rate: float) -> None:
        """The smoothed training loss and the rate at a display point."""

    def measured(self, measurement: Measurement) -> None:
        """A measurement, at once when it is made."""

    def saved(self, path: Path) -> None:
        """A snapshot that is complete on disk (the .solverstate)."""

    def noted(self, text: str) -> None:
        """Something that the user should know about the training, said once."""

    def stopping(self) -> bool:
        """True when the training should end now (the outcome is then INTERRUPTED)."""


class Engine(Interface):
    """Trains jobs. An engine keeps loaded data between jobs; it holds no other state."""

    name: str

    def describe(self, job: TrainingJob) -> Task:
        """The task of a job, read without training. Raises InputError where files or shapes do not fit."""

    def train(self, job: TrainingJob, observer: Observer) -> TrialOutcome:
        """Train to the end, to divergence or until the observer stops it.

        Divergence (a loss that is not finite, or above Caffe-like bounds) is an outcome, not an exception; so is a
        snapshot that cannot be written (FAILED, with what was measured, or INTERRUPTED; the message says why).
        Raises InputError for wrong input and RunError for another failure.
        """
