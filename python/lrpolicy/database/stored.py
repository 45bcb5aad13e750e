"""What the database gives back: runs and trials as they stand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrpolicy.records import Protocol, Task, TrialOutcome, TrialSpec, TrialStatus


class RunState(StrEnum):
    """How a run stands. A run whose process was killed stays RUNNING until it is resumed."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One `lrpolicy tune`. `key` (a UUID) names it across databases; times are in UTC.

    `origin` is the UUID of the database that an imported run was measured in, None for a run of this database.
    """

    id: int
    key: str
    task: Task
    state: RunState
    started: datetime
    ended: datetime | None
    settings: dict[str, Any]
    versions: dict[str, Any]
    hardware: dict[str, Any]
    origin: str | None = None


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


@dataclass(frozen=True, slots=True)
class Setting:
    """What else decides which rates are good: how long, in which batches and with which optimizer a trial trains."""

    max_iter: int
    batch_size: int
    optimizer: str
    momentum: float
    weight_decay: float
    momentum_convention: str = "caffe"


@dataclass(frozen=True, slots=True)
class Comparable:
    """Completed trials that one table may compare: of one task, in one setting and stage, measured in one way.

    `test_interval` is the iterations between two measurements, of which the best one counts.
    """

    task: int
    stage: str
    protocol: Protocol
    test_interval: int
    setting: Setting
    trials: int
    runs: int
    imported_runs: int


@dataclass(frozen=True, slots=True)
class Average:
    """What a policy reached: means over the seeds that completed, with the sample standard deviation of the Top-1.

    Several trials with one seed are one training, repeated or imported: their mean counts once. `diverged` says whether
    any trial did. `columns` carries the names of `lrpolicy.goals.COLUMNS`; a mean count up to the target is infinite
    where one of the trials did not reach it. NaN stands for what was not measured.
    """

    policy: dict[str, Any]
    seeds: int
    diverged: bool
    top1_deviation: float
    test_top1: float
    columns: dict[str, float]


@dataclass(frozen=True, slots=True)
class RangeScan:
    """The range stage of a run: trials with fixed rates in one setting. `protocol` says which split they show."""

    run: int
    protocol: Protocol
    setting: Setting


@dataclass(frozen=True, slots=True)
class RangeTrial:
    """A trial of a range stage, measured on the split that steers (`examples` of them; 0: not known).

    `top1` is the best one after the first update, NaN where it diverged; `untrained` that before it, NaN where nobody
    measured it; `of_one_class` the best while no other class was hit, 0 for none.
    """

    rate: float
    top1: float
    untrained: float
    examples: int
    of_one_class: float


class Uncertain(NamedTuple):
    """A number, and the ends of its 95 % interval over seeds (NaN where one seed is all there was)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class StoredRangeTest:
    """What one `lrpolicy range-test` found: good fixed rates from `low` to `high`, `suggestion` among them.

    `method` is "smith" or "fix", `judged_by` "loss" or "accuracy". `iterations` counts the updates it cost,
    `setting.max_iter` those of one training. `held` says whether trainings inside the interval beat those outside, None
    where nobody looked.
    """

    setting: Setting
    method: str
    judged_by: str
    low: Uncertain
    suggestion: Uncertain
    high: Uncertain
    held: bool | None
    seeds: tuple[int, ...]
    iterations: int
