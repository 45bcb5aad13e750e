"""Interruptions, and kill -9 at random moments of `lrpolicy tune`, its workers, the embedded server, or everything.

After `lrpolicy tune --resume` the database holds what an uninterrupted run leaves: nothing is lost, nothing counts
twice.
LRPOLICY_KILLS says how many kills (4 unless set), LRPOLICY_KILL_SEED which moments.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lrpolicy.database import Database, RunState, connect
from lrpolicy.evaluator import Plan
from lrpolicy.ranking import rank
from lrpolicy.records import TrialStatus
from lrpolicy.reports.results import ranking_rows

KILLS = int(os.environ.get("LRPOLICY_KILLS", "4"))
SEED = int(os.environ.get("LRPOLICY_KILL_SEED", "1"))
KILLS_OF_A_RUN = 8
VICTIMS = ("tuner", "worker", "server", "supervisor", "everything")
TUNE = ["tune", "digits", "--policies", "fixed,step,tri2,sinexp", "--max-iter", "60", "--seeds", "2", "--workers", "2"]
TUNE += ["--engine", "support.quadratic_engine:SlowEngine", "--test-interval", "10", "--cold", "--json"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, float]:
    """What a run without any kill leaves, and how many seconds its trainings took."""
    home = tmp_path_factory.mktemp("whole")
    tuner = start(home, TUNE)
    first_words(tuner)
    began = time.monotonic()
    finish(tuner)
    return contents(home), time.monotonic() - began


def start(home: Path, arguments: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "LRPOLICY_HOME": str(home / "home"), "PYTHONPATH": str(ROOT)}
    environment.pop("LRPOLICY_DSN", None)
    command = [sys.executable, "-m", "lrpolicy", *arguments, "--out", str(home / "out")]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=home
    )


def first_words(tuner: subprocess.Popen[str]) -> str:
    """Wait until it has something to say: before that it only starts."""
    assert tuner.stderr is not None
    return tuner.stderr.readline()


def finish(tuner: subprocess.Popen[str]) -> None:
    error = tuner.communicate(timeout=300)[1]
    assert tuner.returncode == 0, error


def contents(home: Path) -> Any:
    """Everything that the one run left: its trials with all that they measured, and the ranked table."""
    with connect(home=home / "home") as database:
        (run,) = database.runs()
        assert run.state is RunState.COMPLETED
        trials = database.trials(run=run.id)
        finals = [(trial.spec, trial.outcome) for trial in trials if trial.spec.stage == "final"]
        table = ranking_rows(rank(finals, Plan(("fixed",), 1).goal))
        return sorted(repr(trial_content(database, trial)) for trial in trials), table


def trial_content(database: Database, trial: Any) -> tuple[Any, ...]:
    curve = database.curve(trial.id)
    measured = database.measurements(trial.id)
    return trial.spec, trial.outcome, measured, curve.iterations.tolist(), curve.losses.tolist(), curve.rates.tolist()


def processes(home: Path, tuner: subprocess.Popen[str]) -> dict[str, list[int]]:
    """Who can be killed: kind of victim -> its processes."""
    found: dict[str, list[int]] = {"tuner": [tuner.pid], "worker": [], "server": [], "supervisor": []}
    wanted = os.fsencode(home / "home" / "server")
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == tuner.pid and b"spawn_main" in line:
                found["worker"].append(int(folder.name))
            elif wanted in line:
                kind = "supervisor" if b"supervisor.py" in line else "server"
                found[kind].append(int(folder.name))
    return found


def strike(home: Path, tuner: subprocess.Popen[str], victim: str, rng: random.Random) -> bool:
    """Kill the victim; whether there was one."""
    found = processes(home, tuner)
    chosen = [number for numbers in found.values() for number in numbers] if victim == "everything" else found[victim]
    if victim == "worker" and chosen:
        chosen = [rng.choice(chosen)]
    for number in chosen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return bool(chosen)


def killed_and_resumed(home: Path, kills: int, seconds: float, rng: random.Random) -> dict[str, int]:
    """One run with so many kills on its way; how often each kind of victim was struck."""
    struck: dict[str, int] = {}
    tuner = start(home, TUNE)
    while sum(struck.values()) < kills:
        first_words(tuner)
        time.sleep(rng.uniform(0, seconds))
        victim = rng.choice(VICTIMS)
        if tuner.poll() is not None:  # it has come to its end before
            break
        if not strike(home, tuner, victim, rng):
            continue
        struck[victim] = struck.get(victim, 0) + 1
        if victim in ("tuner", "everything"):
            tuner.communicate()
            tuner = resume(home)
    finish(tuner)
    return struck


def resume(home: Path) -> subprocess.Popen[str]:
    """Go on with the run, if it had begun."""
    with connect(home=home / "home") as database:
        runs = database.runs()
    if runs and runs[-1].state is RunState.COMPLETED:  # killed between its end and its last words
        return subprocess.Popen(["true"], stderr=subprocess.PIPE, text=True)
    return start(home, ["tune", "--resume", "--json"] if runs else TUNE)


def servers_of(home: Path) -> list[int]:
    wanted = os.fsencode(home / "home")
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                if wanted in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stage", ["search", "final"])
def test_interrupted_runs_end_as_if_nothing_had_happened(
    tmp_path: Path, uninterrupted: tuple[Any, float], number: signal.Signals, stage: str
) -> None:
    tuner = start(tmp_path, TUNE)
    assert tuner.stderr is not None
    assert any(line.startswith(f"{stage}: ") for line in tuner.stderr)
    time.sleep(0.1)
    tuner.send_signal(number)
    told = tuner.communicate(timeout=60)[1]
    assert tuner.returncode == 128 + number, told
    assert told.splitlines()[-1].startswith(
        "interrupted; what was measured is kept as run 1 in embedded PostgreSQL in "
    )
    assert not servers_of(tmp_path)
    with connect(home=tmp_path / "home") as database:
        (run,) = database.runs()
        trials = database.trials(run=run.id)
    assert run.state is RunState.INTERRUPTED
    assert any(trial.status is TrialStatus.COMPLETED for trial in trials)
    assert not any(trial.status is TrialStatus.RUNNING for trial in trials)
    finish(resume(tmp_path))
    assert contents(tmp_path) == uninterrupted[0]


@pytest.mark.timeout(120 + 60 * KILLS)
def test_killed_runs_end_as_if_nothing_had_happened(
    tmp_path: Path, uninterrupted: tuple[Any, float], capsys: pytest.CaptureFixture[str]
) -> None:
    whole, seconds = uninterrupted
    rng, left, struck = random.Random(SEED), KILLS, dict.fromkeys(VICTIMS, 0)
    number = 0
    while left > 0:
        home = tmp_path / str(number)
        home.mkdir()
        found = killed_and_resumed(home, min(left, KILLS_OF_A_RUN), seconds / 2, rng)
        trials, table = contents(home)
        assert trials == whole[0], (number, found)
        assert table == whole[1], (number, found)
        for victim, count in found.items():
            struck[victim] += count
        left -= sum(found.values())
        number += 1
        deadline = time.monotonic() + 30
        while servers_of(home) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not servers_of(home), "a server was left behind"
    with capsys.disabled():
        print(f"\n{KILLS} kills in {number} runs, of {struck}")
