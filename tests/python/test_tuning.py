"""`lrpolicy.tune` with functions that pretend to train; the example trains for real."""

from __future__ import annotations

import math
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import lrpolicy
from lrpolicy.database import RunState, connect
from lrpolicy.errors import InputError, RunError
from lrpolicy.reports.results import ranking_rows
from lrpolicy.search import RateRange
from support.train_functions import pretend

TASK = {"max_iter": 270, "train_size": 900, "batch_size": 60, "class_count": 10, "seeds": 2}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with connect(home=tmp_path_factory.mktemp("home")) as database:
        yield database


def test_a_function_is_ranked_like_a_solver(database):
    def closure(schedule, trial):
        pretend(schedule, trial)

    result = lrpolicy.tune(closure, **TASK, name="closure", database=database)
    assert {row.policy.name for row in result.ranking} == set(lrpolicy.POLICIES) - {"sigmoid"}
    assert result.best == result.ranking[0].policy
    assert result.best.rates(range(270)).mean() == pytest.approx(0.03, rel=0.3)  # where the function learns best
    assert result.ranking[0].seeds == (2, 3)
    assert set(result.iterations) == {"range", "search", "final"}
    stored = database.find_run(result.run)
    assert stored.state is RunState.COMPLETED
    assert (stored.task.framework, stored.task.network.name, stored.task.dataset.train_size) == (
        "function",
        "closure",
        900,
    )
    assert str(result).splitlines()[1].split()[:2] == ["1", f"{100 * result.ranking[0].selection.top1.mean:.2f}"]


def test_the_table_says_what_diverged(database):
    def falls_over_with_seed_3(schedule, trial):
        if trial.seed == 3:
            trial.report(1, math.nan, split="train")
        pretend(schedule, trial)

    result = lrpolicy.tune(falls_over_with_seed_3, **TASK, name="falls", policies="fixed", database=database)
    assert str(result).endswith("(1 of 2 seeds diverged)")


def test_the_next_run_starts_from_the_stored_range(database):
    first = lrpolicy.tune(pretend, **TASK, policies=["fixed"], name="twice", database=database)
    again = lrpolicy.tune(pretend, **TASK, policies=["fixed"], name="twice", database=database)
    cold = lrpolicy.tune(pretend, **TASK, policies=["fixed"], name="twice", cold=True, database=database)
    assert "range" in first.iterations
    assert "range" not in again.iterations
    assert cold.iterations == first.iterations
    assert again.best == first.best


def test_workers_give_the_same_table(database):
    alone = lrpolicy.tune(pretend, **TASK, policies=["tri", "exp"], cold=True, database=database)
    together = lrpolicy.tune(pretend, **TASK, policies=["tri", "exp"], cold=True, workers=2, database=database)
    tables = [ranking_rows(result.ranking) for result in (alone, together)]
    assert tables[0] == tables[1]


def test_workers_need_a_function_that_they_can_import(database):
    with pytest.raises(
        InputError, match=r"several workers need a training function that they can import, got .*lambda"
    ):
        lrpolicy.tune(lambda schedule, trial: None, **TASK, workers=2, database=database)


def test_ctrl_c_keeps_the_run_and_resume_goes_on(database):
    count = 0

    def stopped(schedule, trial):
        nonlocal count
        count += 1
        if count == 7:
            raise KeyboardInterrupt  # in the thread, as a person's arrives in the main one
        pretend(schedule, trial)

    options = {**TASK, "policies": ["fixed", "tri"], "range": RateRange(0.01, 0.03, 0.1), "name": "stopped"}
    with pytest.raises(KeyboardInterrupt):
        lrpolicy.tune(stopped, **options, database=database)
    run = database.runs()[-1]
    assert run.state is RunState.INTERRUPTED
    done = count
    result = lrpolicy.tune(stopped, **options, resume=run.id, database=database)
    assert result.run == run.id
    trials = database.trials(run=run.id)
    assert count - done == len(trials) - 6  # only what had not ended
    assert sum(trial.attempt for trial in trials) == len(trials) + 1
    whole = lrpolicy.tune(pretend, **options, database=database)
    assert ranking_rows(result.ranking) == ranking_rows(whole.ranking)


def test_resume_wants_the_same_task(database):
    result = lrpolicy.tune(pretend, **TASK, policies=["fixed"], database=database)
    with pytest.raises(InputError, match=f"run {result.run} is of another task, got other on data"):
        lrpolicy.tune(pretend, **TASK, policies=["fixed"], name="other", resume=result.run, database=database)


