"""Runs trials one after another in this process, for engines that cannot travel to another: a closure, a notebook."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from lrpolicy.engines.base import Engine, TrainingJob
from lrpolicy.errors import LrpolicyError
from lrpolicy.executors.base import Event, Finished, Measured, Progressed, Started
from lrpolicy.records import Measurement, TrialOutcome, TrialStatus


class SequentialExecutor:
    """One trial at a time with one engine, in a thread, so that events arrive as they happen.

    An LrpolicyError in the engine ends the run; any other failure of a trial is its outcome.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, engine: str, jobs: Iterable[tuple[int, TrainingJob]]) -> Iterator[Event]:
        """Yield events until every job has finished; closing the iterator waits for the training to stop."""
        for trial, job in jobs:
            observer = _QueueObserver(trial)
            thread = threading.Thread(target=self._train, args=(trial, job, observer), name=f"trial {trial}")
            thread.start()
            try:
                yield Started(trial)
                while True:
                    event = observer.events.get()
                    if isinstance(event, BaseException):
                        raise event
                    yield event
                    if isinstance(event, Finished):
                        break
            finally:
                observer.stop.set()
                thread.join()

    def _train(self, trial: int, job: TrainingJob, observer: _QueueObserver) -> None:
        try:
            observer.events.put(Finished(trial, self._engine.train(job, observer)))
        except BaseException as error:  # an exit or Ctrl-C that the training raised is the main thread's
            if isinstance(error, Exception) and not isinstance(error, LrpolicyError):
                message = f"{type(error).__name__}: {error}"
                observer.events.put(Finished(trial, TrialOutcome(TrialStatus.FAILED, 0, 0.0, message=message)))
            else:
                observer.events.put(error)


class _QueueObserver:
    """Hands what happens in the thread over to the iterator."""

    def __init__(self, trial: int) -> None:
        self.events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self.stop = threading.Event()
        self._trial = trial

    def displayed(self, iteration: int, loss: float, rate: float) -> None:
        self.events.put(Progressed(self._trial, iteration, loss, rate))

    def measured(self, measurement: Measurement) -> None:
        self.events.put(Measured(self._trial, measurement))

    def saved(self, path: Path) -> None:
        """Trials of a run save nothing."""

    def noted(self, text: str) -> None:
        """A trial's outcome says it again, and that is stored."""

    def stopping(self) -> bool:
        return self.stop.is_set()
