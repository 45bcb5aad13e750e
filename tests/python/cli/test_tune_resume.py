"""`lrpolicy tune` interrupted, and gone on with by `--resume`, on an engine that pretends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lrpolicy.cli import run
from lrpolicy.database import Database, RunState, connect
from lrpolicy.records import TrialStatus
from support.fake_engine import TUNE_FAKE as FAKE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_measured_and_goes_on(folder, home, number, capsys):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    # With seed 669 the fake engine trains for ever.
    options = ["--policies", "tri", "--seed", "669", "--out", "my files", *FAKE]
    command = [sys.executable, "-m", "lrpolicy", "tune", "digits", *options]
    with (
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process,
        connect() as database,
    ):
        assert process.stderr is not None
        assert process.stderr.readline().startswith("note: finding the range of good rates: at most 8 trials x 10")
        assert process.stderr.readline().startswith("note: at most ")
        assert process.stderr.readline() == "range: 5 trials of 10 iterations\n"
        while not any(trial.status is TrialStatus.RUNNING for trial in database.trials(run=database.runs()[-1].id)):
            assert process.poll() is None
        process.send_signal(number)
        error = process.stderr.read()
        assert process.wait(30) == 128 + number, error
        assert error.endswith("; `lrpolicy tune --resume --out 'my files'` goes on from there\n")
        stored = database.runs()[-1]
        assert stored.state is RunState.INTERRUPTED
        assert TrialStatus.RUNNING not in {trial.status for trial in database.trials(run=stored.id)}


@pytest.mark.parametrize("begin", ["start_run", "resume_run"])
def test_an_interruption_while_the_run_begins_says_how_to_go_on(folder, home, begin, capsys, monkeypatch):
    with connect() as database:
        if begin == "resume_run":
            assert run(["tune", "digits", "--policies", "tri", *FAKE]) == 0
            database.finish_run(database.runs()[-1].id, RunState.INTERRUPTED)
        began = getattr(Database, begin)

        def interrupted(*arguments, **keywords):
            stored = began(*arguments, **keywords)
            signal.raise_signal(signal.SIGINT)
            return stored

        monkeypatch.setattr(Database, begin, interrupted)
        capsys.readouterr()
        options = ["--resume"] if begin == "resume_run" else ["digits", "--policies", "tri", *FAKE]
        assert run(["tune", *options]) == 130
        assert database.runs()[-1].state is RunState.INTERRUPTED
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("interrupted; what was measured is kept as run ")
    assert last.endswith("; `lrpolicy tune --resume` goes on from there")


def test_resume_finds_the_unfinished_run(folder, home, capsys):
    with connect() as database:
        for stored in database.runs():
            database.finish_run(stored.id, RunState.COMPLETED)
    assert run(["tune", "--resume"]) == 2
    assert "no unfinished run to resume" in capsys.readouterr().err
    assert run(["tune", "digits", "--policies", "tri", *FAKE]) == 0
    capsys.readouterr()
    with connect() as database:
        latest = database.runs()[-1]
        database.finish_run(latest.id, RunState.INTERRUPTED)
        assert run(["tune", "--resume", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["run"] == latest.id
        assert database.runs()[-1].id == latest.id


def test_resume_refuses_options_that_ask_for_something_else(folder, home, capsys):
    """They were ignored without a word: who wanted 80 iterations got 40."""
    arguments = ["tune", "digits", "--policies", "fixed", *FAKE]
    assert run([*arguments, "--json"]) == 0
    latest = json.loads(capsys.readouterr().out)["run"]
    with connect() as database:
        database.finish_run(latest, RunState.INTERRUPTED)
        for changed, message in {
            (
                "--max-iter",
                "80",
            ): f"--max-iter: a resumed run keeps its settings, and run {latest} began with 40, got 80",
            ("--budget", "9000"): "began with none, got 9000; leave the option out, or start another run",
            ("--data", "."): f"--data: a resumed run keeps its settings, and run {latest} began with none",
            ("--seeds", "3"): "--seeds: a resumed run",  # the default, asked for all the same
        }.items():
            assert run(["tune", "--resume", *changed]) == 2
            assert message in capsys.readouterr().err
        assert database.find_run("latest").state is RunState.INTERRUPTED
        assert run([*arguments, "--resume", "--json"]) == 0  # the same command again
        assert json.loads(capsys.readouterr().out)["run"] == latest


def test_a_resumed_run_keeps_the_range_that_it_began_with(folder, home, capsys):
    assert run(["tune", "digits", "--policies", "fixed", *FAKE, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    with connect() as database:
        database.finish_run(first["run"], RunState.INTERRUPTED)
    assert run(["tune", "--resume", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["run"], again["range_from"], again["iterations"]) == (first["run"], None, first["iterations"])


def test_resume_completes_the_folder_that_a_kill_left(folder, home, capsys):
    assert run(["tune", "digits", *FAKE, "--policies", "fixed", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    Path(done["files"]["picture"]).unlink()
    with connect() as database:
        database.finish_run(done["run"], RunState.INTERRUPTED)
    assert run(["tune", "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == done["files"]
    assert Path(done["files"]["picture"]).is_file()