@pytest.mark.parametrize("policies", ["fixed", ["fixed"], "FIX, fixed"])
def test_policies_may_be_a_text(database, policies):
    result = lrpolicy.tune(pretend, **TASK, policies=policies, name="text", database=database)
    assert [row.policy.name for row in result.ranking] == ["fixed"]


def test_the_run_says_what_it_was_made_with(database):
    result = lrpolicy.tune(pretend, **TASK, policies="fixed", budget="9000", database=database)
    run = database.find_run(result.run)
    asked = {"policies": "fixed", "max_iter": 270, "seeds": 2, "budget": "9000 iterations", "batch_size": 60}
    assert {name: run.settings[name] for name in asked} == asked
    assert run.versions["numpy"] == np.__version__ and run.hardware["cores"] >= 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"max_iter": 540}, "max_iter: a resumed run keeps its settings, and run {run} began with 270, got 540; give"),
        ({"seeds": 3}, "seeds: .* began with 2, got 3"),
        ({"policies": ["tri"]}, "policies: .* began with fixed, got tri"),
        ({"budget": "9000"}, "budget: .* began with None, got 9000 iterations"),
        ({"range": RateRange(0.01, 0.02, 0.1)}, r"range: .* began with \[0.01, 0.03, 0.1\], got \[0.01, 0.02, 0.1\]"),
        ({"momentum": 0.9}, "momentum: .* began with 0.0, got 0.9"),
    ],
)
def test_resume_wants_the_same_settings(database, changed, message):
    options = {**TASK, "policies": "fixed", "range": RateRange(0.01, 0.03, 0.1), "database": database}
    run = lrpolicy.tune(pretend, **options).run
    with pytest.raises(InputError, match=message.format(run=run)):
        lrpolicy.tune(pretend, **options | changed, resume=run)
    assert lrpolicy.tune(pretend, **{**options, "range": None}, resume=run).run == run


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"policies": ["sigmoid"]}, '"sigmoid" is no policy that can be tuned; known: all, cos'),
        ({"policies": "tri3"}, '"tri3" is no policy that can be tuned; .*; did you mean "tri"'),
        ({"policies": "tlr"}, '"tlr" is no policy that can be tuned; known: '),
        ({"policies": []}, r"needs at least one policy, got \[\]"),
        ({"budget": "much"}, "a budget is a number"),
        ({"goal": "speed"}, 'goal "speed" is unknown'),
        ({"budget": "500"}, "the budget is too small"),
    ],
)
def test_wrong_arguments(database, wrong, message):
    before = len(database.runs())
    with pytest.raises(InputError, match=message):
        lrpolicy.tune(pretend, **TASK | wrong, cold=True, database=database)
    assert len(database.runs()) == before


@pytest.mark.parametrize("wrong", ["digits", None, 3])
def test_what_is_no_function_is_refused(database, wrong):
    with pytest.raises(InputError, match=rf"takes a training function .*, got {wrong!r}; .* the command lrpolicy tune"):
        lrpolicy.tune(wrong, **TASK, database=database)


def test_a_partial_is_named_after_its_function(database):
    result = lrpolicy.tune(partial(pretend), **TASK, policies="fixed", cold=True, database=database)
    run = database.find_run(result.run)
    assert (run.task.network.name, run.settings["train_fn"]) == ("pretend", "pretend")
    with pytest.raises(InputError, match=r"that they can import, got support\.train_functions:pretend"):
        lrpolicy.tune(partial(pretend), **TASK, workers=2, database=database)


def test_a_function_that_always_fails(database):
    def broken(schedule, trial):
        raise ValueError("shapes (3,) and (4,) do not fit")

    with pytest.raises(RunError, match=r"all 5 trials of stage range failed; the first: ValueError: shapes \(3,\)"):
        lrpolicy.tune(broken, **TASK, database=database)
    assert database.runs()[-1].state is RunState.FAILED


def test_tune_is_loaded_only_when_asked_for():
    program = (
        "import sys, lrpolicy; assert 'psycopg' not in sys.modules; lrpolicy.tune; print('psycopg' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    with pytest.raises(AttributeError, match="module 'lrpolicy' has no attribute 'tuna'"):
        lrpolicy.tuna  # noqa: B018
