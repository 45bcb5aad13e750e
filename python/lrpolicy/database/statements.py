"""The SQL of the store: its texts, and the writes that several of its methods share. Values always travel apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from psycopg import Cursor, sql

from lrpolicy.database import rows
from lrpolicy.database.driver import Connection
from lrpolicy.errors import InputError
from lrpolicy.records import Measurement, Task


def _list(columns: Iterable[str], table: str = "") -> str:
    prefix = f"{table}." if table else ""
    return ", ".join(prefix + column for column in columns)


_MEASUREMENT = _list(rows.MEASUREMENT_COLUMNS)

STORE_MEASUREMENT = f"""
    INSERT INTO lrpolicy.measurement (trial_id, {_MEASUREMENT})
    VALUES (%s{", %s" * len(rows.MEASUREMENT_COLUMNS)})
    ON CONFLICT (trial_id, split, iteration)
    DO UPDATE SET ({_MEASUREMENT}) = ROW ({_list(rows.MEASUREMENT_COLUMNS, "EXCLUDED")})"""

SELECT_MEASUREMENTS = f"SELECT {_MEASUREMENT} FROM lrpolicy.measurement WHERE trial_id = %s ORDER BY iteration, split"

STORE_CURVE = """
    INSERT INTO lrpolicy.curve_piece (trial_id, first, iterations, losses, rates)
    VALUES (%s, %s, %s::bigint[], %s::real[], %s::double precision[])
    ON CONFLICT (trial_id, first)
    DO UPDATE SET iterations = EXCLUDED.iterations, losses = EXCLUDED.losses, rates = EXCLUDED.rates"""

SELECT_CURVE = "SELECT iterations, losses, rates FROM lrpolicy.curve_piece WHERE trial_id = %s ORDER BY first"

SET_RUN_STATE = "UPDATE lrpolicy.run SET state = %s, ended = %s WHERE id = %s"

RUN_LOCK = 0x6C7272  # any constant of ours: "lrr"
TAKE_RUN = "SELECT pg_try_advisory_lock(%s, %s::integer)"
LET_GO_OF_RUN = "SELECT pg_advisory_unlock(%s, %s::integer)"

# The moment names the start: one that is repeated, because its acknowledgement was lost, is not another attempt.
START_TRIAL = """
    UPDATE lrpolicy.trial
    SET status = 'running', worker = %(worker)s, started = %(moment)s, ended = NULL,
        attempt = attempt + (started IS DISTINCT FROM %(moment)s)::integer
    WHERE id = %(trial)s"""

FINISH_TRIAL = """
    UPDATE lrpolicy.trial
    SET status = %s, iterations = %s, seconds = %s, message = %s, best_split = %s, best_iteration = %s,
        test_split = %s, test_iteration = %s, worker = NULL, ended = now()
    WHERE id = %s"""

RESET_TRIAL = """
    UPDATE lrpolicy.trial
    SET status = 'planned', iterations = NULL, seconds = NULL, message = '', best_split = NULL, best_iteration = NULL,
        test_split = NULL, test_iteration = NULL, worker = NULL, started = NULL, ended = NULL
    WHERE id = %s"""

SELECT_SPEC = f"SELECT {_list(rows.SPEC_COLUMNS)} FROM lrpolicy.trial WHERE id = %s"

SELECT_TRIALS = f"""
    SELECT trial.id, run_id, status, attempt, parameter_count, iterations, trial.seconds, message,
           {_list(rows.SPEC_COLUMNS, "trial")}, policy.name, {_list(rows.POLICY_COLUMNS, "policy")},
           {_list(rows.MEASUREMENT_COLUMNS, "best")}, {_list(rows.MEASUREMENT_COLUMNS, "test")}
    FROM lrpolicy.trial
    JOIN lrpolicy.run ON run.id = run_id
    JOIN lrpolicy.policy ON policy.id = policy_id
    LEFT JOIN lrpolicy.measurement AS best
        ON (best.trial_id, best.split, best.iteration) = (trial.id, best_split, best_iteration)
    LEFT JOIN lrpolicy.measurement AS test
        ON (test.trial_id, test.split, test.iteration) = (trial.id, test_split, test_iteration)
    WHERE (%(run)s::bigint IS NULL OR run_id = %(run)s)
      AND (%(task)s::bigint IS NULL OR task_id = %(task)s)
      AND (%(stage)s::text IS NULL OR stage = %(stage)s)
      AND (%(status)s::text IS NULL OR status = %(status)s)
    ORDER BY trial.id"""

COUNT_TRIALS = "SELECT run_id, count(*) FROM lrpolicy.trial GROUP BY run_id"

_TASK = f"""
    framework.name, task_type, {_list(rows.NETWORK_COLUMNS, "network")}, {_list(rows.DATASET_COLUMNS, "dataset")}"""
_PARTS_OF_TASK = """
    JOIN lrpolicy.framework ON framework.id = framework_id
    JOIN lrpolicy.network ON network.id = network_id
    JOIN lrpolicy.dataset ON dataset.id = dataset_id"""

SELECT_RUNS = f"""
    SELECT run.id, key, state, started, ended, settings, versions, hardware, origin, {_TASK}
    FROM lrpolicy.run JOIN lrpolicy.task ON task.id = task_id {_PARTS_OF_TASK}"""

# Tasks that some run has trials for, or that a range test was made for.
SELECT_TASKS = f"""
    SELECT task.id, {_TASK}
    FROM lrpolicy.task {_PARTS_OF_TASK}
    WHERE EXISTS (SELECT FROM lrpolicy.run JOIN lrpolicy.trial ON run_id = run.id WHERE task_id = task.id)
       OR EXISTS (SELECT FROM lrpolicy.range_test WHERE task_id = task.id)
    ORDER BY task.id"""


def store_task(connection: Connection, task: Task) -> int:
    """The id of the task, which is stored with its parts unless it is there."""
    parts = {
        "framework_id": identify(connection, "framework", {"name": task.framework}),
        "network_id": identify(connection, "network", asdict(task.network)),
        "dataset_id": identify(connection, "dataset", asdict(task.dataset)),
    }
    return identify(connection, "task", parts | {"task_type": task.task_type})


def find_task(connection: Connection, task: Task) -> int | None:
    """The id of the task, None if it is not stored."""
    parts = {
        "framework_id": _find(connection, "framework", {"name": task.framework}),
        "network_id": _find(connection, "network", asdict(task.network)),
        "dataset_id": _find(connection, "dataset", asdict(task.dataset)),
    }
    return None if None in parts.values() else _find(connection, "task", parts | {"task_type": task.task_type})


def store_measurement(connection: Connection, trial: int, measurement: Measurement) -> None:
    """Insert the measurement, or replace the one of its split and iteration."""
    connection.execute(STORE_MEASUREMENT, [trial, *rows.measurement_row(measurement)])


def identify(connection: Connection, table: str, key: Mapping[str, Any], rest: Mapping[str, Any] | None = None) -> int:
    """The id of the row with this key, inserted with the rest of its values unless it is there.

    `key` covers a unique constraint of the table. Of several processes that insert at once, one does.
    """
    number = _find(connection, table, key)
    if number is None:
        number = _insert(connection, table, {**key, **(rest or {})})
    if number is None:  # another process inserted it in between, and has committed
        number = _find(connection, table, key)
    if number is None:
        raise InputError(f"the database lost a row of {table} while it was stored", got=dict(key))
    return number


def expect_one(cursor: Cursor[Any], what: str, where: str) -> None:
    """Raise InputError unless the command changed one row."""
    if cursor.rowcount != 1:
        raise InputError(f"there is no {what}", where=where)


def _find(connection: Connection, table: str, key: Mapping[str, Any]) -> int | None:
    # "= NULL" is never true, and "IS NOT DISTINCT FROM" does not use an index
    tests = [
        sql.SQL("{} IS NULL" if value is None else "{} = " + _placeholder(value)).format(sql.Identifier(name))
        for name, value in key.items()
    ]
    query = sql.SQL("SELECT id FROM {} WHERE {}").format(_table(table), sql.SQL(" AND ").join(tests))
    row = connection.execute(query, [value for value in key.values() if value is not None]).fetchone()
    return None if row is None else int(row[0])


def _insert(connection: Connection, table: str, values: Mapping[str, Any]) -> int | None:
    """The id of the new row, None if it clashes with one that is there."""
    command = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING RETURNING id").format(
        _table(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(sql.SQL(_placeholder(value)) for value in values.values()),
    )
    row = connection.execute(command, list(values.values())).fetchone()
    return None if row is None else int(row[0])


def _table(name: str) -> sql.Identifier:
    return sql.Identifier("lrpolicy", name)


def _placeholder(value: object) -> str:
    return "%s::bigint[]" if isinstance(value, list | tuple) else "%s"
