"""The `lrpolicy` program and `python -m lrpolicy`: the command line, heard by signals before anything is loaded."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


def main() -> None:
    """Run the command line and leave with its exit status (see `lrpolicy.cli.main`)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and a shell's background jobs have it
            signal.signal(number, _leave)
    from lrpolicy.cli import main

    main()


def _leave(number: int, _frame: FrameType | None) -> None:
    """End at once, which costs nothing while modules are loaded; an exception could be lost in one of them."""
    from contextlib import suppress

    with suppress(OSError):
        os.write(2, b"\ninterrupted\n" if os.isatty(2) else b"interrupted\n")  # the terminal's ^C stands there
    os._exit(128 + number)


if __name__ == "__main__":
    main()
