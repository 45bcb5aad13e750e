"""The command line. Adding a command is one line in `COMMANDS` and one module here, `cli/NAME.py`, holding NAME.

A dash in a command's name is an underscore in its module's.

A command's module is imported only when the command runs, so that `lrpolicy --help` stays quick.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import click

from lrpolicy.cli.interruption import (
    ReaderLeftError,
    ended_from_outside,
    held,
    interrupted,
    reader_may_leave,
    termination,
)
from lrpolicy.errors import LrpolicyError, did_you_mean

# What each command is for, as `lrpolicy --help` says it; the module's docstring says the rest.
COMMANDS = {
    "tune": "Rank the learning-rate policies for TARGET, "
    "a solver prototxt or the name of a set-up that lrpolicy ships.",
    "range-test": "Find the range of good learning rates for SOLVER, "
    "a solver prototxt or the name of a set-up that lrpolicy ships.",
    "train": "Train SOLVER, a solver prototxt or the name of a set-up that lrpolicy ships, "
    "with the policy that it names.",
    "rank": "Rank the policies of a stored RUN (a number, or latest) under a goal.",
    "report": "Write a stored RUN (a number, or latest) as one HTML file that needs nothing else.",
    "recommend": "Recommend policies for TARGET (a solver, a net or a shipped set-up) from what is stored.",
    "db": "List what the database holds, and share it as a file.",
    "policies": "List every policy with its formula and fields.",
    "explain": "Explain one policy, or the policy of a solver.",
    "plot": "Draw policies as a picture or in the terminal.",
    "rate": "Print the rate of a solver at given iterations.",
    "data": "Look at a data set, or write it in Caffe's formats.",
    "doctor": "Say what works on this machine, and what is missing.",
}


class _Commands(click.Group):
    """A group whose commands live in modules of their own, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        with held():
            module = importlib.import_module(f"lrpolicy.cli.{name}")
        return cast(click.Command, getattr(module, name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f'command "{args[0]}" is unknown; {did_you_mean(args[0], COMMANDS)}', ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with ended_from_outside(), reader_may_leave():  # of the help
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Its ends from outside are caught here, because click would tell none from another."""
        with ended_from_outside(), reader_may_leave():
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"lrpolicy {version('lrpolicy')}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: lrpolicy tune digits. Every command has --help with an example, and --json.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def lrpolicy() -> None:
    """Find, compare and run learning-rate policies."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status.

    0 done, 1 failed, 2 wrong input; 130 ended by Ctrl-C, 143 by SIGTERM, 141 by a reader that left.
    """
    sys.exit(run(arguments, alone=True))


def run(arguments: Sequence[str] | None = None, *, alone: bool = False) -> int:
    """Run the command line on these arguments (default: the process's) and return the exit status.

    Every error is one line on standard error; a traceback appears only where LRPOLICY_DEBUG is set. `alone` says that
    the process does nothing else, before or after: all its signals are then the command's.
    """
    try:
        with termination(alone=alone):
            _prepare_streams()
            _show_notes()
            return _run(arguments)
    except KeyboardInterrupt as by:  # at the very end, or it would have become an InterruptedRun
        error = interrupted(by)
        return _complain(str(error), error.exit_status)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result: Any = lrpolicy.main(arguments, prog_name="lrpolicy", standalone_mode=False)
    except click.ClickException as error:
        return _complain(_usage(error), error.exit_code)
    except click.Abort as error:  # from outside `invoke`, or a prompt's
        by = error.__cause__
        ended = interrupted(by if isinstance(by, KeyboardInterrupt) else KeyboardInterrupt())
        return _complain(str(ended), ended.exit_status)
    except LrpolicyError as error:
        return _complain(str(error), error.exit_status)
    except (OSError, MemoryError) as error:
        return _complain(_refused(error), 1)
    except Exception as error:  # the last door: whatever comes through it is our mistake
        text = f"{type(error).__name__}: {error}"
        return _complain(f"{text}; this is a bug in lrpolicy; set LRPOLICY_DEBUG=1 for the traceback", 1)
    return result if isinstance(result, int) else 0


def _complain(message: str, status: int) -> int:
    if os.environ.get("LRPOLICY_DEBUG"):
        traceback.print_exc()
    with suppress(ReaderLeftError), reader_may_leave():
        if message:
            click.echo(message, err=True)
    return status


def _refused(error: OSError | MemoryError) -> str:
    """What the machine did not give."""
    if isinstance(error, OSError):
        return f"{error.filename or 'standard output'}: {error.strerror or error}"
    reason = str(error) or "no more was given"
    return f"not enough memory: {reason}; a smaller net or batch needs less"


def _usage(error: click.ClickException) -> str:
    """A usage error with the command that it belongs to, and where its help is."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "lrpolicy"
    return f"{path}: {error.format_message().rstrip('.')}; see {path} --help"


def _show_notes() -> None:
    """What the library has to tell beside its results goes to standard error, each thing once."""
    told: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        new = record.getMessage() not in told
        told.add(record.getMessage())
        return new

    handler = logging.StreamHandler()
    handler.addFilter(is_new)
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    logger = logging.getLogger("lrpolicy")
    logger.setLevel(logging.INFO)
    logger.handlers = [handler]


def _prepare_streams() -> None:
    """A terminal that lacks a character shows a question mark; a stream that is closed takes everything."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  (open to the end, as the stream was)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
