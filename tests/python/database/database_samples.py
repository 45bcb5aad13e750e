"""Values that the database tests share, and a small program that they run in processes of their own."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lrpolicy.records import DatasetInfo, Evaluation, Measurement, NetworkInfo, Split, Task, TrialSpec

TASK = Task(
    "caffe", NetworkInfo("lenet", "5f2a", 431_080), DatasetInfo("mnist", 55_000, 5_000, 10_000, 1, 28, 28, 10, "9c1d")
)
TRI = {"lr_policy": "tri", "base_lr": 0.001, "max_lr": 0.01, "stepsize": 500}
MULTISTEP = {"lr_policy": "multistep", "base_lr": 0.1, "gamma": 0.3, "stepvalue": [100, 2_000, 10**12]}


def spec(policy: dict[str, object] | None = None, **changes: object) -> TrialSpec:
    settings = {"seed": 1, "max_iter": 1000, "batch_size": 64, "test_interval": 100, "optimizer": "SGD"}
    return TrialSpec(policy or TRI, **(settings | {"momentum": 0.9, "weight_decay": 5e-4} | changes))


def measurement(iteration: int, split: Split = Split.VALIDATION, top1: float = 0.9, **changes: float) -> Measurement:
    values = {"rate": 0.1 / 3, "train_loss": 0.25, "loss": 0.3, "top5": 0.99, "average_confidence": 0.9} | changes
    evaluation = Evaluation(
        values["loss"], top1, values["top5"], values["average_confidence"], 0.1, changes.get("cdac", math.nan), 1, 5000
    )
    return Measurement(iteration, split, values["rate"], values["train_loss"], evaluation, 1.5)


def python(program: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    """A process that runs `program`; its standard output is a pipe."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


def server_processes(home: Path) -> list[int]:
    """The process numbers of everything that serves `home`: the supervisor, the server, and what the server started."""
    wanted = os.fsencode(home / "server")
    lines: dict[int, bytes] = {}
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                lines[int(folder.name)] = (folder / "cmdline").read_bytes()
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    own = {number for number, line in lines.items() if wanted in line}
    return sorted(own | {number for number in lines if parents.get(number) in own})


def supervisor_of(home: Path) -> int:
    """The process number of the supervisor."""
    for number in server_processes(home):
        with contextlib.suppress(OSError):
            if b"supervisor.py" in Path("/proc", str(number), "cmdline").read_bytes():
                return number
    raise AssertionError(f"{home} has no supervisor")


def postmaster(home: Path) -> int:
    return int((home / "server/data/postmaster.pid").read_text().split("\n")[0])


def wait_until(condition: object, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def kill(number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
