"""The training loop: blocks of updates, and between them what the monitor says is due."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrpolicy.engines.base import Observer
from lrpolicy.engines.torch.evaluation import evaluate
from lrpolicy.engines.torch.feed import Feed
from lrpolicy.engines.torch.net import Blobs, TorchNet, Weights
from lrpolicy.engines.torch.snapshots import Progress
from lrpolicy.engines.torch.updater import Updater
from lrpolicy.errors import LrpolicyError
from lrpolicy.live import LiveSchedule
from lrpolicy.monitor import Block, ScheduleMonitor
from lrpolicy.records import TRAIN_LOSSES, Measurement, Split, TrialOutcome, TrialStatus

# A training looks up from its work this often: on a GPU in iterations (reading a loss waits for it), else in seconds.
_ITERATIONS_BETWEEN_LOOKS = 100
_SECONDS_BETWEEN_LOOKS = 0.25


class LossRecord:
    """The losses of the updates so far, as far as anyone still asks for them.

    Values stay on the device until `settle`, which tells the `listener` the smoothed loss of each update. `comparable`
    says whether they are the loss that a test measures.
    """

    def __init__(self, average_loss: int, *, comparable: bool) -> None:
        self._comparable = comparable
        self.pending: list[Tensor] = []
        self.listener: Callable[[float], None] | None = None
        self.last_finite = math.nan
        self._window: deque[float] = deque(maxlen=average_loss)
        self._recent: deque[float] = deque(maxlen=TRAIN_LOSSES)

    def settle(self) -> int | None:
        """Take in the pending losses, waiting for the device; the place of the first one that is not finite."""
        values = torch.stack(self.pending).tolist() if len(self.pending) > 1 else [loss.item() for loss in self.pending]
        self.pending.clear()
        for place, value in enumerate(values):
            if not math.isfinite(value):
                return place
            self._window.append(value)
            self._recent.append(value)
            self.last_finite = value
            if self.listener is not None:
                self.listener(self.smoothed)
        return None

    @property
    def smoothed(self) -> float:
        """The mean of the last average_loss losses, as Caffe displays it."""
        return sum(self._window) / len(self._window) if self._window else math.nan

    @property
    def mean(self) -> float:
        """A measurement's train_loss (NaN without updates, or where a test measures another loss)."""
        return math.fsum(self._recent) / len(self._recent) if self._recent and self._comparable else math.nan

    def progress(self, seconds: float) -> Progress:
        """What a snapshot keeps of the losses."""
        return Progress(list(self._window), list(self._recent), seconds)

    def restore(self, progress: Progress) -> None:
        """Go on from a snapshot."""
        self._window.extend(progress.window)
        self._recent.extend(progress.recent)


@dataclass
class _Heard:
    """Tells a live schedule the smoothed loss of each update, in order."""

    live: LiveSchedule[Any]
    iteration: int

    def __call__(self, loss: float) -> None:
        self.live.trained(self.iteration, loss)
        self.iteration += 1


@dataclass(frozen=True)
class _End:
    """How a training ended, and after how many updates."""

    status: TrialStatus
    iterations: int
    message: str = ""


