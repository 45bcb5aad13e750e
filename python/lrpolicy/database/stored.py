"""What the database gives back: runs and trials as they stand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpolicy.records import Task, TrialOutcome, TrialSpec, TrialStatus


class RunState(StrEnum):
    """How a run stands. A run whose process was killed stays RUNNING until it is resumed."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One `lrpolicy tune`. `key` (a UUID) names it across databases; times are in UTC."""

    id: int
    key: str
    task: Task
    state: RunState
    started: datetime
    ended: datetime | None
    settings: dict[str, Any]
    versions: dict[str, Any]
    hardware: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """A trial as it stands. `outcome` is None until it has ended; the eight metrics are those of `outcome.best` and
    `outcome.test`, with `parameter_count` (#Param). `attempt` counts how often it was started.
    """

    id: int
    run: int
    spec: TrialSpec
    status: TrialStatus
    attempt: int
    parameter_count: int
    outcome: TrialOutcome | None


@dataclass(frozen=True)
class Curve:
    """The training loss and rate at the display points of a trial: three arrays of equal length."""

    iterations: NDArray[np.int64]
    losses: NDArray[np.float32]
    rates: NDArray[np.float64]
