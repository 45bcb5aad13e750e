"""One `caffe train`, followed by its log: losses, rates, test passes and snapshots as they come."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lrpolicy.engines.base import Observer
from lrpolicy.engines.caffe import log
from lrpolicy.engines.caffe.process import CaffeProcess
from lrpolicy.engines.caffe.prototxts import LOSS, TOP1, TOP5
from lrpolicy.engines.caffe.snapshots import Snapshots
from lrpolicy.errors import LrpolicyError, RunError
from lrpolicy.records import TRAIN_LOSSES, Evaluation, Measurement, Split, TrialStatus


@dataclass(frozen=True)
class Due:
    """What is due when, as the solver says: every so many iterations, 0 for never; `max_iter` is the end."""

    start: int
    max_iter: int
    display: int
    snapshot: int
    snapshot_at_end: bool


@dataclass
class Training:
    """Follows one run; what it finds lies in its fields afterwards.

    `outputs` are the names of the test net's outputs that make a measurement of `split` (`example_count` examples);
    `average_loss` is over how many losses of the log the displayed one is smoothed. `comparable` says whether these are
    the loss that a test measures.
    """

    due: Due
    split: Split
    outputs: Sequence[str]
    example_count: int
    average_loss: int
    comparable: bool
    snapshots: Snapshots
    observer: Observer

    status: TrialStatus = TrialStatus.COMPLETED
    message: str = ""
    iterations: int = 0
    seconds: float = 0.0
    rate: float = math.nan
    best: Measurement | None = None

    _losses: deque[float] = field(default_factory=lambda: deque(maxlen=TRAIN_LOSSES))
    _recent: deque[float] = field(default_factory=deque)
    _last_loss: float = math.nan
    _passing: int = 0
    _found: dict[str, float] = field(default_factory=dict)
    _untold: Measurement | None = None
    _saving: Path | None = None
    _since: float | None = None
    _stopping: bool = False

    def follow(self, process: CaffeProcess) -> None:
        """Read the log to its end, to a loss that is not finite, or to a snapshot that cannot be kept.

        Raises RunError where Caffe ends before it should.
        """
        self.iterations, self._recent = self.due.start, deque(maxlen=self.average_loss)
        for line in process.lines():
            event = log.parse(line)
            if event is not None:
                self._settle_snapshot()
                self._take(event)
            if self.status is TrialStatus.DIVERGED or (self.status is TrialStatus.FAILED and not self.done):
                return
            if not self._stopping and self.observer.stopping():
                self._stopping, self.status = True, TrialStatus.INTERRUPTED
                if self.snapshots.prefix is None:
                    return
                process.stop()
        failure = process.failure()
        if not self._stopping and (failure or not self.done):
            reason = failure or "caffe stopped before its end, as it does on SIGINT"
            raise RunError(f"{reason} (after {self.iterations} of {self.due.max_iter} iterations)")
        if not failure:
            self._settle_snapshot()
        self._stopwatch(False)

    @property
    def done(self) -> bool:
        """Whether all updates are done, however the training ended."""
        return self.iterations == self.due.max_iter

    @property
    def train_loss(self) -> float:
        """A measurement's train_loss (NaN without updates, or where a test measures another loss)."""
        return math.fsum(self._losses) / len(self._losses) if self._losses and self.comparable else math.nan

    def _take(self, event: log.Event) -> None:
        match event:
            case log.Began():
                self._stopwatch(True)
            case log.Loss(iteration, value):
                self._trained(iteration, value)
            case log.Rate(iteration, value):
                self._updated(iteration, value)
            case log.TestBegan(iteration):
                self._stopwatch(False)
                self._passing, self._found = iteration, {}
            case log.TestOutput(name, value):
                self._found[name] = value
                if name == self.outputs[-1]:
                    self._stopwatch(True)
                    self._tested()
            case log.Saving(state):
                self._saving = state

    def _trained(self, iteration: int, loss: float) -> None:
        if not math.isfinite(loss):
            before = f"the last finite loss was {self._last_loss:.6g}"
            if math.isnan(self._last_loss):
                before = "no loss before it was finite"
            self._diverge(f"the loss of iteration {iteration} is not finite; {before}")
            return
        self._last_loss = loss
        self._losses.append(loss)
        self._recent.append(loss)

    def _updated(self, iteration: int, rate: float) -> None:
        self.rate, self.iterations = rate, iteration + 1
        if self._untold is not None:
            self._tell(Measurement(0, self.split, rate, math.nan, self._untold.evaluation, 0.0))
            self._untold = None
        every = self.due.display
        if (every and self.iterations % every == 0) or self.iterations == self.due.max_iter:
            self.observer.displayed(self.iterations, math.fsum(self._recent) / len(self._recent), rate)

    def _tested(self) -> None:
        """A pass of the test net is complete.

        Before the first update scores may be infinite by right (an untrained BatchNorm): that is no measurement. Nor is
        the pass with which Caffe begins when it resumes.
        """
        iteration = self._passing
        if iteration == self.due.start > 0:
            return
        if not math.isfinite(self._found[LOSS]):
            if iteration > 0:
                self._diverge(f"the scores are not finite after {iteration} iterations")
            return
        nan = math.nan
        top5 = self._found.get(TOP5, 1.0)
        evaluation = Evaluation(self._found[LOSS], self._found[TOP1], top5, nan, nan, nan, 0, self.example_count)
        measurement = Measurement(iteration, self.split, self.rate, self.train_loss, evaluation, self.seconds)
        if iteration == 0:
            self._untold = measurement  # until its rate is known, that of the first update
        else:
            self._tell(measurement)

    def _tell(self, measurement: Measurement) -> None:
        if self.best is None or measurement.evaluation.top1 > self.best.evaluation.top1:
            self.best = measurement
        self.observer.measured(measurement)
        self.snapshots.keep(self.best.iteration, measurement.iteration)

    def _settle_snapshot(self) -> None:
        """The solver went on, or Caffe has ended: the snapshot that it was writing is complete."""
        if self._saving is None:
            return
        state, self._saving = self._saving, None
        iteration, every = self.snapshots.iteration_of(state), self.due.snapshot
        wanted = (every and iteration % every == 0) or (self.due.snapshot_at_end and iteration == self.due.max_iter)
        if self.snapshots.prefix is not None and (wanted or self._stopping):
            try:
                self.observer.saved(self.snapshots.hand_over(state))
            except LrpolicyError as error:
                self.message = str(error)
                if not self._stopping:
                    self.status = TrialStatus.FAILED

    def _diverge(self, message: str) -> None:
        self.status, self.message = TrialStatus.DIVERGED, message
        self._stopwatch(False)

    def _stopwatch(self, running: bool) -> None:
        """Count the seconds that training takes, test passes apart."""
        now = time.monotonic()
        if self._since is not None:
            self.seconds += now - self._since
        self._since = now if running else None
