"""What an executor is: something that runs many trials and yields what happens, as it happens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol as Interface

from lrpolicy.engines.base import TrainingJob
from lrpolicy.records import Measurement, TrialOutcome


@dataclass(frozen=True)
class Started:
    """A worker has taken up the trial."""

    trial: int


@dataclass(frozen=True)
class Progressed:
    """A trial has done `iteration` updates."""

    trial: int
    iteration: int
    loss: float
    rate: float


@dataclass(frozen=True)
class Measured:
    """A trial has been measured."""

    trial: int
    measurement: Measurement


@dataclass(frozen=True)
class Finished:
    """A trial has ended, in whatever way."""

    trial: int
    outcome: TrialOutcome


Event = Started | Progressed | Measured | Finished


class Executor(Interface):
    """Runs jobs side by side; the key of each job comes back in its events."""

    def run(self, engine: str, jobs: Iterable[tuple[int, TrainingJob]]) -> Iterator[Event]:
        """Yield events until every job has finished. Closing the iterator stops the workers."""
