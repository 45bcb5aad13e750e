"""Runs trials on this machine: one worker process for each place, each with an engine of its own.

A worker speaks over one pipe: jobs come in, events go out, and the pipe's end is how either side learns that the other
is gone. A trial whose worker dies is begun again in another; one that takes three workers with it is a FAILED outcome
that says how the last one died. The run goes on. Temporary files lie in a folder of the worker's, which is removed by
whichever side outlives the other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from lrpolicy.engines import load_engine
from lrpolicy.engines.base import Engine, Observer, TrainingJob
from lrpolicy.errors import InputError, LrpolicyError
from lrpolicy.executors.base import Event, Finished, Measured, Progressed, Started
from lrpolicy.records import Measurement, TrialOutcome, TrialStatus

_SPAWN = multiprocessing.get_context("spawn")
_SECONDS_TO_STOP = 5.0
_MOST_WORKERS_OF_A_TRIAL = 3


class LocalExecutor:
    """`workers` trials at a time, in processes that stay for the whole run.

    Raises InputError when workers is less than 1. A job that cannot be trained (an LrpolicyError in the engine) ends
    the run with that error; any other failure of a trial is its outcome.
    """

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise InputError("workers must be 1 or more", got=workers)
        self.workers = workers
        self._idle: list[_Worker] = []
        self._alive: set[_Worker] = set()  # idle, or at work for an iterator of run(), closed or not

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the worker processes, those too that work for an iterator which nobody closed."""
        _stop(self._alive)
        self._idle, self._alive = [], set()

    def run(self, engine: str, jobs: Iterable[tuple[int, TrainingJob]]) -> Iterator[Event]:
        """Yield events until every job has finished; closing the iterator stops the workers that are busy.

        A trial that is begun again yields a second Started.
        """
        queue = deque(jobs)
        died: Counter[int] = Counter()
        busy: dict[Connection, _Worker] = {}
        try:
            while queue or busy:
                while queue and len(busy) < self.workers:
                    worker = self._idle.pop() if self._idle else _Worker()
                    busy[worker.connection] = worker
                    self._alive.add(worker)
                    worker.send(engine, *queue.popleft())
                for connection in wait(list(busy)):
                    worker = busy[connection]  # type: ignore[index]
                    event = worker.receive()
                    if isinstance(event, LrpolicyError):
                        raise event
                    if isinstance(event, _Died):
                        del busy[worker.connection]
                        self._alive.discard(worker)
                        died[worker.trial] += 1
                        if died[worker.trial] < _MOST_WORKERS_OF_A_TRIAL:
                            queue.appendleft((worker.trial, worker.job))
                        else:
                            yield Finished(worker.trial, _failed(f"the worker process ended with {event.how}"))
                        continue
                    yield event
                    if isinstance(event, Finished):
                        del busy[worker.connection]
                        self._idle.append(worker)
        finally:
            _stop(busy.values())
            self._alive.difference_update(busy.values())


@dataclass(frozen=True)
class _Died:
    """A worker process is gone in the middle of its trial."""

    how: str


class _Worker:
    """The parent's end of one worker process, and the last trial that it was given."""

    trial: int
    job: TrainingJob

    def __init__(self) -> None:
        self.connection, other = _SPAWN.Pipe()
        self.folder = tempfile.mkdtemp(prefix="lrpolicy-worker-")
        self.process = _SPAWN.Process(target=_serve, args=(other, self.folder), daemon=True)
        with _ctrl_c_held():
            self.process.start()
        other.close()

    def send(self, engine: str, trial: int, job: TrainingJob) -> None:
        self.trial, self.job = trial, job
        with contextlib.suppress(BrokenPipeError):  # the process is gone: receive() finds that and says so
            self.connection.send((engine, trial, job))

    def receive(self) -> Event | LrpolicyError | _Died:
        try:
            message: Event | LrpolicyError = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            self.remove_folder()
            return _Died(_exit_text(self.process.exitcode))
        return message

    def remove_folder(self) -> None:
        """Remove what the process, which has ended, may have left."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """A process that is started meanwhile begins with SIGINT held, which `_serve` then ignores.

    A terminal sends it to the child as well, which would die of it on its way there, and say so.
    """
    resource_tracker.ensure_running()  # it would let the signal through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_text(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"signal {signal.Signals(-exitcode).name}"
    return f"exit status {exitcode}"


def _failed(message: str) -> TrialOutcome:
    return TrialOutcome(TrialStatus.FAILED, iterations=0, seconds=0.0, message=message)


def _stop(workers: Iterable[_Worker]) -> None:
    """Close the pipes, which asks the workers to stop; kill those that take too long."""
    workers = list(workers)
    for worker in workers:
        worker.connection.close()
    deadline = time.monotonic() + _SECONDS_TO_STOP
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.remove_folder()


class _PipeObserver:
    """Sends what happens in the worker to the parent; the pipe's end means that the training should stop."""

    def __init__(self, connection: Connection, trial: int) -> None:
        self._connection, self._trial = connection, trial
        self._stopping = False

    def displayed(self, iteration: int, loss: float, rate: float) -> None:
        self._send(Progressed(self._trial, iteration, loss, rate))

    def measured(self, measurement: Measurement) -> None:
        self._send(Measured(self._trial, measurement))

    def saved(self, path: Path) -> None:
        """Trials of a run save nothing."""

    def noted(self, text: str) -> None:
        """A trial's outcome says it again, and that is stored."""

    def stopping(self) -> bool:
        # While a job runs the parent never writes: readable means closed.
        self._stopping = self._stopping or self._connection.poll()
        return self._stopping

    def _send(self, event: Event) -> None:
        try:
            self._connection.send(event)
        except BrokenPipeError:
            self._stopping = True


def _serve(connection: Any, folder: str) -> None:
    """A worker's whole life: its temporary files lie in `folder`, and end with it."""
    tempfile.tempdir = folder
    try:
        _take_jobs(connection)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _take_jobs(connection: Any) -> None:
    """Take a job, train it, say how it ended, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # two trials on two cores must not spin against each other
    engines: dict[str, Engine] = {}
    with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError):  # the parent has closed the pipe
        while True:
            name, trial, job = connection.recv()
            connection.send(Started(trial))
            connection.send(_trained(engines, name, trial, job, _PipeObserver(connection, trial)))


def _trained(
    engines: dict[str, Engine], name: str, trial: int, job: TrainingJob, observer: Observer
) -> Finished | LrpolicyError:
    """How a training ended, by one of this process's engines."""
    try:
        if name not in engines:
            engines[name] = load_engine(name)
        return Finished(trial, engines[name].train(job, observer))
    except LrpolicyError as error:
        return error
    except Exception as error:
        return Finished(trial, _failed(f"{type(error).__name__}: {error}"))
