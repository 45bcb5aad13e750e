"""What `caffe` says in its log, line by line (src/caffe/solver.cpp, sgd_solver.cpp, tools/caffe.cpp)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Began:
    """The nets stand and training begins."""


@dataclass(frozen=True)
class Loss:
    """The smoothed loss of an iteration (0-based), in six digits."""

    iteration: int
    value: float


@dataclass(frozen=True)
class Rate:
    """The rate that the update of an iteration is about to use, in six digits."""

    iteration: int
    value: float


@dataclass(frozen=True)
class TestBegan:
    """A pass of the test net after `iteration` updates."""

    iteration: int


@dataclass(frozen=True)
class TestOutput:
    """The mean of one output of the test net over its pass, in six digits."""

    name: str
    value: float


@dataclass(frozen=True)
class Saving:
    """A .solverstate is being written, its .caffemodel is complete; both are when the next event comes."""

    state: Path


Event = Began | Loss | Rate | TestBegan | TestOutput | Saving

_LINE = re.compile(r"([IWEF])\d{4,8} [\d:.]+ +\d+ (\S+:\d+)\] (.*)")
_NUMBER = r"(-?(?:[\d.]+(?:e[+-]?\d+)?|nan|inf))"
_KINDS: list[tuple[re.Pattern[str], Callable[..., Event]]] = [
    (re.compile(rf"Iteration (\d+) \(.*\), loss = {_NUMBER}"), lambda i, v: Loss(int(i), float(v))),
    (re.compile(rf"Iteration (\d+), lr = {_NUMBER}"), lambda i, v: Rate(int(i), float(v))),
    (re.compile(r"Iteration (\d+), Testing net \(#0\)"), lambda i: TestBegan(int(i))),
    (
        re.compile(rf"    Test net output #\d+: (\S+) = {_NUMBER}(?: \(.*\))?"),
        lambda name, value: TestOutput(name, float(value)),
    ),
    (re.compile(r"Snapshotting solver state to (?:binary proto|HDF5) file (.+)"), lambda path: Saving(Path(path))),
    (re.compile(r"Starting Optimization"), Began),
]


def parse(line: str) -> Event | None:
    """The event that a line tells; None for any other line.

    Events are told by the solver's own thread. Other lines may come from the threads that read data, at any time.
    """
    match = _LINE.fullmatch(line)
    if match is None or match[1] != "I":
        return None
    for pattern, make in _KINDS:
        if found := pattern.fullmatch(match[3]):
            return make(*found.groups())
    return None


def fatal(line: str) -> str | None:
    """What killed Caffe, where this line says so: the rule that it broke, and where in its source."""
    match = _LINE.fullmatch(line)
    return f"{match[3].strip()} ({match[2]})" if match is not None and match[1] == "F" else None
