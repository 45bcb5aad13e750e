"""From the database to a file: what is shared of a run, and what never is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lrpolicy import zoo
from lrpolicy.database import rows
from lrpolicy.database.driver import Connection
from lrpolicy.database.exchange.file import Counts, write_results
from lrpolicy.database.store import Database
from lrpolicy.database.stored import RunState, StoredRun
from lrpolicy.errors import InputError

_BATCH = 200  # trials that are in memory at a time
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_IDENTITY = "SELECT key::text FROM lrpolicy.identity"

# Settings that are texts and say nothing about a place; numbers and truth values are shared under any name.
_TEXT_SETTINGS = ("policies", "protocol", "engine", "device", "search", "budget", "goal")
_HARDWARE = ("machine", "processor", "cores", "gpu")
_HARMLESS = re.compile(r"(?:[^/\\@~]|@(?= )){1,200}")  # a processor may be "@ 2.30GHz"


def _object(columns: Mapping[str, str]) -> str:
    """SQL for a JSON object: name -> expression."""
    return "json_build_object(" + ", ".join(f"'{name}', {value}" for name, value in columns.items()) + ")"


def _mark(name: str) -> str:
    pair = _object({"split": f"{name}_split", "iteration": f"{name}_iteration"})
    return f"CASE WHEN {name}_split IS NOT NULL THEN {pair} END"


def _no_path(column: str) -> str:
    """SQL for a text without the folders before it."""
    return rf"COALESCE(NULLIF(regexp_replace({column}, '^.*[/\\]', ''), ''), 'unknown')"


_MEASUREMENTS = _object(
    {name: f"COALESCE(array_agg({name} ORDER BY iteration, split), '{{}}')" for name in rows.MEASUREMENT_COLUMNS}
)
_CURVE = _object(
    {name: f"COALESCE(array_agg({name} ORDER BY iteration), '{{}}')" for name in ("iteration", "loss", "rate")}
)
_POLICY = _object({"lr_policy": "name"} | {column: f"policy.{column}" for column in rows.POLICY_COLUMNS})
_TRIAL = (
    {"kind": "'trial'", "policy": f"json_strip_nulls({_POLICY})"}
    | {column: f"trial.{column}" for column in rows.SPEC_COLUMNS}
    | {column: _no_path(column) for column in ("optimizer", "engine", "device")}
    | {column: column for column in ("status", "attempt", "iterations", "seconds")}
    | {name: _mark(name) for name in ("best", "test")}
    | {
        "measurements": f"(SELECT {_MEASUREMENTS} FROM lrpolicy.measurement WHERE trial_id = trial.id)",
        "curve": f"""(SELECT {_CURVE} FROM lrpolicy.curve_piece,
                      unnest(iterations, losses, rates) AS point (iteration, loss, rate) WHERE trial_id = trial.id)""",
    }
)
# PostgreSQL writes the lines: numbers keep all their digits, and NaN becomes the text "NaN".
_SELECT_TRIALS = f"""
    SELECT trial.id, {_object(_TRIAL)}::text
    FROM lrpolicy.trial JOIN lrpolicy.policy ON policy.id = policy_id
    WHERE run_id = %s AND trial.id > %s AND status NOT IN ('planned', 'running')
    ORDER BY trial.id LIMIT {_BATCH}"""


@dataclass(frozen=True)
class Exported:
    """What went into a file."""

    path: Path
    runs: int
    trials: int


def export_runs(database: Database, path: Path, runs: Sequence[int] | None = None) -> Exported:
    """Write completed runs (all of them, or those with these ids) to a file; `database/README.md` describes it.

    Raises:
        InputError: a run is not there or has not completed, none has, or the folder does not exist.
        RunError: the file cannot be written.
    """
    chosen = [database.find_run(run) for run in dict.fromkeys(runs)] if runs else database.runs()
    if runs is None:
        chosen = [run for run in chosen if run.state is RunState.COMPLETED]
    for run in chosen:
        if run.state is not RunState.COMPLETED:
            remedy = "finish it with lrpolicy tune --resume"
            raise InputError(f"run {run.id} is not completed, so it may still change", got=run.state, remedy=remedy)
    if not chosen:
        raise InputError("no completed run is stored yet", where=database.where, remedy="lrpolicy tune makes one")

    def work(connection: Connection) -> Exported:
        connection.execute(_SNAPSHOT)
        counts, identity = Counts(), str((connection.execute(_IDENTITY).fetchone() or ("",))[0])
        write_results(path, _lines(connection, chosen, identity, counts), counts, identity, version("lrpolicy"))
        return Exported(path, counts.runs, counts.trials)

    return database.transact(work)


def _lines(connection: Connection, runs: Sequence[StoredRun], identity: str, counts: Counts) -> Iterator[str]:
    for run in runs:
        counts.runs += 1
        yield json.dumps(_run_line(run, identity), separators=(",", ":"), allow_nan=False)
        last = 0
        while batch := connection.execute(_SELECT_TRIALS, [run.id, last]).fetchall():
            counts.trials += len(batch)
            last = batch[-1][0]
            yield from (line for _, line in batch)


def _run_line(run: StoredRun, identity: str) -> dict[str, Any]:
    task = run.task
    return {
        "kind": "run",
        "key": run.key,
        "origin": run.origin or identity,
        "framework": _without_path(task.framework),
        "task_type": _without_path(task.task_type),
        "network": asdict(task.network) | {"name": _without_path(task.network.name)},
        "dataset": asdict(task.dataset) | {"name": _without_path(task.dataset.name)},
        "started": run.started.isoformat(),
        "ended": (run.ended or run.started).isoformat(),
        "settings": {name: value for name, value in run.settings.items() if _is_shared(name, value)},
        "versions": {name: value for name, value in run.versions.items() if _is_harmless(value)},
        "hardware": {name: run.hardware[name] for name in _HARDWARE if _is_harmless(run.hardware.get(name))},
    }


def _is_shared(name: str, value: object) -> bool:
    if name == "target":
        return value in zoo.names()
    if value is None or isinstance(value, bool | int | float):
        return True
    return name in _TEXT_SETTINGS and _is_harmless(value)


def _is_harmless(value: object) -> bool:
    """A number, or a short text that cannot be a path or an address."""
    if isinstance(value, str):
        return bool(_HARMLESS.fullmatch(value)) and value.isprintable()
    return isinstance(value, int | float)


def _without_path(name: str) -> str:
    return re.split(r"[/\\]", name)[-1] or "unknown"
