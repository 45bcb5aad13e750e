"""`lrpolicy db`: what is there, and what goes from one database to another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrpolicy.cli import run
from lrpolicy.database import RunState, connect
from lrpolicy.records import DatasetInfo, NetworkInfo, Task, TrialOutcome, TrialSpec, TrialStatus

TASK = Task(
    "torch", NetworkInfo("lenet", "aa", 431_080), DatasetInfo("mnist", 54_000, 6_000, 10_000, 1, 28, 28, 10, "11")
)
SECRET = "s3cret-Pa55"


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two homes whose servers run: one with a completed and an unfinished run, one that is empty."""
    folder = tmp_path_factory.mktemp("db")
    mine, theirs = folder / "mine", folder / "theirs"
    with connect(home=mine) as results, connect(home=theirs):
        for state in (RunState.COMPLETED, RunState.INTERRUPTED):
            number = results.start_run(TASK, {"seeds": 3})
            spec = TrialSpec({"lr_policy": "fixed", "base_lr": 0.1}, 1, 100, 64, 50, "SGD", 0.9, 0.0)
            results.finish_trial(results.plan_trial(number, spec), TrialOutcome(TrialStatus.DIVERGED, 9, 0.5))
            results.finish_run(number, state)
        yield mine, theirs


@pytest.fixture(autouse=True)
def here(homes: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRPOLICY_HOME", str(homes[0]))
    monkeypatch.delenv("LRPOLICY_DSN", raising=False)


def told(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(["db", *arguments]) == status
    captured = capsys.readouterr()
    if status:
        assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err if status else captured.out


def test_runs_and_where(capsys: pytest.CaptureFixture[str], homes: tuple[Path, Path]) -> None:
    assert told(capsys, "where") == f"embedded PostgreSQL in {homes[0]}: 2 runs\n"
    assert json.loads(told(capsys, "where", "--json")) == {"where": f"embedded PostgreSQL in {homes[0]}", "runs": 2}
    table = told(capsys, "runs")
    assert "completed" in table and "interrupted" in table and "lenet" in table and "here" in table
    first, second = json.loads(told(capsys, "runs", "--json"))
    assert (first["run"], first["trials"], first["network"], first["origin"]) == (1, 1, "lenet", None)
    assert (second["state"], second["key"] != first["key"]) == ("interrupted", True)


def test_results_travel_and_twice_is_once(
    capsys: pytest.CaptureFixture[str], homes: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(capsys, "export", "mine.gz") == "mine.gz: 1 run, 1 trial\n"
    one = json.loads(told(capsys, "export", "one.gz", "--run", "1", "--json"))
    assert one == {"path": "one.gz", "runs": 1, "trials": 1}
    assert (tmp_path / "mine.gz").read_bytes() == (tmp_path / "one.gz").read_bytes()
    assert told(capsys, "import", "mine.gz") == "mine.gz: 0 new runs, 0 trials; 1 run known already\n"
    monkeypatch.setenv("LRPOLICY_HOME", str(homes[1]))
    assert told(capsys, "runs") == "no run is stored yet\n"
    assert told(capsys, "import", "mine.gz") == "mine.gz: 1 new run, 1 trial\n"
    again = json.loads(told(capsys, "import", "mine.gz", "--json"))
    assert again == {"path": "mine.gz", "runs": 0, "trials": 0, "known_runs": 1}
    (found,) = json.loads(told(capsys, "runs", "--json"))
    assert found["origin"] is not None and found["origin"][:8] in told(capsys, "runs")


def test_wrong_input_is_one_line_and_changes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "old.gz").write_text("precious")
    assert "old.gz: exists already; give another name, or --force" in told(capsys, "export", "old.gz", status=2)
    assert (tmp_path / "old.gz").read_text() == "precious"
    assert "old.gz: this is not a file of shared results" in told(capsys, "import", "old.gz", status=2)
    assert "absent.gz: cannot be read" in told(capsys, "import", "absent.gz", status=2)
    assert "there is no run 9" in told(capsys, "export", "x.gz", "--run", "9", status=2)
    assert "run 2 is not completed" in told(capsys, "export", "x.gz", "--run", "2", status=2)
    assert "no such folder" in told(capsys, "export", "no/where.gz", status=2)
    assert [path.name for path in tmp_path.iterdir()] == ["old.gz"]
    assert told(capsys, "export", "old.gz", "--force") == "old.gz: 1 run, 1 trial\n"
    assert "No such command" in told(capsys, "drop", status=2)


@pytest.mark.parametrize("port", ["99999", "0", "-1", "54x2"])
def test_a_port_that_cannot_be_is_wrong_input(
    port: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = "a port in the database's DSN is a whole number from 1 to 65535"
    for dsn in (f"host=127.0.0.1 port={port}", f"postgresql://me:{SECRET}@127.0.0.1:{port}/x"):
        message = told(capsys, "where", "--dsn", dsn, status=2)
        assert message.startswith(f"--dsn: {rule}") and message.count("\n") == 1
        assert (f", got {port};" in message) == (port != "54x2") and SECRET not in message
        monkeypatch.setenv("LRPOLICY_DSN", dsn)
        assert told(capsys, "where", status=2).startswith(f"LRPOLICY_DSN: {rule}")
        monkeypatch.delenv("LRPOLICY_DSN")


def test_no_message_tells_a_password(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    dsn = f"postgresql://me:{SECRET}@127.0.0.1:1/x"
    for arguments in (["where"], ["runs"], ["export", "x.gz"], ["import", "x.gz"]):
        message = told(capsys, *arguments, "--dsn", dsn, status=1)
        assert "127.0.0.1:1" in message and SECRET not in message
    assert not list(tmp_path.iterdir())
