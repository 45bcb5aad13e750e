"""The LRBench metrics of a classifier (LRBench paper, section III) and what goes with them.

An evaluation has two steps. `rank_labels` reduces every example to two numbers: the confidence in its true class and
the rank of that class. `summarize` turns those into Top-1, Top-5, AC, CD and CDAC. An engine that has its
probabilities on a device does the first step there, and calls only the second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy.errors import InputError
from lrpolicy.records import Evaluation

SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)
"""The floor under a probability before its logarithm, as in Caffe's SoftmaxWithLoss (its largest loss: 87.34)."""

_TOLERANCE = 1e-2  # of a row's sum, and of what should be 0
_REMEDY = "apply softmax to the net's outputs first"
_BLOCK_ELEMENTS = 1 << 17  # A block of rows and its comparison stay in the second-level cache.


def evaluate(probabilities: ArrayLike, labels: ArrayLike, loss: float | None = None) -> Evaluation:
    """Measure a classifier's outputs against the labels.

    `probabilities` is (n, c), each row summing to 1 (a softmax); `labels` is (n,), integers in [0, c).
    `loss` replaces the mean cross-entropy where the net has a loss of its own.

    Ties count against the label, as Caffe's Accuracy layer has it: an example is in the top k when fewer than k other
    classes have a probability at least as high. A net that answers the same for every class thus scores 0, not 1/c.
    Top-5 of fewer than five classes is 1.

    A probability that is not finite (a diverged net) makes every metric NaN. Where no example is classified
    correctly AC, CD and CDAC are NaN.

    Raises:
        InputError: shapes do not fit, nothing to measure, a label outside the classes, or rows that are not
            probabilities.
    """
    evaluator = Evaluator()
    evaluator.update(probabilities, labels)
    return evaluator.result(loss)


class Evaluator:
    """`evaluate`, one batch at a time: the result has the same bits however the examples are cut into batches."""

    def __init__(self) -> None:
        self._confidences: list[NDArray[np.float64]] = []
        self._ranks: list[NDArray[np.int64]] = []
        self._labels: list[NDArray[np.int64]] = []
        self._class_count: int | None = None
        self._example_count = 0

    def update(self, probabilities: ArrayLike, labels: ArrayLike) -> None:
        """Add a batch: probabilities (n, c) and labels (n,), as for `evaluate`. Keeps 24 bytes an example.

        Raises:
            InputError: as `evaluate`, naming the example by its index over all batches.
        """
        confidences, ranks = rank_labels(probabilities, labels, first_index=self._example_count)
        class_count = np.shape(probabilities)[1]
        if self._class_count not in (None, class_count):
            raise InputError(f"every batch must have {self._class_count} classes", got=class_count)
        self._class_count = class_count
        self._example_count += len(ranks)
        self._confidences.append(confidences)
        self._ranks.append(ranks)
        self._labels.append(np.array(labels, np.int64))

    def result(self, loss: float | None = None) -> Evaluation:
        """The metrics of all batches so far; `loss` as for `evaluate`.

        Raises:
            InputError: no example was added.
        """
        if self._class_count is None:
            raise InputError("an evaluation needs at least one example", got=0)
        confidences, ranks = np.concatenate(self._confidences), np.concatenate(self._ranks)
        return summarize(confidences, ranks, np.concatenate(self._labels), self._class_count, loss)


