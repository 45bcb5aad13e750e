"""Kill -9 at random moments: of the client, the supervisor, the server, or everything. Nothing that a method has
returned from is lost, nothing is there twice, and no server stays behind.

LRPOLICY_KILLS says how many kills (4 unless set), LRPOLICY_KILL_SEED which moments.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest
from database_samples import kill, postmaster, python, server_processes, supervisor_of, wait_until

from lrpolicy import database
from lrpolicy.records import TrialStatus

KILLS = int(os.environ.get("LRPOLICY_KILLS", "4"))
SEED = int(os.environ.get("LRPOLICY_KILL_SEED", "1"))
PER_TRIAL = 5

WORKER = """
import sys
from pathlib import Path
from database_samples import TASK, TRI, measurement, spec
from lrpolicy import database
from lrpolicy.records import TrialOutcome, TrialStatus
with database.connect(home=Path(sys.argv[1])) as results:
    runs = results.runs()
    run = runs[0].id if runs else results.start_run(TASK, {})
    if runs:
        results.resume_run(run)
    done = {t.spec.seed for t in results.trials(run, status=TrialStatus.COMPLETED)}
    for seed in range(100000):
        trial = results.plan_trial(run, spec(TRI, seed=seed))
        if seed in done:
            continue
        results.reset_trial(trial)
        results.start_trial(trial)
        for iteration in range(1, 6):
            results.add_measurement(trial, measurement(iteration))
            print(f"measured {seed} {iteration}", flush=True)
        results.add_curve(trial, [1, 2], [1.0, 0.5], [0.1, 0.1])
        results.finish_trial(trial, TrialOutcome(TrialStatus.COMPLETED, 5, 1.0, measurement(5)))
        print(f"finished {seed}", flush=True)
"""


def strike(home: Path, client: subprocess.Popen[str], victim: str) -> None:
    if victim == "client":
        kill(client.pid)
    elif victim == "server":
        kill(postmaster(home))
    elif victim == "supervisor":
        kill(supervisor_of(home))
    else:
        for number in [client.pid, *server_processes(home)]:
            kill(number)


def test_what_was_acknowledged_survives_every_kill(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    home, rng = tmp_path / "home", random.Random(SEED)
    finished: set[int] = set()
    for number in range(KILLS):
        victim = ("client", "server", "supervisor", "everything")[number % 4]
        client = python(WORKER, home, cwd=request.path.parent)
        assert client.stdout is not None
        told = [client.stdout.readline()]
        assert told[0], "the worker said nothing"
        time.sleep(rng.uniform(0, 0.5))
        strike(home, client, victim)
        if victim in ("server", "supervisor"):  # the worker goes on by itself, on a new server
            told += [client.stdout.readline() for _ in range(100)]
            kill(client.pid)
        told += client.communicate()[0].splitlines()
        finished |= {
            int(line.split()[1]) for line in told if line.startswith("finished") and line.strip()[-1:].isdigit()
        }
        last = [line for line in told if line.startswith("measured")][-1].split()
        assert wait_until(lambda: not server_processes(home)), (victim, server_processes(home))
        with database.connect(home=home) as results:
            (run,) = results.runs()
            trials = results.trials(run.id)
            completed = {trial.spec.seed for trial in trials if trial.status is TrialStatus.COMPLETED}
            assert finished <= completed, (number, victim)
            assert len(trials) == len({trial.spec.seed for trial in trials})
            (latest,) = [trial for trial in trials if trial.spec.seed == int(last[1])]
            kept = [found.iteration for found in results.measurements(latest.id)]
            assert kept[: int(last[2])] == list(range(1, int(last[2]) + 1)), (number, victim)
            for trial in trials:
                if trial.status is TrialStatus.COMPLETED and rng.random() < 0.2:
                    assert [m.iteration for m in results.measurements(trial.id)] == list(range(1, PER_TRIAL + 1))
                    assert results.curve(trial.id).iterations.tolist() == [1, 2]
        assert wait_until(lambda: not server_processes(home))
    assert len(finished) >= KILLS / 4
