"""Ends from outside: Ctrl-C, SIGTERM, and a reader of the output that goes away.

SIGTERM ends a command as Ctrl-C does: what was measured is kept, workers and server are stopped, one line is said. The
exit status tells them apart as a shell would: 128 and the signal's number.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lrpolicy.errors import InterruptedRun, LrpolicyError


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def termination() -> Iterator[None]:
    """SIGTERM raises Terminated in the main thread, within a `with` block; those that follow are not heard.

    So programs that send it twice, such as timeout, do not disturb what the first one made the command put away.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def interrupted(by: KeyboardInterrupt, more: str = "") -> InterruptedRun:
    """The end that a signal brings, with what a person should know of it."""
    number = signal.SIGTERM if isinstance(by, Terminated) else signal.SIGINT
    return InterruptedRun(f"interrupted{more}", number)


class ReaderLeftError(LrpolicyError):
    """Nobody reads the output any more: there is no message, and the status of a program that SIGPIPE ended."""

    exit_status = 128 + signal.SIGPIPE


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """A broken pipe raises ReaderLeftError, within a `with` block, and what was still to be written goes nowhere.

    The signal itself stays ignored, as Python has it: else a lost server would end the process too.
    """
    try:
        yield
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):  # rich's answer to it
            raise
        _drop_output()
        raise ReaderLeftError from error


def _drop_output() -> None:
    """Point the broken streams to nowhere, or Python would complain at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
