"""Successive halving on an engine that pretends: who goes on, what it costs, and that a stop changes nothing."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from lrpolicy import zoo
from lrpolicy.database import connect
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError, RunError
from lrpolicy.evaluator import Budget, Evaluator, Plan, Planned, StageStarted, expected, known_leaders, setting_of
from lrpolicy.executors.base import Finished
from lrpolicy.executors.sequential import SequentialExecutor
from lrpolicy.goals import find_goal
from lrpolicy.policies import Policy
from lrpolicy.records import TrialOutcome, TrialStatus
from lrpolicy.reports.results import ranking_rows
from lrpolicy.search import RateRange, SearchSpace, paper_functions
from lrpolicy.solver import read
from support.fake_engine import FakeEngine

SOLVER = read(zoo.solver_path("digits"))
RANGE = RateRange(0.003, 0.03, 0.1)
EPOCH = 15
ALL = tuple(paper_functions())


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with connect(home=tmp_path_factory.mktemp("home")) as database:
        yield database


class Recorded(SequentialExecutor):
    """Notes every trial that it begins."""

    def __init__(self, engine=None):
        super().__init__(engine or FakeEngine())
        self.begun = []

    def run(self, engine, jobs):
        for trial, job in jobs:
            self.begun.append((job.schedule, job.seed, job.max_iter))
            yield from super().run(engine, [(trial, job)])


def evaluator_of(database, plan, engine=None, **others):
    job = TrainingJob(SOLVER)
    task = FakeEngine().describe(job)
    return Evaluator(job, task, plan, Recorded(engine), database, database.start_run(task, {}), "fake", **others)


def run_to_the_end(evaluator):
    return list(evaluator.evaluate())


def trials(database, evaluator):
    return [
        (t.spec.stage, Policy.from_dict(t.spec.policy), t.spec.seed, t.spec.max_iter, t.status)
        for t in database.trials(run=evaluator.run)
    ]


def place_of(policy, max_iter):
    """Where a policy of a rung stands in its function's list."""
    space = SearchSpace(RANGE, max_iter, EPOCH)
    return next(
        place
        for place in space.places(policy.name)
        if SOLVER.with_policy(space.candidate(policy.name, place)).policy == policy
    )


def test_rungs_shrink_the_schedule_to_their_length(database):
    evaluator = evaluator_of(database, Plan(ALL, max_iter=540, seeds=1, range=RANGE))
    stages = [(e.name, e.trials, e.iterations) for e in run_to_the_end(evaluator) if isinstance(e, StageStarted)]
    assert stages == [("search", 39, 60), ("search", 13, 180), ("final", 13, 540)]
    for policy, _, max_iter in evaluator.executor.begun:
        in_place = [
            SOLVER.with_policy(candidate).policy
            for candidate in SearchSpace(RANGE, max_iter, EPOCH).candidates(policy.name)
        ]
        assert policy in in_place


def test_every_function_is_in_the_first_rung_and_in_the_table(database):
    evaluator = evaluator_of(database, Plan(ALL, max_iter=540, candidates=1, seeds=1, range=RANGE))
    run_to_the_end(evaluator)
    assert {policy.name for policy, _, max_iter in evaluator.executor.begun if max_iter == 60} == set(ALL)
    assert {row.policy.name for row in evaluator.ranking()} == set(ALL)
    assert evaluator.not_promoted == []


def test_the_smallest_losses_of_a_rung_go_on_and_a_high_last_rate_counts_against(database):
    evaluator = evaluator_of(database, Plan(ALL, max_iter=540, seeds=1, range=RANGE))
    run_to_the_end(evaluator)
    costs = {}
    for trial in database.trials(run=evaluator.run, stage="search"):
        if trial.spec.max_iter == 60 and trial.status is TrialStatus.COMPLETED:
            policy = Policy.from_dict(trial.spec.policy)
            rates = [policy.rate(t) for t in range(60)]
            costs[policy] = trial.outcome.best.evaluation.loss * (1 + 0.5 * sum(rates[-3:]) / 3 / max(rates))
    went_on = {(row.policy.name, place_of(row.policy, 180)) for row in evaluator.ranking("search", 180)}
    assert len(went_on) == 13
    best = sorted(costs, key=costs.get)[:13]
    assert {(policy.name, place_of(policy, 60)) for policy in best} == went_on


