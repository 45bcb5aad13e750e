"""The plain values that travel between the floors: what is learned, how it was trained, what was measured.

All are frozen dataclasses of numbers, strings and tuples: equal by value, picklable, and free of any framework.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Split(StrEnum):
    """The part of the data that a number was measured on."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Protocol(StrEnum):
    """What steers the training and what is reported (reference: LRBench paper, section III).

    VALIDATION keeps a validation split apart from the test set, selects on it, and measures the test set once.
    PAPER measures the test set every `test_interval` iterations and reports the maximum, as the paper's tables do.
    """

    VALIDATION = "validation"
    PAPER = "paper"


class TrialStatus(StrEnum):
    """How a trial stands. A diverged trial is a result; a failed one is an accident."""

    PLANNED = "planned"
    RUNNING = "running"
    COMPLETED = "completed"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A dataset as the database knows it. Sizes count examples; `fingerprint` is a hash of the content."""

    name: str
    train_size: int
    validation_size: int
    test_size: int
    channels: int
    height: int
    width: int
    class_count: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """A network: its name, the hash of its layers, and how many weights it learns."""

    name: str
    fingerprint: str
    weight_count: int


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned: framework, network, kind of task, dataset (LRBench paper, section IV)."""

    framework: str
    network: NetworkInfo
    dataset: DatasetInfo
    task_type: str = "classification"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The model on one split at one moment. Ratios lie in [0, 1]; NaN where a metric has no value.

    `average_confidence`, `confidence_deviation` and `confidence_deviation_across_classes` are the LRBench paper's
    AC, CD and CDAC (equations 3 to 5); `classes_without_hit` says how many classes CDAC had to leave out.
    """

    loss: float
    top1: float
    top5: float
    average_confidence: float
    confidence_deviation: float
    confidence_deviation_across_classes: float
    classes_without_hit: int
    example_count: int


# However often a training is measured: enough that one minibatch counts little, few enough that it is the loss of now.
TRAIN_LOSSES = 20


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of a running trial.

    `iteration` counts the updates done; `rate` is the rate of the last update done (of the first one at iteration 0);
    `train_loss` is the mean minibatch loss of the last `TRAIN_LOSSES` updates (NaN at iteration 0, and where the net
    trains with another loss than the mean cross-entropy that is measured); `seconds` is the training time so far.
    """

    iteration: int
    split: Split
    rate: float
    train_loss: float
    evaluation: Evaluation
    seconds: float

    @property
    def loss_difference(self) -> float:
        """LD = loss on this split - train loss (LRBench paper, equation 6); NaN without a train loss."""
        return self.evaluation.loss - self.train_loss


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """Everything that decides a trial's outcome, beside the task.

    `policy` is `Policy.to_dict()`; `momentum_convention` is "caffe" (the rate inside the history) or "pytorch"
    (outside); `stage` names what the trial is for: "range", "search" or "final".
    """

    policy: dict[str, Any]
    seed: int
    max_iter: int
    batch_size: int
    test_interval: int
    optimizer: str
    momentum: float
    weight_decay: float
    momentum_convention: str = "caffe"
    protocol: Protocol = Protocol.VALIDATION
    stage: str = "search"
    engine: str = "torch"
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """How a trial ended.

    `best` is the measurement with the highest Top-1 on the selection split (the first one on ties); `test` is the one
    measurement of the test set, made with the weights of `best`. Both are None when nothing was measured.
    """

    status: TrialStatus
    iterations: int
    seconds: float
    best: Measurement | None = None
    test: Measurement | None = None
    message: str = ""
