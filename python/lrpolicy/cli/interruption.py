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
from typing import Any

import click

from lrpolicy.errors import InterruptedRun, LrpolicyError


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def termination(*, alone: bool = False) -> Iterator[None]:
    """SIGTERM raises Terminated in the main thread, within a `with` block; those that follow are not heard.

    So programs that send it twice, such as timeout, do not disturb what the first one made the command put away.
    Where the command line is `alone`, the whole program, Ctrl-C is a KeyboardInterrupt within the block, and after it
    no signal is heard: the exit status is settled.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Terminated

    wanted: dict[int, Any] = {signal.SIGTERM: terminate}
    if alone and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        wanted[signal.SIGINT] = signal.default_int_handler
    previous = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_IGN if alone else handler)


@contextmanager
def held() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of a `with` block that loads modules; a second one does not.

    There Python or a compiled module may call back, and would lose or mistake the exception that a signal raises.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def wait(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            previous[number](number, frame)

    for number, handler in previous.items():
        if callable(handler):
            signal.signal(number, wait)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for heard in came:
            signal.raise_signal(heard)


def interrupted(by: KeyboardInterrupt, more: str = "") -> InterruptedRun:
    """The end that a signal brings, with what a person should know of it."""
    number = signal.SIGTERM if isinstance(by, Terminated) else signal.SIGINT
    return InterruptedRun(f"interrupted{more}", number)


@contextmanager
def ended_from_outside() -> Iterator[None]:
    """A KeyboardInterrupt within a `with` block becomes the end that it means."""
    try:
        yield
    except KeyboardInterrupt as by:
        if sys.stderr.isatty():
            click.echo(err=True)  # the terminal's ^C stands there
        raise interrupted(by) from by


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