def test_where_not_all_fit_the_next_candidates_of_the_leaders_enter(database):
    evaluator = evaluator_of(database, Plan(ALL, max_iter=540, candidates=6, range=RANGE, budget=Budget(3_400)))
    layout = next(step.layout for step in run_to_the_end(evaluator) if isinstance(step, Planned))
    begun = [policy for policy, _, max_iter in evaluator.executor.begun if max_iter == 60]
    first, others = begun[: len(ALL)], begun[len(ALL) :]
    assert [(policy.name, place_of(policy, 60)) for policy in first] == [(name, 0) for name in ALL]
    assert 2 <= len(others) == layout.rungs[0].candidates - len(ALL) < len(ALL)
    costs = {}
    for trial in database.trials(run=evaluator.run, stage="search"):
        policy = Policy.from_dict(trial.spec.policy)
        if policy in first:
            rates = [policy.rate(t) for t in range(60)]
            costs[policy.name] = trial.outcome.best.evaluation.loss * (1 + 0.5 * sum(rates[-3:]) / 3 / max(rates))
    leaders = sorted(costs, key=costs.get)[: len(others)]
    assert [(policy.name, place_of(policy, 60)) for policy in others] == [(name, 1) for name in leaders]


def test_under_another_goal_the_best_ranks_go_on(database):
    goal = find_goal("iterations", 0.9)
    evaluator = evaluator_of(database, Plan(ALL, max_iter=540, seeds=1, range=RANGE, goal=goal))
    run_to_the_end(evaluator)
    best = [row.policy for row in evaluator.ranking("search", 60) if row.is_sound][:13]
    went_on = {(row.policy.name, place_of(row.policy, 180)) for row in evaluator.ranking("search", 180)}
    assert {(policy.name, place_of(policy, 60)) for policy in best} == went_on


def test_leaders_of_much_shorter_trainings_tell_nothing(database):
    evaluator = evaluator_of(database, Plan(ALL, max_iter=540, seeds=1, range=RANGE))
    run_to_the_end(evaluator)
    for max_iter, known in {540: True, 1620: True, 1621: False}.items():
        setting = replace(setting_of(evaluator.job), max_iter=max_iter)
        assert (known_leaders(database, evaluator.task, setting, find_goal("accuracy")) is not None) == known


def test_what_diverges_is_never_promoted(database):
    # Rates above 0.5 diverge: of both functions some candidates begin or swing above it, and some do not.
    evaluator = evaluator_of(
        database, Plan(("exp", "tri"), 540, candidates=9, seeds=1, range=RateRange(0.02, 0.2, 0.3))
    )
    run_to_the_end(evaluator)
    diverged = [t for t in trials(database, evaluator) if t[4] is TrialStatus.DIVERGED]
    assert diverged
    assert {max_iter for *_, max_iter, _ in diverged} == {60}
    assert all(not row.diverged for row in evaluator.ranking())


class LateDivergence(FakeEngine):
    """What swings or begins high diverges in full trainings alone, which the search cannot know."""

    def train(self, job, observer):
        if job.max_iter == 540 and job.schedule.rates(range(540)).max() > 0.09:
            return TrialOutcome(TrialStatus.DIVERGED, 3, 0.1, message="loss is nan at iteration 3")
        return super().train(job, observer)


def test_what_diverges_in_the_finals_leaves_its_budget_to_the_next_finalist(database):
    plan = Plan(("fixed", "step", "exp", "tri", "cos"), max_iter=540, seeds=1, range=RANGE, budget=Budget(3_500))
    usual, late = evaluator_of(database, plan), evaluator_of(database, plan, LateDivergence())
    run_to_the_end(usual)
    stages = [(e.name, e.trials, e.done) for e in run_to_the_end(late) if isinstance(e, StageStarted)]
    finals = [stage for stage in stages if stage[0] == "final"]
    assert len(usual.ranking()) == finals[0][1] < len(late.ranking())
    assert len(finals) > 1
    assert sum(late.spent().values()) <= 3_500
    assert {row.policy.name for row in late.ranking()}.isdisjoint(left.function for left in late.not_promoted)
    table, begun = ranking_rows(late.ranking()), late.executor.begun.copy()
    run_to_the_end(late)  # resumed at its end: nothing is left to do, and the same finalists are known
    assert (ranking_rows(late.ranking()), late.executor.begun) == (table, begun)


def test_a_function_that_always_diverges_is_listed_so(database):
    evaluator = evaluator_of(database, Plan(("fixed", "exp"), 540, candidates=1, range=RateRange(0.02, 0.03, 0.9)))
    run_to_the_end(evaluator)
    assert [row.policy.name for row in evaluator.ranking()] == ["fixed"]
    assert [(left.function, left.row) for left in evaluator.not_promoted] == [("exp", None)]


