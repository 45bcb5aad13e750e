"""One run of the `caffe` binary as a child process: its lines as they come, and its end, whoever wants it."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from lrpolicy.engines.caffe.log import fatal
from lrpolicy.errors import RunError

_SECONDS_OF_SILENCE = 0.25
_SECONDS_TO_STOP = 60.0


class CaffeProcess:
    """A running `caffe`. Leaving the `with` block kills it if it has not ended.

    It runs in a session of its own, so that Ctrl-C in the terminal reaches lrpolicy alone, which then asks Caffe to
    stop. Should lrpolicy itself be killed, the pipe breaks and SIGPIPE ends Caffe at its next line.
    """

    def __init__(self, binary: Path, arguments: Sequence[str], threads: int | None = None) -> None:
        environment = {**os.environ, "GLOG_logtostderr": "1", "GLOG_minloglevel": "0"}
        if threads is not None:
            environment |= {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        try:
            self._child = subprocess.Popen(
                [str(binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise RunError(f"{binary}: cannot be run: {error.strerror}") from error
        self._deadline: float | None = None
        self._fatal: str | None = None
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self._child.stdout is not None
        self._child.stdout.close()

    def lines(self) -> Iterator[str]:
        """Its lines until it has ended; "" each time that it has been silent for a moment."""
        assert self._child.stdout is not None
        pipe, rest = self._child.stdout.fileno(), b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                if self._deadline is not None and time.monotonic() > self._deadline:
                    self.kill()
                if not selector.select(_SECONDS_OF_SILENCE):
                    yield ""
                    continue
                chunk = os.read(pipe, 1 << 16)
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield self._noticed(line.decode(errors="replace"))
                if not chunk:
                    break
        self._child.wait()

    def stop(self) -> None:
        """Ask it to save and stop after the iteration that it is at; it is killed where that takes a minute."""
        if self._deadline is None:
            self._deadline = time.monotonic() + _SECONDS_TO_STOP
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it now."""
        self._child.kill()
        self._child.wait()

    def failure(self) -> str:
        """How it failed, once `lines` has come to its end; empty where it did not."""
        status = self._child.returncode
        if self._fatal is not None:
            return f"caffe stopped: {self._fatal}"
        if status < 0:
            return f"caffe was ended by signal {signal.Signals(-status).name}"
        return f"caffe ended with exit status {status}; its last words: {self._last}" if status else ""

    def _noticed(self, line: str) -> str:
        self._fatal = self._fatal or fatal(line)
        self._last = line or self._last
        return line
