"""The adaptive policies as a person meets them: a solver trained, resumed and tuned, and what wrong input gets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lrpolicy import zoo
from lrpolicy.cli import run
from lrpolicy.solver import read


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRPOLICY_HOME", str(tmp_path / "home"))
    return tmp_path


def solver(folder: Path, lines: str) -> str:
    """The digits' solver with other lines for its policy."""
    known = read(zoo.solver_path("digits"))
    message = known.message
    for field in ("lr_policy", "base_lr", "gamma", "power", "stepsize", "max_lr"):
        message.ClearField(field)
    message.net = str(zoo.solver_path("digits").parent / "digits_train_test.prototxt")
    (folder / "s.prototxt").write_text(f"{message}\n{lines}\n")
    return str(folder / "s.prototxt")


def test_a_sequence_is_trained_and_goes_on_where_it_stood(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = solver(folder, 'lr_policy: "seq3" base_lr: 0.1')
    assert run(["train", path, "--max-iter", "40", "--test-interval", "10", "--snapshot-prefix", "half"]) == 0
    assert "Iteration 20, lr = 0.09: validation" in capsys.readouterr().err
    resume = ["--resume", "half_iter_40.solverstate", "--max-iter", "60", "--test-interval", "10"]
    assert run(["train", path, *resume, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["measurements"]
    rates = [m["rate"] for m in measured if m["split"] == "validation"]
    np.testing.assert_allclose(rates, [0.1 * 0.9**4, 0.1 * 0.9**5], rtol=1e-6)
    other = solver(folder, 'lr_policy: "aslr" base_lr: 0.1')
    assert run(["train", other, *resume]) == 2
    assert "half_iter_40.solverstate: this is no state of schedule aslr, got" in capsys.readouterr().err


def test_what_tlr_meets_is_a_note(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = solver(
        folder, 'lr_policy: "tlr" base_lr: 0.01 max_lr: 0.0101 lr_policy_param { source: "gradient" epoch: 6 }'
    )
    assert run(["train", path, "--max-iter", "30"]) == 0
    said = capsys.readouterr()
    assert "note: tlr, window 2: the rate was stopped at 0.0101\n" in said.err
    assert "windows with a rate stopped at its limit: " in said.out


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('lr_policy: "trl" base_lr: 0.1', 'lr_policy "trl" is unknown; known: aslr, cos, '),
        ('lr_policy: "tlr" base_lr: 0.1 lr_policy_param { variant: "efficent" }', 'did you mean "efficient"?'),
        ('lr_policy: "tlr" base_lr: -1', "base_lr must be a number above 0, at most 1e100, got -1"),
        ('lr_policy: "plateau" base_lr: 0.1 gamma: 0.5', 'policy "plateau" needs plateau_winsize (iterations without'),
        ('lr_policy: "aslr" base_lr: 0.1 lr_policy_param { eta: 1 }', 'lr_policy "aslr" does not use eta; remove it; '),
        (
            'lr_policy: "tlr" base_lr: 1 lr_policy_param { variant: "fixed_eta" eta: 1 }',
            'variant "fixed_eta" can reach the rate 0, where a displacement says nothing; give min_lr above 0',
        ),
    ],
)
def test_wrong_lines_get_one_message(
    lines: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = solver(folder, lines)
    for command in (["train", path], ["rate", path, "0"], ["tune", path]):
        assert run(command) == 2
        said = capsys.readouterr()
        assert message in said.err and said.err.startswith(path) and said.err.count("\n") == 1 and said.out == ""


def test_aslrs_start_of_several_digits_is_noted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", solver(folder, 'lr_policy: "aslr" base_lr: 0.014'), "--max-iter", "2"]) == 0
    said = capsys.readouterr().err
    assert "base_lr 0.014 is read as 0.01: ASLR walks along rates of one digit" in said
    assert run(["train", solver(folder, 'lr_policy: "aslr" base_lr: 0.05'), "--max-iter", "2"]) == 0
    assert "note:" not in capsys.readouterr().err


def test_tune_says_before_it_trains_that_there_are_no_test_passes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(solver(folder, 'lr_policy: "fixed" base_lr: 0.1'))
    path.write_text(path.read_text().replace("test_interval: 60", "").replace("test_iter: 3", ""))
    assert run(["tune", str(path), "--policies", "fixed,aslr"]) == 2
    said = capsys.readouterr().err
    assert said.startswith('--policies: "aslr" observes the loss of each test pass, and the solver has none; give --')


def test_tune_ranks_them_beside_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = "--max-iter 60 --test-interval 20 --candidates 2 --seeds 1 --workers 1 --json"
    assert run(["tune", "digits", "--policies", "tlr,aslr,seq3,plateau,fixed", *options.split()]) == 0
    result = json.loads(capsys.readouterr().out)
    names = {row["policy"]["lr_policy"] for row in result["ranking"]}
    assert names == {"tlr", "aslr", "seq3", "plateau", "fixed"}
    winner = read(result["files"]["winner"])
    assert winner.policy.to_dict() == result["ranking"][0]["policy"] and winner.message.test_interval == 20
    assert Path(result["files"]["picture"]).stat().st_size > 10_000
    assert run(["report", str(result["run"]), "-o", "report.html"]) == 0
    assert all(f">{name}<" in Path("report.html").read_text() for name in names)
    capsys.readouterr()
    assert run(["recommend", "digits", "--top", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    recommended = next(rows for rows in found.values() if isinstance(rows, list) and rows)
    assert {row["policy"]["lr_policy"] for row in recommended} == names
    assert run(["db", "export", "runs.gz"]) == 0
    monkeypatch.setenv("LRPOLICY_HOME", str(folder / "other"))
    assert run(["db", "import", "runs.gz"]) == 0
    assert "1 new run" in capsys.readouterr().out
