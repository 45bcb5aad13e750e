"""`train`, `tune` and `doctor` with the caffe engine, and what remains when somebody kills Caffe or the tuner."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lrpolicy import cli, zoo
from lrpolicy.database import RunState, connect
from lrpolicy.prototxt import files
from lrpolicy.records import TrialStatus
from support.full_disk import full_disk

TUNE = [
    "tune",
    "digits",
    "--engine",
    "caffe",
    "--policies",
    "fixed,tri2",
    "--candidates",
    "2",
    "--seeds",
    "2",
    "--cold",
]


@pytest.fixture
def environment(caffe_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Everything that a command leaves lies in tmp_path."""
    monkeypatch.setenv("LRPOLICY_CAFFE", str(caffe_binary))
    monkeypatch.setenv("LRPOLICY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("LRPOLICY_DSN", raising=False)
    monkeypatch.chdir(tmp_path)
    return dict(os.environ)


def start(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lrpolicy", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def caffes(folder: Path) -> list[int]:
    """The running `caffe train` whose solver lies in the folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                inside = any(os.fsencode(folder) in w and w.endswith(b"/solver.prototxt") for w in words[2:])
                if words[0].endswith(b"caffe") and inside:
                    found.append(int(process.name))
    return found


def wait_for(condition: Any, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    pytest.fail("it did not happen")


def test_train_digits(environment: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["train", "digits", "--engine", "caffe", "--max-iter", "90", "--test-interval", "45", "--json"]
    assert cli.run(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    measured = [(m["iteration"], m["split"]) for m in result["measurements"]]
    assert measured[:3] == [(0, "validation"), (45, "validation"), (90, "validation")]
    assert result["outcome"]["status"] == "completed"
    assert result["outcome"]["test"]["evaluation"]["top1"] > 0.8
    assert result["outcome"]["test"]["evaluation"]["average_confidence"] > 0.5
    assert result["measurements"][1]["evaluation"]["average_confidence"] is None
    assert (tmp_path / "digits_iter_90.solverstate").is_file()
    assert cli.run(["train", "digits", "--max-iter", "100", "--resume", "digits_iter_90.solverstate"]) == 0


@pytest.mark.parametrize(("snapshot", "ends_at"), [(0, 20), (10, 10)])
def test_a_snapshot_without_room_leaves_neither_file_and_the_outcome_is_printed(
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    snapshot: int,
    ends_at: int,
) -> None:
    source, kept = zoo.solver_path("digits"), tmp_path / "kept"
    (tmp_path / "digits_train_test.prototxt").write_bytes((source.parent / "digits_train_test.prototxt").read_bytes())
    (tmp_path / "s.prototxt").write_text(f"{source.read_text()}\nsnapshot: {snapshot}\n")
    kept.mkdir()
    whole = files.write_bytes

    def write(path: Path, content: bytes) -> None:
        with full_disk(1 << 12 if path.suffix == ".solverstate" else 1 << 30):
            whole(path, content)

    monkeypatch.setattr(files, "write_bytes", write)
    arguments = ["train", "s.prototxt", "--engine", "caffe", "--max-iter", "20", "--test-interval", "5"]
    assert cli.run([*arguments, "--snapshot-prefix", "kept/s", "--json"]) == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    failure = f"kept/s_iter_{ends_at}.solverstate: cannot be written: File too large; make room there, or give another"
    assert captured.err.splitlines()[-1].startswith(f"the training failed: {failure}")
    assert (result["outcome"]["status"], result["snapshot"]) == ("failed", None)
    assert ends_at <= result["outcome"]["iterations"] <= 20
    assert result["outcome"]["test"]["evaluation"]["example_count"] == 360
    assert not list(kept.iterdir())


def test_a_training_that_diverges(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = zoo.solver_path("digits")
    (tmp_path / "digits_train_test.prototxt").write_bytes((source.parent / "digits_train_test.prototxt").read_bytes())
    (tmp_path / "hot.prototxt").write_text(source.read_text().replace("base_lr: 0.05", "base_lr: 1e10"))
    assert cli.run(["train", "hot.prototxt", "--engine", "caffe"]) == 1
    assert "the training diverged: the loss of iteration" in capsys.readouterr().err


def test_ctrl_c_saves_and_ends_caffe(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = ["train", "digits", "--engine", "caffe", "--max-iter", "1000000", "--test-interval", "50"]
    with start(arguments, environment) as process:
        assert process.stderr is not None
        assert "Iteration 50" in process.stderr.readline() + process.stderr.readline()
        process.send_signal(signal.SIGINT)
        last = process.stderr.read().splitlines()[-1]
        assert process.wait(30) == 130
    assert last.startswith("interrupted after ")
    assert caffes(tmp_path) == []
    snapshot = last.split("--resume ")[-1]
    iteration = int(snapshot.removesuffix(".solverstate").rsplit("_", 1)[-1])
    again = ["train", "digits", "--engine", "caffe", "--max-iter", str(iteration + 5), "--resume", snapshot]
    assert cli.run(again) == 0


def test_killing_caffe_ends_a_tuning_run_that_then_goes_on(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = [*TUNE, "--max-iter", "2000", "--test-interval", "500", "--workers", "2", "--out", "out"]
    with start(arguments, environment) as process:
        time.sleep(wait_for(lambda: caffes(tmp_path)) and 0.3)
        os.kill(wait_for(lambda: caffes(tmp_path))[0], signal.SIGKILL)
        error = process.communicate(timeout=100)[1]
    assert process.returncode == 1, error
    assert error.splitlines()[-1].startswith("caffe was ended by signal SIGKILL (after ")
    assert error.endswith("; `lrpolicy tune --resume --out out` goes on from there\n")
    assert "Traceback" not in error
    wait_for(lambda: not caffes(tmp_path))
    with connect() as database:
        (run,) = database.runs()
        assert run.state is RunState.FAILED
        for trial in database.trials(run=run.id):
            assert trial.status is not TrialStatus.RUNNING
            assert trial.status is not TrialStatus.COMPLETED or trial.outcome.test is not None
            measured = [m.iteration for m in database.measurements(trial.id) if m.split == "validation"]
            assert measured == sorted(set(measured))
    with start(["tune", "--resume", "--json", "--out", "out"], environment) as process:
        out, error = process.communicate(timeout=100)
    assert process.returncode == 0, error
    assert {row["policy"]["lr_policy"] for row in json.loads(out)["ranking"]} == {"fixed", "tri2"}
    with connect() as database:
        (run,) = database.runs()
        assert run.state is RunState.COMPLETED
        finals = [trial for trial in database.trials(run=run.id) if trial.spec.stage == "final"]
        assert len(finals) == 4
        assert {trial.spec.engine for trial in finals} == {"caffe"}
    assert not list(tmp_path.glob("lrpolicy-*"))


def test_a_caffe_whose_tuner_was_killed_ends_by_itself(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = ["train", "digits", "--engine", "caffe", "--max-iter", "1000000"]
    with start(arguments, environment) as process:
        wait_for(lambda: caffes(tmp_path))
        process.kill()
    wait_for(lambda: not caffes(tmp_path))


def test_doctor_says_whether_caffe_is_there(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrpolicy.cli.doctor._database_checks", list)

    def found() -> Any:
        assert cli.run(["doctor", "--json"]) == 0
        (check,) = (check for check in json.loads(capsys.readouterr().out) if check["name"] == "engine caffe")
        return check["status"], check["remedy"]

    assert found() == ("ok", "")
    monkeypatch.setenv("LRPOLICY_CAFFE", "/nowhere/caffe")
    assert found() == (
        "missing",
        'engine "caffe" is not available: no patched caffe binary at /nowhere/caffe; see caffe_patch/README.md',
    )
    assert cli.run(["train", "digits", "--engine", "caffe"]) == 1
    assert capsys.readouterr().err.startswith('engine "caffe" is not available')
