"""The range tests that were made: what `lrpolicy range-test` keeps, and what is asked before a range is looked for."""

from __future__ import annotations

import uuid
from dataclasses import astuple, fields
from itertools import islice
from typing import Any

from lrpolicy.database import statements
from lrpolicy.database.driver import Connection
from lrpolicy.database.store import Database
from lrpolicy.database.stored import Setting, StoredRangeTest, Uncertain
from lrpolicy.records import Task

_SETTING = tuple(field.name for field in fields(Setting))
_FOUND = ("method", "judged_by", "held", "seeds", "iterations")
_RATES = tuple(f"{name}{end}" for name in ("low", "suggestion", "high") for end in ("", "_from", "_to"))
_SELECT = f"""
    SELECT id, {", ".join((*_FOUND, *_RATES, *_SETTING))}
    FROM lrpolicy.range_test WHERE task_id = %s ORDER BY id DESC"""


def store_range_test(database: Database, task: Task, found: StoredRangeTest) -> int:
    """Keep what a range test found for a task; returns its number."""
    key = uuid.uuid4()  # made here, so that a repeated insert finds the first one
    rates = (*found.low, *found.suggestion, *found.high)
    row: dict[str, Any] = {name: getattr(found, name) for name in _FOUND} | {"seeds": list(found.seeds)}
    row |= dict(zip(_RATES, rates, strict=True)) | dict(zip(_SETTING, astuple(found.setting), strict=True))

    def work(connection: Connection) -> int:
        task_id = statements.store_task(connection, task)
        return statements.identify(connection, "range_test", {"key": key}, {"task_id": task_id} | row)

    return database.transact(work)


def stored_range_tests(database: Database, task: int) -> dict[int, StoredRangeTest]:
    """The range tests of the task with this id, by their numbers, the newest first."""
    found = database.transact(lambda c: c.execute(_SELECT, [task]).fetchall())
    return {number: _range_test(row) for number, *row in found}


def _range_test(row: list[Any]) -> StoredRangeTest:
    values = iter(row)
    method, judged_by, held, seeds, iterations = islice(values, len(_FOUND))
    low, suggestion, high = (Uncertain(*islice(values, 3)) for _ in range(3))
    return StoredRangeTest(Setting(*values), method, judged_by, low, suggestion, high, held, tuple(seeds), iterations)
