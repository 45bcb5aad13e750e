"""The results database: what the tuner writes while it works, and what everyone reads afterwards."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import psycopg
from numpy.typing import ArrayLike

from lrpolicy.database import rows, schema, statements
from lrpolicy.database.driver import Connection, is_lost, open_connection, translate
from lrpolicy.database.stored import Curve, RunState, StoredRun, StoredTrial
from lrpolicy.errors import InputError, LrpolicyError, RunError
from lrpolicy.records import Measurement, Task, TrialOutcome, TrialSpec, TrialStatus

_RECONNECT_SECONDS = 30.0
_RECONNECT_PAUSE_SECONDS = 0.2
# A busy server takes a moment to notice that whoever held a run was killed.
_LOCK_SECONDS = 3.0
_LISTED = "`lrpolicy db runs` lists them"
_UNFINISHED = (TrialStatus.PLANNED, TrialStatus.RUNNING)
T = TypeVar("T")


class Server(Protocol):
    """Where a database is: `EmbeddedServer` or `GivenServer`."""

    @property
    def where(self) -> str:
        """Where everything is kept, for people; without a password."""

    @property
    def remedy(self) -> str:
        """What to do when it cannot be reached."""

    def address(self) -> dict[str, Any]:
        """libpq's connection parameters, of a server that runs if it is ours to start."""

    def close(self) -> None:
        """Let go of the server."""


