"""What the commands share: options, examples, tables, JSON, and finding what an argument names."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.goals import Goal, find_goal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from lrpolicy.solver import Solver

F = TypeVar("F", bound=Callable[..., Any])

WIDTH_WITHOUT_TERMINAL = 160

# A solver's max_iter and test_interval are int32; seeds are numbered on from the first, and a database has 64 bits.
ITERATIONS = click.IntRange(1, 2**31 - 1)
# Trainings of each policy, and candidates: what nobody could train is a typing mistake.
COUNT = click.IntRange(1, 10_000)
SEED = click.IntRange(0, 2**62)


@contextmanager
def naming(place: str) -> Iterator[None]:
    """What is wrong within a `with` block is wrong at this place, an option for instance, unless it names its own."""
    try:
        yield
    except InputError as error:
        raise (error if error.where is not None else error.at(place)) from None


def checked(read: Callable[[str], object]) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """The callback of an option whose text `read` must understand, before anything is done; the text stays a text."""

    def check(_context: click.Context, option: click.Parameter, text: str | None) -> str | None:
        if text is not None:
            with naming(option.opts[0]):
                read(text)
        return text

    return check


def wanted_goal(name: str, target: float | None) -> Goal:
    """The goal of --goal and --target. Raises InputError where they do not go together."""
    with naming("--goal" if target is None else "--target"):
        return find_goal(name, target)


def json_option(function: F) -> F:
    """The --json that every command has, as the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")(function)


def dsn_option(server: str = "PostgreSQL server with the results.") -> Callable[[F], F]:
    """The --dsn of the commands that know the database; a wrong one is told before anything is done."""
    return click.option(
        "--dsn", callback=checked(_parse_dsn), help=f"{server}  [default: LRPOLICY_DSN, else an embedded server]"
    )


def _parse_dsn(text: str) -> object:
    from lrpolicy.database.driver import parse_dsn

    return parse_dsn(text)


def examples(*lines: str) -> str:
    """An epilog that shows example command lines as they are typed."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def print_json(value: object) -> None:
    """Print a value as JSON on standard output (keys in their order; NaN is not JSON and must not come here)."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def console() -> Console:
    """Standard output for rich: the terminal's width, or a width that keeps tables whole when there is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of texts, with room between the columns and a line under the head."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    result = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for row in rows:
        result.add_row(*map(Text, row))
    return result


def progress_bar(*columns: str) -> Progress:
    """A bar on standard error that goes away at its end, and shows nothing where that is no terminal.

    `columns` are formats of rich's task, such as "{task.percentage:3.0f} %", shown between the bar and the times.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    screen = Console(stderr=True)
    if not screen.is_terminal:
        screen.is_interactive = True  # else rich before 14.3 ends a bar that shows nothing with an empty line
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *map(TextColumn, columns),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=screen,
        disable=not screen.is_terminal,
        transient=True,
    )


def waiting(text: str) -> AbstractContextManager[object]:
    """Say on a terminal what takes a moment, while a `with` block lasts."""
    from rich.console import Console

    return Console(stderr=True).status(text)


def note(text: str) -> None:
    """Tell the user something beside the result, on standard error."""
    click.echo(f"note: {text}", err=True)


def read_solver(target: str) -> Solver:
    """The solver that TARGET names: a file, or one of the set-ups that lrpolicy ships. Its notes are shown.

    Raises InputError where there is neither such a file nor such a set-up.
    """
    from lrpolicy import zoo
    from lrpolicy.solver import read

    solver = read(zoo.find(target))
    for text in solver.notes:
        note(text)
    return solver


def note_nets(solver: Solver) -> None:
    """Show the notes on a solver's nets. Raises InputError where they do not fit."""
    from lrpolicy.engines.description import Phases

    for text in Phases.of(solver).notes:
        note(text)


def data_folder(target: str, data: Path | None) -> Path | None:
    """The folder of examples for TARGET: `--data` or LRPOLICY_DATA, or a shipped set-up's own folder in that.

    None where neither is there: the net's own sources are then read.
    """
    from lrpolicy import zoo

    root = data or os.environ.get("LRPOLICY_DATA")
    if root and target in zoo.names():
        folder = Path(root, target.partition("-")[0])
        if os.path.isdir(folder):  # noqa: PTH112  (Path.is_dir raises where a folder above may not be entered)
            return folder
    return data


def names_a_solver(target: str) -> bool:
    """Whether TARGET means a solver and not a policy: a file, something that looks like one, or a shipped set-up."""
    from lrpolicy import zoo

    looks_like_a_file = "/" in target or target.endswith((".prototxt", ".pbtxt", ".txt"))
    return looks_like_a_file or Path(target).is_file() or target in zoo.names()


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among the known ones."""
    return InputError(f'{kind} "{name}" is unknown', remedy=did_you_mean(name, known))
