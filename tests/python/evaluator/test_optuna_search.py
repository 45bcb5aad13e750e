"""Optuna asks and prunes, our tables hold the truth: what it is told, what it costs, what a stop changes."""

from __future__ import annotations

import contextlib
import importlib.util

import optuna
import pytest

from lrpolicy import zoo
from lrpolicy.database import connect
from lrpolicy.database.optuna_storage import SCHEMA, optuna_storage
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError, NotAvailableError, RunError
from lrpolicy.evaluator import Budget, Evaluator, Plan
from lrpolicy.executors.sequential import SequentialExecutor
from lrpolicy.goals import find_goal
from lrpolicy.policies import Policy
from lrpolicy.records import TrialStatus
from lrpolicy.reports.results import ranking_rows
from lrpolicy.search import RateRange, SearchSpace, paper_functions
from lrpolicy.solver import read
from support.fake_engine import FakeEngine

SOLVER = read(zoo.solver_path("digits"))
RANGE = RateRange(0.003, 0.03, 0.1)
EPOCH = 15
PLAN = Plan(tuple(paper_functions()), max_iter=540, seeds=1, range=RANGE, search="optuna")
TABLES = (
    "SELECT count(*) FROM pg_tables WHERE schemaname = %s AND tablename IN ('studies', 'trials', 'alembic_version')"
)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with connect(home=tmp_path_factory.mktemp("home")) as database:
        yield database


class Counting(SequentialExecutor):
    """Counts how often each trial is trained."""

    def __init__(self):
        super().__init__(FakeEngine())
        self.begun = []

    def run(self, engine, jobs):
        for trial, job in jobs:
            self.begun.append((job.schedule, job.seed, job.max_iter))
            yield from super().run(engine, [(trial, job)])


def evaluator_of(database, plan=PLAN, places=2):
    task = FakeEngine().describe(None)
    run = database.start_run(task, {})
    return Evaluator(TrainingJob(SOLVER), task, plan, Counting(), database, run, "fake", places=places)


@pytest.fixture(scope="module")
def evaluated(database):
    evaluator = evaluator_of(database)
    for _ in evaluator.evaluate():
        pass
    return evaluator


def search_trials(database, evaluator):
    return [
        (Policy.from_dict(t.spec.policy), t.spec.max_iter, t.status, t.outcome.iterations)
        for t in database.trials(run=evaluator.run, stage="search")
    ]


def told(database, evaluator):
    """The trials of the run's study, as Optuna's own tables have them."""
    with optuna_storage(database) as storage:
        return optuna.load_study(study_name=f"lrpolicy run {evaluator.run}", storage=storage).trials


def test_what_optuna_was_told_is_what_our_tables_hold(database, evaluated):
    ours = {(p, n): row for n in (60, 180) for row in evaluated.ranking("search", n) for p in [row.policy]}
    trained = {(policy, length): status for policy, length, status, _ in search_trials(database, evaluated)}
    seen = set()
    for trial in told(database, evaluated):
        function = trial.params["function"]
        for length, score in trial.intermediate_values.items():
            space = SearchSpace(RANGE, length, EPOCH)
            place = SearchSpace(RANGE, 540, EPOCH).places(function)[trial.params[function]]
            policy = SOLVER.with_policy(space.candidate(function, place)).policy
            assert score == ours[policy, length].score
            assert trained[policy, length] is TrialStatus.COMPLETED
            seen.add((policy, length))
        assert trial.state.name in ("COMPLETE", "PRUNED")
        told_last = max(trial.intermediate_values, default=None)  # the tables promise no order
        assert trial.value == trial.intermediate_values.get(told_last)
    assert seen == {key for key, status in trained.items() if status is TrialStatus.COMPLETED}
    assert {length for _, length in seen} == {60, 180}
    assert len({policy.name for policy, _ in seen}) > 5


@pytest.mark.usefixtures("evaluated")
def test_its_tables_stand_in_a_schema_of_their_own(database):
    counts = {s: database.transact(lambda c, s=s: c.execute(TABLES, [s]).fetchone()[0]) for s in (SCHEMA, "public")}
    assert counts == {SCHEMA: 3, "public": 0}


@pytest.mark.parametrize("budget", [9_000, 13_000])
def test_it_spends_its_budget_and_no_more(database, budget):
    evaluator = evaluator_of(database, Plan(PLAN.functions, 540, budget=Budget(budget), search="optuna"))
    for _ in evaluator.evaluate():
        pass
    assert budget / 2 < sum(evaluator.spent().values()) <= budget
    assert evaluator.ranking()
    ranked = {row.policy.name for row in evaluator.ranking()}
    assert ranked.isdisjoint(left.function for left in evaluator.not_promoted)


def test_a_second_wish_is_not_trained_again(database):
    evaluator = evaluator_of(database, Plan(("fixed", "tri"), 540, seeds=1, range=RANGE, search="optuna", candidates=2))
    for _ in evaluator.evaluate():
        pass
    assert len(evaluator.executor.begun) == len(set(evaluator.executor.begun))
    assert len(told(database, evaluator)) > 4  # as many as there are candidates


@pytest.mark.parametrize("its_tables_are_lost", [False, True])
def test_a_resumed_run_asks_for_the_same_and_trains_nothing_twice(tmp_path, its_tables_are_lost):
    plan = Plan(("fixed", "exp", "tri"), max_iter=540, seeds=1, range=RANGE, search="optuna")
    with connect(home=tmp_path / "whole") as database:  # brackets are drawn by the run's number: 1 in both homes
        whole = evaluator_of(database, plan)
        count = len(list(whole.evaluate()))
        done, chosen = search_trials(database, whole), ranking_rows(whole.ranking())
    with connect(home=tmp_path / "stopped") as database:
        evaluator = evaluator_of(database, plan)
        begun = evaluator.executor.begun
        for stop in (count // 4, count // 3, count // 2):
            with contextlib.closing(evaluator.evaluate()) as events:
                for _ in range(stop):
                    next(events)
            if its_tables_are_lost:
                database.transact(lambda c: c.execute(f"DROP SCHEMA {SCHEMA} CASCADE"))
        list(evaluator.evaluate())
        assert search_trials(database, evaluator) == done
        assert ranking_rows(evaluator.ranking()) == chosen
        assert len(begun) - len(set(begun)) <= 3  # only what was running at a stop


@pytest.mark.parametrize("goal", [find_goal("robustness"), find_goal("pareto")])
def test_goals_that_compare_policies_are_refused(goal):
    with pytest.raises(InputError, match="compares policies with one another, and Optuna takes one number for each"):
        Plan(("fixed",), 540, search="optuna", goal=goal)


def test_without_optuna_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotAvailableError, match=r'pip install "lrpolicy\[optuna\]", or take search "halving"'):
        Plan(("fixed",), 540, search="optuna")


def test_a_server_that_is_gone_is_one_line_without_a_password(database, monkeypatch):
    gone = {"host": "127.0.0.1", "port": 1, "dbname": "x", "user": "me", "password": "hidden-5"}
    monkeypatch.setattr(database, "address", lambda: gone)
    with pytest.raises(RunError, match="the connection is lost") as caught, optuna_storage(database):
        pass
    assert "hidden-5" not in str(caught.value)
    assert "\n" not in str(caught.value)
