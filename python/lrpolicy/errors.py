"""What goes wrong, said once: where, rule, got, remedy.

Every error a user can cause is an `InputError`; every failure of a run is a `RunError`. The command line prints
`str(error)` and exits with `error.exit_status`; no traceback reaches a user who made a typing mistake.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable


class LrpolicyError(Exception):
    """Base of every error that lrpolicy raises on purpose."""

    exit_status = 1


class InputError(LrpolicyError, ValueError):
    """Wrong input: a file, an option or an argument that breaks a rule (exit status 2).

    `str(error)` reads  `where: rule, got ...; remedy`, each part present only when given.
    """

    exit_status = 2

    def __init__(
        self, rule: str, *, where: str | None = None, got: object | None = None, remedy: str | None = None
    ) -> None:
        self.rule, self.where, self.got, self.remedy = rule, where, got, remedy
        message = rule if where is None else f"{where}: {rule}"
        if got is not None:
            message += f", got {got}"
        if remedy is not None:
            message += f"; {remedy}"
        super().__init__(message)

    def at(self, where: str, remedy: str | None = None) -> InputError:
        """The same error with its place, for a caller that knows the file and line, and a remedy if it has none."""
        return InputError(self.rule, where=where, got=self.got, remedy=self.remedy or remedy)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_input_error, (self.rule, self.where, self.got, self.remedy)


def _rebuild_input_error(rule: str, where: str | None, got: object | None, remedy: str | None) -> InputError:
    return InputError(rule, where=where, got=got, remedy=remedy)


class RunError(LrpolicyError):
    """A run that was right in its input and failed all the same: a full disk, a dead server (exit status 1)."""


class NotAvailableError(RunError):
    """A part of lrpolicy whose dependency is absent here; the message says what to install."""


class InterruptedRun(LrpolicyError):  # noqa: N818  (an interruption is not an error of anyone's)
    """Ctrl-C or SIGTERM; what was measured is stored (exit status 128 and the signal's number: 130 or 143)."""

    def __init__(self, message: str, signal_number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A remedy text that lists the known names and the nearest one, or None when nothing is known."""
    known = sorted(known)
    if not known:
        return None
    text = "known: " + ", ".join(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f'{text}; did you mean "{nearest[0]}"?' if nearest else text
