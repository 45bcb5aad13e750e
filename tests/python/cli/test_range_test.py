"""`lrpolicy range-test` as a person calls it, on real digits and on engines that pretend."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from lrpolicy.cli import run
from lrpolicy.database import connect
from lrpolicy.database.range_tests import stored_range_tests
from lrpolicy.database.recommend import stored_tasks
from lrpolicy.errors import RunError

QUADRATIC = ["--engine", "support.quadratic_engine:QuadraticEngine", "--seeds", "2", "--workers", "2"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A database home that the whole module shares, its server kept running."""
    home = tmp_path_factory.mktemp("range") / "home"
    with connect(home=home):
        yield home


@pytest.fixture(autouse=True)
def here(home, tmp_path, monkeypatch):
    monkeypatch.delenv("LRPOLICY_DSN", raising=False)
    monkeypatch.setenv("LRPOLICY_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kept():
    """All range tests in the database, the newest of each task first."""
    with connect() as database:
        return [found for task in stored_tasks(database) for found in stored_range_tests(database, task).items()]


def call(capsys, *arguments):
    status = run(["range-test", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_digits_end_to_end(capsys, here):
    status, out, err = call(capsys, "digits", "--json", "--seeds", "3", "--workers", "2")
    assert status == 0
    assert "note: kept as range test " in err
    found = json.loads(out)
    # The net's own solver starts at 0.05, and fixed rates from 0.02 to 0.1 all learn digits.
    assert 0.005 < found["suggestion"]["value"] < 0.15
    assert found["low"]["value"] < found["suggestion"]["value"] < found["high"]["value"]
    assert found["confirmation"]["held"]
    inside = [control for control in found["confirmation"]["controls"] if control["inside"]]
    assert all(control["top1"] > 0.8 for control in inside)
    assert set(found["curves"]) == {"1", "2", "3"}
    assert [path.name for path in here.iterdir()] == ["range-test-digits.png"]
    assert (here / "range-test-digits.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_says_what_to_do_with_it(capsys, here):
    status, out, err = call(capsys, "digits", *QUADRATIC, "--plot", "q.svg")
    assert status == 0
    assert "In a solver: base_lr:" in out
    assert "The interval held: in 200 iterations with 2 other seed(s)" in out
    assert "q.svg" in out
    *lines, keeping = err.splitlines()
    assert lines == ["sweep: 2 trainings of 200 iterations", "confirmation: 8 trainings of 200 iterations"]
    assert keeping.startswith("note: kept as range test ")
    assert "<svg" in (here / "q.svg").read_text()


@pytest.mark.parametrize(
    "more",
    [["--by", "accuracy"], ["--scale", "linear"], ["--method", "fix", "--budgets", "2,4"], ["--iterations", "30"]],
)
def test_every_way_gives_an_interval_and_a_picture(capsys, here, more):
    status, out, _ = call(capsys, "digits", *QUADRATIC, "--no-confirm", "--json", *more)
    assert status == 0
    found = json.loads(out)
    assert 0 < found["low"]["value"] <= found["suggestion"]["value"] <= found["high"]["value"] < 0.5
    assert found["confirmation"] is None
    assert (here / "range-test-digits.png").stat().st_size > 10_000


def test_what_was_found_is_kept_and_asked_first(capsys):
    before = len(kept())
    status, out, _ = call(capsys, "digits", "--seeds", "2", "--workers", "2", "--iterations", "60", "--json")
    assert status == 0
    found, (number, stored) = json.loads(out), kept()[0]
    assert len(kept()) == before + 1
    for name in ("low", "suggestion", "high"):
        assert getattr(stored, name)._asdict() == found[name]
    assert (stored.seeds, stored.iterations, stored.setting.max_iter) == ((1, 2), found["iterations"], 60)
    assert (stored.setting.optimizer, stored.setting.batch_size) == ("SGD", 64)
    assert stored.held is found["confirmation"]["held"] is True
    assert run(["recommend", "digits", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["recommendations"] == []
    assert told["range"]["source"] == f"range test {number}"
    assert told["range"]["best"] == pytest.approx(found["suggestion"]["value"], rel=1e-3)
    assert told["range"]["measured_intervals"]["low"] == [found["low"]["low"], found["low"]["high"]]
    assert run(["recommend", "digits"]) == 0
    told = capsys.readouterr()
    assert "note: no policy: " in told.err and "no completed trial is stored for digits on digits" in told.err
    assert "95 % intervals over 2 seeds: low " in told.out
    tune = ["tune", "digits", "--policies", "fixed", "--max-iter", "20", "--candidates", "1", "--seeds", "1", "--json"]
    assert run(tune) == 0
    told = json.loads(capsys.readouterr().out)
    source = f"range test {number}, trainings of 60 iterations"
    assert told["range_from"] == f"{source}: digits on digits, the same task and setting"
    assert "range" not in told["iterations"]


def test_nothing_is_kept_where_it_is_not_wanted(capsys, here):
    before = kept()
    assert call(capsys, "digits", *QUADRATIC, "--no-confirm", "--no-keep")[0] == 0
    assert kept() == before


def test_a_database_that_fails_comes_after_the_result(capsys):
    status, out, err = call(
        capsys, "digits", *QUADRATIC, "--no-confirm", "--dsn", "postgresql://me:secret@127.0.0.1:1/x"
    )
    assert status == 1
    assert "In a solver: base_lr:" in out
    assert "127.0.0.1:1" in err
    assert "secret" not in out + err


@pytest.mark.parametrize(("engine", "rule"), [("FlatEngine", "nothing learns"), ("CliffEngine", "everything diverges")])
def test_no_interval_is_a_failed_run_that_says_what_was_tried(capsys, here, engine, rule):
    status, out, err = call(capsys, "digits", "--engine", f"support.quadratic_engine:{engine}", "--seeds", "2")
    assert status == 1
    assert out == ""
    assert rule in err
    assert "tried rates from 1e-05 to 10 (log) in 200 iterations: seed 1" in err
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["digitz"], 'did you mean "digits"'),
        (["digits", "--low", "1", "--high", "0.1"], "0 < low < high, got low 1, high 0.1"),
        (["digits", "--plot", "x.bmp"], "a picture is a .png, .svg or .pdf file"),
        (["digits", "--plot", "nowhere/x.png"], "nowhere: no such folder"),
        (
            ["digits", "--low", "nan"],
            "--low and --high: a sweep needs finite rates, 0 < low < high, got low nan, high 10; for",
        ),
        (
            ["digits", "--budgets", "1,two"],
            '--budgets: these are whole numbers of epochs, from 1 to 99999, got "1,two"; for',
        ),
        (["digits", "--budgets", "0"], 'got "0"; for example 1,2,4'),
        (["digits", "--budgets", ""], 'got ""; for example 1,2,4'),
        (["digits", "--budgets", "9" * 30], "--budgets: these are whole numbers of epochs"),
        (["digits", "--seeds", "9" * 30], "--seeds"),
        ([""], '"": no such solver; known: '),
        (["digits", "--iterations", "5"], "5 is not in the range 30<=x"),
        (["digits", "--method", "smit"], "'smit' is not one of 'smith', 'fix'"),
        (["digits", "--weights", "none.caffemodel"], "none.caffemodel"),
        (["digits", "--method", "fix", "--low", "1e-3"], "--low: --method fix has no such option, --method smith has"),
        (["digits", "--method", "fix", "--by", "loss"], "--by: --method fix has no such option"),
        (["digits", "--budgets", "1,2"], "--budgets: --method smith has no such option, --method fix has it; leave"),
        (["digits", "--engine", "torhc"], 'engine "torhc" is unknown'),
    ],
)
def test_wrong_input_is_refused_in_one_line(capsys, here, arguments, rule):
    status, out, err = call(capsys, *arguments)
    assert status == 2
    assert rule in err
    assert "Traceback" not in err
    assert out == ""
    assert not list(here.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_it(here, number):
    slow = [sys.executable, "-m", "lrpolicy", "range-test", "digits", "--iterations", "100000", "--high", "0.02"]
    process = subprocess.Popen(slow, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=here)
    assert process.stderr.readline().startswith("sweep: 5 trainings")
    time.sleep(0.5)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert err.splitlines()[-1] == "interrupted; a range test keeps nothing before its end, start it again"
    assert not list(here.iterdir())


def terminated(*_, **__):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


def without_room(*_, **__):
    raise RunError("range-test-digits.png: cannot be written: No space left on device")


def without_reader(*_, **__):
    raise BrokenPipeError


@pytest.mark.parametrize(
    ("step", "ending", "status", "told"),
    [
        ("plot_range", terminated, 143, "interrupted while its result was shown, kept and drawn"),
        ("plot_range", without_room, 1, "range-test-digits.png: cannot be written: No space left on device"),
        ("_print", terminated, 143, "interrupted while its result was shown, kept and drawn"),
        ("_print", without_reader, 141, "note: kept as range test "),
    ],
)
def test_what_was_measured_is_kept_whatever_becomes_of_the_rest(capsys, monkeypatch, step, ending, status, told):
    before = kept()
    monkeypatch.setattr(f"lrpolicy.cli.range_test.{step}", ending)
    ended, out, err = call(capsys, "digits", *QUADRATIC, "--no-confirm")
    assert ended == status
    assert err.splitlines()[-1].startswith(told)
    assert ("In a solver: base_lr:" in out) == (step != "_print")
    assert len(kept()) == len(before) + 1
