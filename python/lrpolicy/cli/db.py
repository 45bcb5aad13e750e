"""`lrpolicy db`: what the database holds, where it is, and its exchange with other people's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrpolicy.cli.common import console, dsn_option, examples, json_option, print_json, table
from lrpolicy.database import StoredRun, connect

_dsn_option = dsn_option("PostgreSQL server.")


@click.group(no_args_is_help=False, epilog=examples("lrpolicy db runs", "lrpolicy db export results.gz"))
def db() -> None:
    """List what the database holds, and share it as a file."""


@db.command(epilog=examples("lrpolicy db where", "lrpolicy db where --json"))
@_dsn_option
@json_option
def where(dsn: str | None, as_json: bool) -> None:
    """Say where the results are kept (never with a password), and how many runs there are."""
    with connect(dsn) as database:
        place, count = database.where, len(database.runs())
    if as_json:
        print_json({"where": place, "runs": count})
    else:
        click.echo(f"{place}: {_count(count, 'run')}")


@db.command(epilog=examples("lrpolicy db runs", "lrpolicy db runs --json"))
@_dsn_option
@json_option
def runs(dsn: str | None, as_json: bool) -> None:
    """List the runs, oldest first, with their task and how many trials they have."""
    with connect(dsn) as database:
        found, trials = database.runs(), database.trial_counts()
    if as_json:
        print_json([_as_json(run, trials.get(run.id, 0)) for run in found])
        return
    heads = ["run", "started (UTC)", "network", "dataset", "framework", "state", "trials", "from"]
    rows = [
        [
            str(run.id),
            f"{run.started:%Y-%m-%d %H:%M}",
            run.task.network.name,
            run.task.dataset.name,
            run.task.framework,
            str(run.state),
            str(trials.get(run.id, 0)),
            "here" if run.origin is None else run.origin[:8],
        ]
        for run in found
    ]
    console().print(table(heads, rows) if rows else "no run is stored yet")


@db.command(epilog=examples("lrpolicy db export results.gz", "lrpolicy db export mine.gz --run 3 --run 5"))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--run", "chosen", type=click.IntRange(1), multiple=True, metavar="N", help="This run only; repeatable.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@_dsn_option
@json_option
def export(file: Path, chosen: tuple[int, ...], force: bool, dsn: str | None, as_json: bool) -> None:
    """Write the completed runs to FILE, to share them.

    No path, host, user, password or error message goes into it.
    """
    from lrpolicy.database.exchange import export_runs
    from lrpolicy.errors import InputError

    if file.exists() and not force:
        raise InputError("exists already", where=str(file), remedy="give another name, or --force to replace it")
    with connect(dsn) as database:
        done = export_runs(database, file, chosen or None)
    if as_json:
        print_json({"path": str(done.path), "runs": done.runs, "trials": done.trials})
    else:
        click.echo(f"{done.path}: {_count(done.runs, 'run')}, {_count(done.trials, 'trial')}")


@db.command("import", epilog=examples("lrpolicy db import results.gz"))
@click.argument("file", type=click.Path(path_type=Path))
@_dsn_option
@json_option
def import_(file: Path, dsn: str | None, as_json: bool) -> None:
    """Read the runs of FILE that the database does not have yet.

    A file that is foreign, newer, cut short or changed is refused, and nothing changes.
    """
    from lrpolicy.database.exchange import import_runs

    with connect(dsn) as database:
        done = import_runs(database, file)
    if as_json:
        print_json({"path": str(file), "runs": done.runs, "trials": done.trials, "known_runs": done.known_runs})
    else:
        known = f"; {_count(done.known_runs, 'run')} known already" if done.known_runs else ""
        click.echo(f"{file}: {_count(done.runs, 'new run')}, {_count(done.trials, 'trial')}{known}")


def _as_json(run: StoredRun, trials: int) -> dict[str, Any]:
    return {
        "run": run.id,
        "key": run.key,
        "state": str(run.state),
        "started": run.started.isoformat(),
        "ended": None if run.ended is None else run.ended.isoformat(),
        "framework": run.task.framework,
        "network": run.task.network.name,
        "dataset": run.task.dataset.name,
        "trials": trials,
        "origin": run.origin,
    }


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
