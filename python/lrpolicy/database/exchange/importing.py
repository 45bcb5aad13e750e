"""From a file to the database: checked line by line, in one transaction, each run at most once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrpolicy.database import rows, statements
from lrpolicy.database.driver import Connection
from lrpolicy.database.exchange.fields import run_line, trial_line
from lrpolicy.database.exchange.file import ResultsFile
from lrpolicy.database.store import Database
from lrpolicy.errors import InputError
from lrpolicy.records import DatasetInfo, NetworkInfo, Task

_BATCH = 500  # trials that are in memory at a time
_LOCK = 0x6C7269  # any constant of ours: "lri"
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(%s)"
_TRIALS_FIRST = (
    "SET CONSTRAINTS lrpolicy.trial_id_best_split_best_iteration_fkey, "
    "lrpolicy.trial_id_test_split_test_iteration_fkey DEFERRED"
)
_INSERT_RUN = """
    INSERT INTO lrpolicy.run
        (key, task_id, state, started, ended, settings, versions, hardware, origin, imported)
    VALUES (%s, %s, 'completed', %s, %s, %s, %s, %s, %s, now())
    RETURNING id"""
_RESERVE = "SELECT nextval(pg_get_serial_sequence('lrpolicy.trial', 'id')) FROM generate_series(1, %s)"

_STANDING = ("status", "attempt", "iterations", "seconds")
_MARKS = ("best_split", "best_iteration", "test_split", "test_iteration")
_TRIAL = ("id", "run_id", "policy_id", *rows.SPEC_COLUMNS, *_STANDING, *_MARKS)
_COPY_TRIALS = f"COPY lrpolicy.trial ({', '.join(_TRIAL)}) FROM STDIN"
_COPY_MEASUREMENTS = f"COPY lrpolicy.measurement (trial_id, {', '.join(rows.MEASUREMENT_COLUMNS)}) FROM STDIN"
_COPY_CURVES = "COPY lrpolicy.curve_piece (trial_id, first, iterations, losses, rates) FROM STDIN"


@dataclass(frozen=True)
class Imported:
    """What came out of a file: runs and their trials that are new here, and runs that were here already."""

    runs: int
    trials: int
    known_runs: int


@dataclass
class _Import:
    """An import under way: the run whose trials come now (None where it is known), and trials not yet written."""

    connection: Connection
    run: int | None = None
    runs: int = 0
    trials: int = 0
    known_runs: int = 0
    waiting: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    policies: dict[str, int] = field(default_factory=dict)

    def take_run(self, value: dict[str, Any]) -> None:
        run, self.run = run_line(value), None
        if self.connection.execute("SELECT FROM lrpolicy.run WHERE key = %s", [run["key"]]).fetchone() is not None:
            self.known_runs += 1
            return
        task = Task(run["framework"], NetworkInfo(**run["network"]), DatasetInfo(**run["dataset"]), run["task_type"])
        documents = [json.dumps(run[name]) for name in ("settings", "versions", "hardware")]
        number = statements.store_task(self.connection, task)
        values = [run["key"], number, run["started"], run["ended"], *documents, run["origin"]]
        for row in self.connection.execute(_INSERT_RUN, values):
            self.run = int(row[0])
        self.runs += 1

    def take_trial(self, value: dict[str, Any]) -> None:
        if self.run is None and self.known_runs:
            return  # its run is here already
        trial = trial_line(value)
        if self.run is None:
            raise ValueError("a trial must follow its run")
        self.trials += 1
        self.waiting.append((self.run, trial))
        if len(self.waiting) >= _BATCH:
            self.write()

    def write(self) -> None:
        """Write the trials that wait."""
        numbers = [row[0] for row in self.connection.execute(_RESERVE, [len(self.waiting)])]
        new = [(number, run, trial) for number, (run, trial) in zip(numbers, self.waiting, strict=True)]
        self._copy(_COPY_TRIALS, [self._trial_row(*row) for row in new])
        self._copy(_COPY_MEASUREMENTS, (row for number, _, trial in new for row in _measurement_rows(number, trial)))
        self._copy(_COPY_CURVES, (row for number, _, trial in new for row in _curve_rows(number, trial["curve"])))
        self.waiting.clear()

    def _trial_row(self, number: int, run: int, trial: dict[str, Any]) -> list[Any]:
        marks = [trial[name] or {"split": None, "iteration": None} for name in ("best", "test")]
        return [
            number,
            run,
            self._policy(trial["policy"]),
            *(trial[name] for name in rows.SPEC_COLUMNS),
            *(trial[name] for name in _STANDING),
            *(mark[name] for mark in marks for name in ("split", "iteration")),
        ]

    def _policy(self, policy: dict[str, Any]) -> int:
        name = json.dumps(policy)
        if name not in self.policies:
            self.policies[name] = statements.identify(self.connection, "policy", rows.policy_row(policy))
        return self.policies[name]

    def _copy(self, command: str, lines: Iterable[Sequence[Any]]) -> None:
        with self.connection.cursor() as cursor, cursor.copy(command.encode()) as copy:
            for line in lines:
                copy.write_row(line)


def import_runs(database: Database, path: Path) -> Imported:
    """Store the runs of a file that `export_runs` wrote and that are not here yet; all of it, or nothing.

    Raises:
        InputError: the file cannot be read, is foreign, of a newer version, cut short, changed, or a value in it
            breaks a rule (the message names the line and the field).
    """
    file = ResultsFile(path)
    file.verify()

    def work(connection: Connection) -> Imported:
        connection.execute(_ONE_AT_A_TIME, [_LOCK])
        connection.execute(_TRIALS_FIRST)
        state = _Import(connection)
        for where, value in file.records():
            try:
                kind = value.get("kind") if isinstance(value, dict) else None
                (state.take_run if kind == "run" else state.take_trial)(value)
            except ValueError as error:
                raise InputError(str(error), where=where, remedy="nothing was imported") from None
        state.write()
        if (state.runs + state.known_runs) != file.header.runs:
            raise InputError("the header's count of runs is wrong", where=str(path), remedy="nothing was imported")
        return Imported(state.runs, state.trials, state.known_runs)

    return database.transact(work)


def _measurement_rows(number: int, trial: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    found = trial["measurements"]
    for values in zip(*(found[name] for name in rows.MEASUREMENT_COLUMNS), strict=True):
        yield number, *values


def _curve_rows(number: int, curve: dict[str, list[Any]]) -> Iterator[tuple[Any, ...]]:
    if curve["iteration"]:
        yield number, curve["iteration"][0], *(_array(curve[name]) for name in ("iteration", "loss", "rate"))


def _array(numbers: Iterable[float]) -> str:
    """An array as PostgreSQL reads it; psycopg's own way takes five times as long."""
    return "{" + ",".join(map(repr, numbers)) + "}"