def rank_labels(
    probabilities: ArrayLike, labels: ArrayLike, *, first_index: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Each example's confidence in its true class and the rank of that class, both (n,).

    The rank counts the other classes whose probability is at least as high: 0 is Top-1, 0..4 is Top-5. An example
    whose row holds a value that is not finite has confidence NaN (and no meaningful rank). `first_index` is the
    number of the first example, for messages.

    Raises:
        InputError: as `evaluate`.
    """
    table, truth = _checked(probabilities, labels, first_index)
    count, class_count = table.shape
    confidences = np.empty(count, np.float64)
    ranks = np.empty(count, np.int64)
    ones = np.ones(class_count, table.dtype)
    block = max(1, _BLOCK_ELEMENTS // class_count)
    for start in range(0, count, block):
        rows, columns = table[start : start + block], truth[start : start + block]
        own = rows[np.arange(len(rows)), columns]
        with np.errstate(invalid="ignore", over="ignore"):
            sums = rows @ ones
        finite = np.isfinite(sums)
        _check_sums(sums, finite, first_index + start)
        _check_signs(rows, finite, first_index + start)
        confidences[start : start + block] = np.where(finite, own, np.nan)
        ranks[start : start + block] = np.count_nonzero(rows >= own[:, None], axis=1) - 1
    return confidences, ranks


def summarize(
    confidences: NDArray[np.float64],
    ranks: NDArray[np.int64],
    labels: NDArray[np.int64],
    class_count: int,
    loss: float | None = None,
) -> Evaluation:
    """The metrics from what `rank_labels` returns; sums are in double. Arrays are (n,), n >= 1; trusts its input.

    AC is the mean confidence of the correctly classified examples, CD its standard deviation, CDAC the standard
    deviation over classes of the classes' own AC (LRBench paper, equations 3 to 5; population form). A class without
    a correct hit has no AC: CDAC leaves it out, and `classes_without_hit` counts it.
    """
    count = len(labels)
    if not np.all(np.isfinite(confidences)):
        nan = math.nan
        return Evaluation(nan, nan, nan, nan, nan, nan, classes_without_hit=class_count, example_count=count)
    if loss is None:
        loss = float(-np.log(np.maximum(confidences, SMALLEST_PROBABILITY)).mean())
    correct = ranks == 0
    certain = confidences[correct]
    hits = np.bincount(labels[correct], minlength=class_count)
    class_sums = np.bincount(labels[correct], weights=certain, minlength=class_count)
    class_means = class_sums[hits > 0] / hits[hits > 0]
    return Evaluation(
        loss=loss,
        top1=float(correct.mean()),
        top5=float((ranks < 5).mean()),
        average_confidence=float(certain.mean()) if certain.size else math.nan,
        confidence_deviation=float(certain.std()) if certain.size else math.nan,
        confidence_deviation_across_classes=float(class_means.std()) if certain.size else math.nan,
        classes_without_hit=int(np.count_nonzero(hits == 0)),
        example_count=count,
    )


def loss_difference(test_loss: float, train_loss: float) -> float:
    """LD = test loss - train loss: positive for a model that does worse on unseen data (LRBench paper, eq. 6)."""
    return test_loss - train_loss


def iterations_at_best(iterations: Sequence[int], top1: Sequence[float]) -> int:
    """#Iterations at the highest Top-1: the first one on ties; NaN never is the highest.

    Raises:
        InputError: the sequences differ in length, or no Top-1 is a number.
    """
    if len(iterations) != len(top1):
        raise InputError(f"iterations and top1 must have one length ({len(iterations)})", got=len(top1))
    measured = [(value, -index) for index, value in enumerate(top1) if not math.isnan(value)]
    if not measured:
        raise InputError("the best of no Top-1 is not defined", got=list(top1))
    return iterations[-max(measured)[1]]


def _checked(probabilities: ArrayLike, labels: ArrayLike, first_index: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    table, truth = np.asarray(probabilities), np.asarray(labels)
    if table.ndim != 2 or table.shape[1] == 0 or table.dtype.kind != "f":
        raise InputError("probabilities must be floats of shape (n, classes)", got=f"{table.dtype} {table.shape}")
    if truth.shape != table.shape[:1] or truth.dtype.kind not in "iu":
        raise InputError(f"labels must be integers of shape {table.shape[:1]}", got=f"{truth.dtype} {truth.shape}")
    if not len(truth):
        raise InputError("an evaluation needs at least one example", got=0)
    outside = np.flatnonzero((truth < 0) | (truth >= table.shape[1]))
    if outside.size:
        raise InputError(
            f"labels must lie in 0..{table.shape[1] - 1}",
            where=f"example {first_index + outside[0]}",
            got=truth[outside[0]],
        )
    return table.astype(np.float32) if table.dtype == np.float16 else table, truth.astype(np.int64)


def _check_sums(sums: NDArray[Any], finite: NDArray[np.bool_], first_index: int) -> None:
    wrong = np.flatnonzero(finite & (np.abs(sums - 1) > _TOLERANCE))
    if wrong.size:
        raise InputError(
            "probabilities must sum to 1",
            where=f"example {first_index + wrong[0]}",
            got=f"{sums[wrong[0]]:.6g}",
            remedy=_REMEDY,
        )


def _check_signs(rows: NDArray[Any], finite: NDArray[np.bool_], first_index: int) -> None:
    if not np.fmin.reduce(rows, axis=None) < -_TOLERANCE:
        return
    least = rows.min(axis=1)
    for wrong in np.flatnonzero(finite & (least < -_TOLERANCE))[:1]:
        where, got = f"example {first_index + wrong}", f"{least[wrong]:.6g}"
        raise InputError("probabilities must not be below 0", where=where, got=got, remedy=_REMEDY)