class Database:
    """A connection to the results database; a context manager. It belongs to one thread of one process.

    Every method is one committed transaction: what it has returned from survives any crash. Writing twice is the same
    as writing once, so an operation that loses its connection is done again on a new one.

    Every method raises RunError when the server fails (lost, read-only, full, no rights), and InputError for values
    that break a rule of the schema and for runs and trials that are not there.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parameters: dict[str, Any] = {}
        self._taken: set[int] = set()  # the runs that this process works on
        try:
            self._connection = self._open()
        except BaseException:
            server.close()
            raise

    @property
    def where(self) -> str:
        """Where everything is kept: the data directory, or the server's address without the password."""
        return self._server.where

    def address(self) -> dict[str, Any]:
        """libpq's parameters, for another connection to the same place. They may hold a password: show `where`."""
        return self._server.address()

    def close(self) -> None:
        """End the connection; the embedded server ends with its last user."""
        self._connection.close()
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Runs

    def start_run(
        self,
        task: Task,
        settings: Mapping[str, Any],
        *,
        versions: Mapping[str, Any] | None = None,
        hardware: Mapping[str, Any] | None = None,
    ) -> int:
        """Store a new run of a task and return its id; this process has it. The mappings become JSON."""
        key = uuid.uuid4()  # made here, so that a repeated insert finds the first one
        documents = [rows.plain_json(document or {}) for document in (settings, versions, hardware)]

        def work(connection: Connection) -> int:
            row = {"task_id": statements.store_task(connection, task), "settings": documents[0]}
            row |= {"versions": documents[1], "hardware": documents[2]}
            return statements.identify(connection, "run", {"key": key}, row)

        run = self.transact(work)
        self._take(run)
        return run

    def resume_run(self, run: int) -> int:
        """Open a run again, for this process alone, and return its id.

        Raises InputError while another process has it.
        """
        self._take(run)
        self._change(statements.SET_RUN_STATE, [str(RunState.RUNNING), None, run], f"run {run}")
        return run

    def finish_run(self, run: int, state: RunState) -> None:
        """Record how a run ended, and let go of it."""
        self._change(statements.SET_RUN_STATE, [str(state), datetime.now(UTC), run], f"run {run}")
        self._taken.discard(run)
        self.transact(lambda c: c.execute(statements.LET_GO_OF_RUN, [statements.RUN_LOCK, run]))

    def find_run(self, run: int | str = "latest") -> StoredRun:
        """The run with this id (a number or its digits), or the latest one that was not imported."""
        if run == "latest":
            found = self._runs("WHERE run.id = (SELECT max(id) FROM lrpolicy.run WHERE origin IS NULL)", [])
        else:
            if not str(run).isdecimal():
                raise InputError("a run is named by its number, or latest", got=repr(run), remedy=_LISTED)
            found = self._runs("WHERE run.id = %s::numeric", [str(run)])
        if not found:
            rule = "no run is stored yet" if run == "latest" else f"there is no run {run}"
            if run == "latest" and self.runs():
                rule = "every run is imported, and latest means one of your own"
            raise InputError(rule, where=self.where, remedy=_LISTED)
        return found[0]

    def runs(self) -> list[StoredRun]:
        """All runs, oldest first."""
        return self._runs("", [])

    def trial_counts(self) -> dict[int, int]:
        """How many trials each run has, by the run's id; runs without any are left out."""
        return dict(self.transact(lambda c: c.execute(statements.COUNT_TRIALS).fetchall()))

    # Trials

    def plan_trial(self, run: int, spec: TrialSpec) -> int:
        """Store a trial to be done and return its id: that of the trial already there for the same run, stage,
        policy, seed and max_iter. Raises InputError if that one was planned with other settings.
        """
        key = {name: getattr(spec, name) for name in ("stage", "seed", "max_iter")}
        settings = rows.spec_row(spec)

        def work(connection: Connection) -> int:
            policy = statements.identify(connection, "policy", rows.policy_row(spec.policy))
            trial = statements.identify(connection, "trial", {"run_id": run, "policy_id": policy} | key, settings)
            found = connection.execute(statements.SELECT_SPEC, [trial]).fetchone()
            for (name, wanted), stored in zip(settings.items(), found or (), strict=True):
                if wanted != stored:
                    rule = f"trial {trial} of run {run} was planned with {name} = {stored}"
                    raise InputError(rule, got=wanted, remedy="resume with the same settings, or start a new run")
            return trial

        return self.transact(work)

    def start_trial(self, trial: int, *, worker: int | None = None) -> None:
        """A worker (its process number) has taken up the trial: its attempts grow by one."""
        values = {"worker": worker, "moment": datetime.now(UTC), "trial": trial}
        self._change(statements.START_TRIAL, values, f"trial {trial}")

    def add_measurement(self, trial: int, measurement: Measurement) -> None:
        """Store a measurement; one of the same split and iteration is replaced."""
        self.transact(lambda connection: statements.store_measurement(connection, trial, measurement))

    def add_curve(self, trial: int, iterations: ArrayLike, losses: ArrayLike, rates: ArrayLike) -> None:
        """Append a piece of the training curve: increasing iterations with their smoothed loss and rate.

        A piece that begins at the same iteration is replaced. Losses are kept as float32; empty pieces are ignored.
        """
        steps, speeds = np.asarray(iterations, np.int64), np.asarray(rates, np.float64)
        with np.errstate(over="ignore"):
            heights = np.asarray(losses, np.float32)
        if steps.ndim != 1 or steps.shape != heights.shape or steps.shape != speeds.shape:
            raise InputError("a curve takes three lists of one length", got=(steps.shape, heights.shape, speeds.shape))
        if steps.size:
            row = [trial, int(steps[0]), steps.tolist(), heights.tolist(), speeds.tolist()]
            self.transact(lambda connection: connection.execute(statements.STORE_CURVE, row))

    def finish_trial(self, trial: int, outcome: TrialOutcome) -> None:
        """Record how a trial ended, with its best and its test measurement (stored here if they are not yet)."""
        if outcome.status in _UNFINISHED:
            raise InputError("a trial cannot end with this status", got=str(outcome.status))
        results = [outcome.best, outcome.test]
        marks = [value for m in results for value in ((str(m.split), m.iteration) if m else (None, None))]
        message = rows.clean_text(outcome.message)
        row = [str(outcome.status), outcome.iterations, outcome.seconds, message, *marks, trial]

        def work(connection: Connection) -> None:
            for measurement in filter(None, results):
                statements.store_measurement(connection, trial, measurement)
            statements.expect_one(connection.execute(statements.FINISH_TRIAL, row), f"trial {trial}", self.where)

        self.transact(work)

    def reset_trial(self, trial: int) -> None:
        """Make a trial planned again, without measurements and curve, for a rerun. Its attempts stay counted."""

        def work(connection: Connection) -> None:
            statements.expect_one(connection.execute(statements.RESET_TRIAL, [trial]), f"trial {trial}", self.where)
            connection.execute("DELETE FROM lrpolicy.measurement WHERE trial_id = %s", [trial])
            connection.execute("DELETE FROM lrpolicy.curve_piece WHERE trial_id = %s", [trial])

        self.transact(work)

    def trials(
        self,
        run: int | None = None,
        task: Task | None = None,
        stage: str | None = None,
        status: TrialStatus | None = None,
    ) -> list[StoredTrial]:
        """The trials that match everything given, in the order in which they were planned."""

        def work(connection: Connection) -> list[StoredTrial]:
            task_id = None if task is None else statements.find_task(connection, task)
            if task is not None and task_id is None:
                return []
            wanted = {"run": run, "task": task_id, "stage": stage, "status": None if status is None else str(status)}
            return [rows.trial_of(row) for row in connection.execute(statements.SELECT_TRIALS, wanted)]

        return self.transact(work)

    def measurements(self, trial: int) -> list[Measurement]:
        """The measurements of a trial, by iteration, then split."""
        found = self.transact(lambda c: c.execute(statements.SELECT_MEASUREMENTS, [trial]).fetchall())
        return [rows.measurement_of(row) for row in found]

    def curve(self, trial: int) -> Curve:
        """The training curve of a trial, its pieces joined."""
        pieces = self.transact(lambda c: c.execute(statements.SELECT_CURVE, [trial]).fetchall())
        columns = [[value for piece in pieces for value in piece[index]] for index in range(3)]
        return Curve(np.array(columns[0], np.int64), np.array(columns[1], np.float32), np.array(columns[2], np.float64))

    # How

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Do the work in a transaction, and return what it returns; again on a new connection when that is lost."""
        deadline: float | None = None
        while True:
            try:
                with self._connection.transaction():
                    return work(self._connection)
            except (psycopg.Error, UnicodeError) as error:
                deadline = deadline or time.monotonic() + _RECONNECT_SECONDS
                if not is_lost(error) or time.monotonic() > deadline:
                    raise translate(error, self.where, self._parameters) from None
            self._reconnect(deadline)

    def translated(self, error: psycopg.Error) -> LrpolicyError:
        """The one-line error that says what the server's error means."""
        return translate(error, self.where, self._parameters)

    def _open(self) -> Connection:
        self._parameters = self._server.address()
        connection = open_connection(self._parameters, self.where, self._server.remedy)
        try:
            schema.migrate(connection, self.where)
            for run in self._taken:  # best effort: the server may not have noticed yet that our old session is gone
                connection.execute(statements.TAKE_RUN, [statements.RUN_LOCK, run])
        except psycopg.Error as error:
            connection.close()
            raise translate(error, self.where, self._parameters) from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _reconnect(self, deadline: float) -> None:
        self._connection.close()
        while True:
            try:
                self._connection = self._open()
                return
            except RunError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_RECONNECT_PAUSE_SECONDS)

    def _take(self, run: int) -> None:
        """Take the run's lock, which the server frees when this session ends, however it ends."""
        deadline = time.monotonic() + _LOCK_SECONDS
        while self.transact(lambda c: c.execute(statements.TAKE_RUN, [statements.RUN_LOCK, run]).fetchone()) != (True,):
            if time.monotonic() > deadline:
                rule = f"run {run} is being worked on by another process"
                raise InputError(rule, where=self.where, remedy="wait for it, or start a new run")
            time.sleep(_RECONNECT_PAUSE_SECONDS)
        self._taken.add(run)

    def _change(self, command: str, values: list[Any] | dict[str, Any], what: str) -> None:
        self.transact(lambda connection: statements.expect_one(connection.execute(command, values), what, self.where))

    def _runs(self, condition: str, values: list[Any]) -> list[StoredRun]:
        query = f"{statements.SELECT_RUNS} {condition} ORDER BY run.id"
        return [rows.run_of(row) for row in self.transact(lambda c: c.execute(query, values).fetchall())]
