"""`lrpolicy tune` from its command line to the database, on real digits and on an engine that pretends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from lrpolicy import zoo
from lrpolicy.cli import run, tune
from lrpolicy.database import RunState, connect
from lrpolicy.database.embedded import EmbeddedServer
from lrpolicy.errors import RunError
from lrpolicy.policies import ADAPTIVE_POLICIES, Policy
from lrpolicy.search import functions_named, paper_functions
from lrpolicy.solver import read
from support.fake_engine import TUNE_FAKE as FAKE


@pytest.fixture(scope="module")
def digits(home, tmp_path_factory):
    """One small real tuning run: its JSON."""
    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("digits"))
    try:
        command = (
            "tune digits --policies fixed,tri2,step --max-iter 60 --test-interval 20 --candidates 1 --seeds 2 --json"
        )
        out = subprocess.run(
            [sys.executable, "-m", "lrpolicy", *command.split(), "--json"], capture_output=True, text=True, check=True
        )
        yield {**json.loads(out.stdout), "folder": Path.cwd()}
    finally:
        os.chdir(here)


def test_the_ranked_table_is_what_sql_says(home, digits):
    server = EmbeddedServer(home)
    with psycopg.connect(make_conninfo(**server.address())) as connection:
        rows = connection.execute(
            """SELECT p.name, avg(best.top1), stddev_samp(best.top1), avg(test.top1), avg(best.top5),
                      avg(best.average_confidence), avg(best.confidence_deviation),
                      avg(best.confidence_deviation_across_classes), avg(best.loss - best.train_loss),
                      avg(best.iteration), max(p.parameter_count)
               FROM lrpolicy.trial t
               JOIN lrpolicy.policy p ON p.id = t.policy_id
               JOIN LATERAL (SELECT * FROM lrpolicy.measurement m WHERE m.trial_id = t.id AND m.split = 'validation'
                             ORDER BY m.top1 DESC, m.iteration LIMIT 1) best ON true
               JOIN lrpolicy.measurement test ON test.trial_id = t.id AND test.split = 'test'
               WHERE t.run_id = %s AND t.stage = 'final' GROUP BY t.policy_id, p.name""",
            [digits["run"]],
        ).fetchall()
    server.close()
    assert len(rows) == len(digits["ranking"]) == 3
    by_name = {name: [float(value) for value in numbers] for name, *numbers in rows}
    for row in digits["ranking"]:
        of, test = row["selection"], row["test"]
        shown = [
            of["top1"]["mean"],
            of["top1"]["deviation"],
            test["top1"]["mean"],
            of["top5"]["mean"],
            of["average_confidence"]["mean"],
            of["confidence_deviation"]["mean"],
            of["confidence_deviation_across_classes"]["mean"],
            of["loss_difference"]["mean"],
            row["iterations_at_best"]["mean"],
            row["parameter_count"],
        ]
        assert shown == pytest.approx(by_name[row["policy"]["lr_policy"]], rel=1e-12)
    tops = [row["selection"]["top1"]["mean"] for row in digits["ranking"]]
    assert tops == sorted(tops, reverse=True)


def test_a_stored_range_where_everything_diverges_is_said_with_the_way_out(folder, monkeypatch, capsys):
    stored = {"range": (1.0, 2.0, 5.0), "range_from": "run 1"}
    monkeypatch.setattr(tune, "_warmed", lambda settings, *_: replace(settings, **stored))
    arguments = [argument for argument in FAKE if argument != "--cold"]
    assert run(["tune", "digits", *arguments, "--policies", "fixed,tri"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "no policy finished a trial: nothing to rank; what was measured is kept as run" in said
    assert said.endswith("; --cold finds the range anew")


def test_the_winner_is_a_solver_ready_to_use(digits, monkeypatch, capsys):
    monkeypatch.chdir(digits["folder"])
    winner = read(digits["files"]["winner"])
    assert winner.policy == Policy.from_dict(digits["ranking"][0]["policy"])
    assert winner.message.max_iter == 60
    assert run(["train", digits["files"]["winner"], "--max-iter", "3", "--snapshot-prefix", "again", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"]["iterations"] == 3


def test_what_lies_beside_a_users_net_is_found_from_the_copy_too(folder, home, capsys):
    """Paths are from the working directory, as in Caffe, or else from the net's own folder, which the copy leaves."""
    assert run(["data", "lmdb", "digits", "mine/lmdb"]) == run(["data", "mean", "digits", "mine/mean.binaryproto"]) == 0
    transform = 'transform_param { mean_file: "mean.binaryproto" scale: 0.0625 }'
    solver = zoo.solver_path("digits")
    net = (
        (solver.parent / "digits_train_test.prototxt")
        .read_text()
        .replace("transform_param { scale: 0.0625 }", transform)
    )
    for split in ("train", "test"):
        net = net.replace('source: "digits"', f"source: 'lmdb/digits_{split}_lmdb'", 1)
    (folder / "mine" / "net.prototxt").write_text(net)
    (folder / "mine" / "solver.prototxt").write_text(solver.read_text().replace("digits_train_test", "net"))
    assert run(["tune", "mine/solver.prototxt", "--policies", "fixed", *FAKE, "--out", "deep/er/out"]) == 0
    copy = read("deep/er/out/winner.prototxt").train_net().message
    assert [layer.data_param.source for layer in copy.layer[:2]] == [
        "mine/lmdb/digits_train_lmdb",
        "mine/lmdb/digits_test_lmdb",
    ]
    assert {layer.transform_param.mean_file for layer in copy.layer[:2]} == {"mine/mean.binaryproto"}