@dataclass
class Trainer:
    """One job, ready to run.

    `selection` is the split that chooses the best weights; `test` is measured once at the end with them, unless it is
    the selection itself. `save` writes a snapshot and returns its path; None keeps none.
    """

    updater: Updater
    weights: Weights
    scorer: TorchNet
    scorer_tops: tuple[str, ...]
    selection: Feed
    selection_split: Split
    test: Feed
    monitor: ScheduleMonitor
    observer: Observer
    losses: LossRecord
    seconds: float
    save: Callable[[int, Progress], Path] | None
    save_at_end: bool
    on_device: bool

    _rate: float = math.nan
    _best: Measurement | None = None
    _best_weights: Blobs = field(default_factory=dict)
    _next_look: float = 0.0

    def run(self) -> TrialOutcome:
        """Train until max_iter, divergence or the observer's wish to stop."""
        live = self.monitor.live
        self.losses.listener = None if live is None else _Heard(live, self.monitor.iteration)
        for block in self.monitor.blocks():
            end = (self._late_update(block) if block.late else self._updates(block)) or self._finish(block)
            if end is None and block.stop < self.monitor.max_iter and self.observer.stopping():
                end = _End(TrialStatus.INTERRUPTED, block.stop)
            if end is not None:
                return self._outcome(end)
        return self._outcome(_End(TrialStatus.COMPLETED, self.monitor.max_iter))

    def _updates(self, block: Block) -> _End | None:
        """Do a block's updates; how the training ends when it ends within it."""
        started, pending = time.monotonic(), self.losses.pending
        try:
            for iteration, rate in zip(range(block.start, block.stop), block.rates.tolist(), strict=True):
                pending.append(self.updater.update(iteration, rate))
                last = iteration + 1 == block.stop
                if self.on_device and len(pending) < _ITERATIONS_BETWEEN_LOOKS and not last:
                    continue
                first = iteration + 1 - len(pending)
                place = self.losses.settle()
                if place is not None:
                    return _End(TrialStatus.DIVERGED, first + place, self._divergence(first + place))
                if not last and self._must_stop():
                    return _End(TrialStatus.INTERRUPTED, iteration + 1)
        finally:
            self.seconds += time.monotonic() - started
        return None

    def _late_update(self, block: Block) -> _End | None:
        """Do an update whose rate depends on its own loss or gradient; how the training ends when it ends with it."""
        started, iteration = time.monotonic(), block.start
        try:
            self.losses.pending.append(self.updater.gradients(iteration))
            if self.losses.settle() is not None:
                return _End(TrialStatus.DIVERGED, iteration, self._divergence(iteration))
            if self.updater.windows is not None:
                self.updater.windows.gather(iteration)
                self.updater.windows.close(block.stop)
            (rate,) = self.monitor.rates(range(iteration, block.stop)).tolist()
            self.updater.optimizer.apply(rate, iteration)
        finally:
            self.seconds += time.monotonic() - started
        return None

    def _finish(self, block: Block) -> _End | None:
        """What follows the updates of a block: what the live schedule learns from it, and what is due."""
        live, windows = self.monitor.live, self.updater.windows
        self._rate = self._shown(block)
        if windows is not None and block.count and not block.late:
            windows.close(block.stop)
        if live is not None:
            for remark in live.remarks:
                self.observer.noted(remark)
            live.remarks.clear()
        return self._do_what_is_due(block)

    def _shown(self, block: Block) -> float:
        """The rate of the last update done, of the first one before it; one number for all tensors."""
        if isinstance(self.monitor.schedule, LiveSchedule):
            return float(self.monitor.precision(self.monitor.schedule.shown))
        return float(block.rates[-1] if block.count else self.monitor.schedule.rate(0))

    def _do_what_is_due(self, block: Block) -> _End | None:
        """Display, measure and save what a block says; the end of a training where one of these cannot be done."""
        if block.display and block.count:
            self.observer.displayed(block.stop, self.losses.smoothed, self._rate)
        if block.measure and not self._measure(block):
            return _End(TrialStatus.DIVERGED, block.stop, f"the scores are not finite after {block.stop} iterations")
        if block.snapshot or (self.save_at_end and block.stop == self.monitor.max_iter):
            failure = self._snapshot(block.stop)
            if failure:
                return _End(TrialStatus.FAILED, block.stop, failure)
        return None

    def _must_stop(self) -> bool:
        """Whether the observer wants an end, asked a few times a second."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + _SECONDS_BETWEEN_LOOKS
        return self.observer.stopping()

    def _measure(self, block: Block) -> bool:
        """Measure the selection split; False when the scores are not finite.

        Before the first update they may be so by right: an untrained BatchNorm has no statistics to divide by, and a
        deep net of them overflows, in Caffe too. That is no measurement, and no divergence.
        """
        iteration = block.stop
        evaluation = evaluate(self.scorer, self.selection, self.scorer_tops)
        if not math.isfinite(evaluation.loss):
            return iteration == 0
        measurement = Measurement(
            iteration, self.selection_split, self._rate, self.losses.mean, evaluation, self.seconds
        )
        if self._best is None or evaluation.top1 > self._best.evaluation.top1:
            self._best, self._best_weights = measurement, self.weights.copy()
        self.observer.measured(measurement)
        if block.feedback and self.monitor.live is not None:
            self.monitor.live.tested(evaluation.loss)
        return True

    def _snapshot(self, iteration: int) -> str:
        """Write a snapshot, where they are kept at all; why that could not be done, or nothing."""
        if self.save is not None:
            try:
                self.observer.saved(self.save(iteration, self.losses.progress(self.seconds)))
            except LrpolicyError as error:
                return str(error)
        return ""

    def _divergence(self, iteration: int) -> str:
        before = f"the last finite loss was {self.losses.last_finite:.6g}"
        if math.isnan(self.losses.last_finite):
            before = "no loss before it was finite"
        return f"the loss of iteration {iteration} is not finite; {before}"

    def _outcome(self, end: _End) -> TrialOutcome:
        if end.status is TrialStatus.INTERRUPTED:
            failure = self._snapshot(end.iterations)
            return TrialOutcome(end.status, end.iterations, self.seconds, self._best, message=failure)
        message = end.message or ("" if self.monitor.live is None else self.monitor.live.summary())
        return TrialOutcome(end.status, end.iterations, self.seconds, self._best, self._test_of_best(), message)

    def _test_of_best(self) -> Measurement | None:
        """The test set measured with the best weights (the selection itself, where that is the test set)."""
        if self._best is None or self.selection_split is Split.TEST:
            return self._best
        self.weights.assign(self._best_weights)
        evaluation = evaluate(self.scorer, self.test, self.scorer_tops)
        test = replace(self._best, split=Split.TEST, evaluation=evaluation)
        self.observer.measured(test)
        return test