@pytest.mark.parametrize("search", ["halving", "grid"])
@pytest.mark.parametrize("budget", [9_000, 13_000, 30_000])
def test_an_iterations_budget_is_never_exceeded(database, budget, search):
    evaluator = evaluator_of(database, Plan(ALL, max_iter=540, budget=Budget(budget), search=search))
    run_to_the_end(evaluator)
    spent = evaluator.spent()
    assert set(spent) == {"range", "search", "final"}
    assert budget / 2 < sum(spent.values()) <= budget
    ranked = {row.policy.name for row in evaluator.ranking()}
    left = {left.function for left in evaluator.not_promoted}
    assert ranked | left == set(ALL)
    assert not ranked & left


def test_a_budget_too_small_is_said_before_anything_trains(database):
    evaluator = evaluator_of(database, Plan(ALL, max_iter=540, budget=Budget(8_000), search="grid"))
    with pytest.raises(InputError, match="the budget is too small"):
        run_to_the_end(evaluator)
    assert database.trials(run=evaluator.run) == []


def test_those_not_promoted_carry_their_longest_rung(database):
    evaluator = evaluator_of(database, Plan(ALL, max_iter=540, seeds=3, range=RANGE, budget=Budget(8_000)))
    run_to_the_end(evaluator)
    lengths = [left.iterations for left in evaluator.not_promoted]
    assert lengths
    assert lengths == sorted(lengths, reverse=True)
    for left in evaluator.not_promoted:
        rows = {row.policy: row for row in evaluator.ranking("search", left.iterations)}
        assert rows[left.row.policy].selection == left.row.selection


def test_a_budget_of_time_uses_the_speed_of_the_range_stage(database):
    # The fake engine takes 0.2 s for a trial, whatever its length: 50 iterations x 2 places / 0.2 s.
    plan = Plan(ALL, max_iter=540, scan_iter=50, budget=Budget(0.5, "minutes"))
    evaluator = evaluator_of(database, plan, places=2)
    assert expected(plan, EPOCH)[1] is None
    layout = next(e.layout for e in run_to_the_end(evaluator) if isinstance(e, Planned))
    spent = evaluator.spent()
    outcomes = [t.outcome for t in database.trials(run=evaluator.run, stage="range")]
    speed = 2 * sum(o.iterations for o in outcomes) / sum(o.seconds for o in outcomes)
    assert layout.iterations <= 30 * speed - spent["range"]
    assert layout.iterations > 0.5 * 30 * speed


def test_without_a_range_stage_the_first_trial_shows_the_speed(database):
    plan = Plan(("fixed", "tri"), max_iter=540, range=RANGE, budget=Budget(1, "minutes"))
    evaluator = evaluator_of(database, plan)
    stages = [(e.name, e.trials, e.done) for e in run_to_the_end(evaluator) if isinstance(e, StageStarted)]
    assert stages[:2] == [("search", 1, 0), ("search", 6, 1)]
    assert len(evaluator.executor.begun) == len(set(evaluator.executor.begun))


def test_a_target_is_looked_for_in_short_rungs_too(database):
    goal = find_goal("iterations", 0.9)
    evaluator = evaluator_of(database, Plan(ALL, max_iter=540, candidates=1, seeds=1, range=RANGE, goal=goal))
    run_to_the_end(evaluator)
    intervals = {t.spec.max_iter: t.spec.test_interval for t in database.trials(run=evaluator.run)}
    assert intervals == {60: 6, 180: 20, 540: 60}
    scores = [row.score for row in evaluator.ranking()]
    assert scores == sorted(scores)
    assert scores[0] < 541


def test_all_trials_failing_is_said_once(database):
    evaluator = evaluator_of(database, Plan(("fixed",), max_iter=540, first_seed=667))
    with pytest.raises(RunError, match="all 5 trials of stage range failed; the first: OSError: the disk caught fire"):
        run_to_the_end(evaluator)


def test_stopping_after_any_event_changes_nothing(database):
    plan = Plan(("fixed", "tri2"), max_iter=270, scan_iter=20, candidates=2, seeds=1)
    whole = evaluator_of(database, plan)
    count = len(run_to_the_end(whole))
    table, done = ranking_rows(whole.ranking()), trials(database, whole)
    for stop in range(1, count, 3):  # a trial has seven events: every kind of stop is met
        evaluator = evaluator_of(database, plan)
        with contextlib.closing(evaluator.evaluate()) as events:
            seen = [next(events) for _ in range(stop)]
        finished = sum(isinstance(event, Finished) for event in seen)
        first, evaluator.executor.begun = evaluator.executor.begun, []
        run_to_the_end(evaluator)
        assert trials(database, evaluator) == done, f"stopped after {stop} of {count} events"
        assert ranking_rows(evaluator.ranking()) == table
        again = set(first) & set(evaluator.executor.begun)
        assert len(again) == len(first) - finished <= 1  # only what was running