def test_the_picture_is_there(digits):
    picture = digits["folder"] / digits["files"]["picture"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_real_digits_are_learned(digits):
    assert digits["ranking"][0]["test"]["top1"]["mean"] > 0.85


def test_the_last_line_says_where_everything_is(folder, home, capsys):
    assert run(["tune", "digits", "--policies", "fixed,inv", *FAKE]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert str(home) in lines[-1]
    assert "lrpolicy-results/digits-" in lines[-1]
    assert any("fixed" in line and "base_lr 0.03" in line for line in lines)


def test_paper_names_are_understood_and_unknown_ones_refused(folder, capsys):
    for names, rule in {
        "FIX,tri3": '--policies: "tri3" is no policy that can be tuned; known: adaptive, all, aslr, cos',
        "sigmoid": '--policies: "sigmoid" is no policy that can be tuned',
        "": '--policies: a tuning run needs at least one policy, got ""; name some as in inv,tri2,sin2, or say paper',
        " , ": '--policies: a tuning run needs at least one policy, got " , "',
    }.items():
        assert run(["tune", "digits", "--policies", names, *FAKE]) == 2
        told = capsys.readouterr().err
        assert told.startswith(rule)
        assert told.count("\n") == 1


def test_groups_of_policies() -> None:
    every = functions_named("all")
    assert every[:13] == paper_functions() and every[13:] == [*ADAPTIVE_POLICIES]
    assert functions_named("adaptive,fixed,ASLR") == [*ADAPTIVE_POLICIES, "fixed"]


def test_no_target(capsys):
    assert run(["tune"]) == 2
    assert "tune needs a TARGET; give a solver prototxt or one of: " in capsys.readouterr().err


def test_a_dead_server_is_one_line(capsys):
    assert run(["tune", "digits", "--dsn", "postgresql://me:secret@127.0.0.1:1/results"]) == 1
    error = capsys.readouterr().err
    assert "127.0.0.1:1" in error
    assert "secret" not in error
    assert error.count("\n") == 1


WARM = FAKE[:-1]


def test_a_second_run_starts_from_the_stored_range(folder, home, capsys):
    assert run(["tune", "digits", "--policies", "fixed,tri", *FAKE, "--json"]) == 0
    cold = json.loads(capsys.readouterr().out)
    assert cold["range_from"] is None
    assert run(["tune", "digits", "--policies", "fixed,tri", *WARM, "--json"]) == 0
    told = capsys.readouterr()
    warm = json.loads(told.out)
    assert "the range of good rates is stored: 0.01 to 0.1, best 0.032" in told.err
    assert warm["range_from"] == f"run {cold['run']}, trainings of 10 iterations: net on toy, the same task and setting"
    assert "range" in cold["iterations"]
    assert "range" not in warm["iterations"]


def test_a_second_run_tries_what_led_before_for_less_than_half(folder, home, capsys):
    """The fake engine's task is known by now; another length makes it a similar setting."""
    longer = [*WARM[:2], "--max-iter", "80", *WARM[4:], "--json"]
    assert run(["tune", "digits", *longer, "--cold"]) == 0
    cold = json.loads(capsys.readouterr().out)
    assert len(cold["ranking"]) == 13
    assert run(["tune", "digits", *longer, "--seed", "7"]) == 0
    told = capsys.readouterr()
    warm = json.loads(told.out)
    ranked = [row["policy"]["lr_policy"] for row in cold["ranking"]]
    led = [name for name in ranked if name != "fixed"][:4]
    assert {row["policy"]["lr_policy"] for row in warm["ranking"]} == {"fixed", *led}
    assert f"only what led before is tried: fixed, {', '.join(led)} (net on toy, the same task and setting)" in told.err
    assert sum(warm["iterations"].values()) < 0.5 * sum(cold["iterations"].values())
    assert run(["tune", "digits", *longer, "--policies", "paper"]) == 0
    assert len(json.loads(capsys.readouterr().out)["ranking"]) == 13


LONG = ["--engine", "support.fake_engine:FakeEngine", "--max-iter", "540", "--cold", "--json"]


def test_a_tight_budget_lists_what_was_not_promoted(folder, home, capsys):
    assert run(["tune", "digits", *LONG, "--budget", "8000"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    spent = sum(found["iterations"].values())
    assert spent <= 8000
    ranked = [row["policy"]["lr_policy"] for row in found["ranking"]]
    left = [row["function"] for row in found["not_promoted"]]
    assert len(ranked) + len(left) == len({*ranked, *left}) == 13
    assert "iterations of a budget of 8000 iterations" in told.err
    assert "plan: search 39 candidates x 60 iterations, then 9 candidates x 180 iterations; final 5 " in told.err

    assert run(["tune", "digits", *LONG[:-1], "--budget", "8000"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("not promoted: ")]) == len(left)
    assert any(line.startswith(f"Spent {spent} iterations (range ") for line in lines)


def test_wrong_budgets_goals_and_targets(folder, home, capsys):
    with connect() as database:
        before = len(database.runs())
        for arguments, message in {
            ("--budget", "0"): '--budget: a budget is a number above 0, got 0; write for example "20000"',
            ("--budget", ""): '--budget: a budget is a number of iterations, epochs or minutes, got ""',
            ("--budget", "soon"): '--budget: a budget is a number of iterations, epochs or minutes, got "soon"',
            (
                "--goal",
                "iterations",
            ): '--goal: goal "iterations" needs a target; give the Top-1 to reach, for example 0.97',
            ("--target", "97"): '--target: goal "accuracy" takes no target',
            ("--goal", "iterations", "--target", "97"): "--target: a target is a Top-1 above 0 and at most 1, got 97.0",
        }.items():
            assert run(["tune", "digits", *LONG, *arguments]) == 2
            assert message in capsys.readouterr().err
        assert run(["tune", "digits", *LONG, "--budget", "1000"]) == 2
        assert "--budget: the budget is too small" in capsys.readouterr().err
        assert len(database.runs()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "notes.txt/out"], "notes.txt/out: cannot be written: Not a directory; give another folder"),
        (["--seed", "9" * 25], "--seed"),
        (["--seeds", "9" * 25], "--seeds"),
        (["--candidates", "10001"], "--candidates"),
        (["--max-iter", "1" + "0" * 20], "--max-iter"),
    ],
)
def test_what_cannot_end_well_does_not_begin(folder, home, capsys, arguments, message):
    (folder / "notes.txt").write_text("a file")
    with connect() as database:
        before = len(database.runs())
        assert run(["tune", "digits", *FAKE, *arguments]) == 2
        assert message in capsys.readouterr().err
        assert len(database.runs()) == before
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_results_that_cannot_be_written_are_kept_and_written_by_resume(folder, home, capsys, monkeypatch):
    def full(*_arguments, **_options):
        raise RunError("out/ranking.json: cannot be written: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(tune, "write_results", full)
        assert run(["tune", "digits", *FAKE, "--policies", "fixed", "--out", "out"]) == 1
    assert "is kept as run" in capsys.readouterr().err
    with connect() as database:
        assert database.find_run("latest").state is RunState.FAILED
    assert run(["tune", "--resume", "--out", "out", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    with connect() as database:
        assert database.find_run(found["run"]).state is RunState.COMPLETED
    assert (folder / "out" / "ranking.json").is_file()


def test_results_of_another_database_are_not_overwritten(folder, home, capsys):
    command = ["tune", "digits", *FAKE, "--policies", "fixed", "--json"]
    assert run(command) == 0
    mine = json.loads(capsys.readouterr().out)
    theirs = Path(f"lrpolicy-results/digits-{mine['run'] + 1}/ranking.json")
    theirs.parent.mkdir()
    theirs.write_text('{"run": "another database has its own run of this number"}')
    left = theirs.read_text()
    assert run(command) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert {str(Path(path).parent) for path in files.values()} == {f"{theirs.parent}-2"}
    assert theirs.read_text() == left and list(theirs.parent.iterdir()) == [theirs]


def test_the_goal_decides_the_order(folder, home, capsys):
    assert run(["tune", "digits", *LONG, "--goal", "iterations", "--target", "0.9"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["goal"], found["target"]) == ("iterations", 0.9)
    scores = [row["score"] for row in found["ranking"] if row["score"] is not None]
    assert scores
    assert scores == sorted(scores)
