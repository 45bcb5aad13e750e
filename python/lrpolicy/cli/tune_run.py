"""A run of `lrpolicy tune` in the database: begun, interrupted, found again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from lrpolicy.cli.interruption import held, interrupted
from lrpolicy.cli.tune_settings import Settings
from lrpolicy.database import Database, RunState
from lrpolicy.errors import InputError, RunError


@dataclass(frozen=True)
class KeptRun:
    """A run and what a person should know of it when it ends early."""

    id: int
    database: Database
    out: Path | None

    @property
    def key(self) -> str:
        """Names the run in any database."""
        return self.database.find_run(self.id).key

    def __str__(self) -> str:
        return f"what was measured is kept as run {self.id} in {self.database.where}"

    @property
    def again(self) -> str:
        """How to go on."""
        chosen = "" if self.out is None else f" --out {shlex.quote(str(self.out))}"
        return f"`lrpolicy tune --resume{chosen}` goes on from there"

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Say after what fails within the `with` block what is kept, and how to go on."""
        try:
            yield
        except RunError as error:
            raise RunError(f"{error}; {self}; {self.again}") from error


@contextmanager
def running(begin: Callable[[], int], database: Database, out: Path | None) -> Iterator[KeptRun]:
    """Begin or resume a run, and mark it in the database when the `with` block does not get to its end."""
    kept = None
    try:
        with held():  # a run is not stored without anybody who would mark it and say so
            kept = KeptRun(begin(), database, out)
        yield kept
    except BaseException as end:
        if kept is None:
            raise
        outside = isinstance(end, KeyboardInterrupt | SystemExit | BrokenPipeError)  # the last two: no reader is left
        database.finish_run(kept.id, RunState.INTERRUPTED if outside else RunState.FAILED)
        if not isinstance(end, KeyboardInterrupt):
            raise
        raise interrupted(end, f"; {kept}; {kept.again}") from None


def unfinished(database: Database, target: str | None) -> tuple[int, Settings]:
    """The latest run that did not end. Raises InputError when there is none."""
    for run in reversed(database.runs()):
        ours = "target" in run.settings  # not a run of lrpolicy.tune(train_fn)
        if ours and run.state is not RunState.COMPLETED and target in (None, run.settings["target"]):
            return run.id, Settings(**run.settings)
    of_target = "" if target is None else f' of "{target}"'
    raise InputError(
        f"no unfinished run{of_target} to resume", where=database.where, remedy="start one without --resume"
    )


def refuse_changes(context: click.Context, run: int, settings: Settings) -> None:
    """Raise InputError for an option given beside --resume that asks for something else than the run began with."""
    kept = asdict(settings) | {"cold": settings.range is None}
    for option in context.command.params:
        name = str(option.name)
        if (
            name not in kept
            or name == "target"
            or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE
        ):
            continue
        given = context.params[name]
        if isinstance(given, Path):
            given = str(given.resolve())
        if given != kept[name]:
            began = "with a stored range" if name == "cold" else f"with {'none' if kept[name] is None else kept[name]}"
            raise InputError(
                f"a resumed run keeps its settings, and run {run} began {began}",
                where=option.opts[0],
                got=None if name == "cold" else given,
                remedy="leave the option out, or start another run without --resume",
            )
