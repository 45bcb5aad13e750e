import contextlib
import math

import pytest

from lrpolicy import zoo
from lrpolicy.database import connect
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError, RunError
from lrpolicy.evaluator import Evaluator, Plan, StageStarted
from lrpolicy.executors.base import Finished
from lrpolicy.executors.local import LocalExecutor
from lrpolicy.ranking import check_winner
from lrpolicy.records import TrialStatus
from lrpolicy.search import RateRange
from lrpolicy.solver import read
from support.fake_engine import DATASET, FakeEngine

SOLVER = read(zoo.solver_path("digits"))
PLAN = Plan(functions=("fixed", "step", "tri2"), max_iter=40, scan_iter=10, candidates=2, seeds=2)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with connect(home=tmp_path_factory.mktemp("home")) as database:
        yield database


@pytest.fixture(scope="module")
def executor():
    with LocalExecutor(2) as executor:
        yield executor


@pytest.fixture
def evaluator(database, executor):
    job = TrainingJob(SOLVER)
    task = FakeEngine().describe(job)
    run = database.start_run(task, {})
    return Evaluator(job, task, PLAN, executor, database, run, engine="support.fake_engine:FakeEngine")


def test_three_stages_end_in_a_ranking_of_every_function(evaluator):
    stages = [(e.name, e.trials, e.done) for e in evaluator.evaluate() if isinstance(e, StageStarted)]
    assert stages == [("range", 5, 0), ("range", 3, 0), ("search", 6, 0), ("final", 6, 0)]
    ranking = evaluator.ranking()
    assert {row.policy.name for row in ranking} == set(PLAN.functions)
    assert [row.rank for row in ranking] == [1, 2, 3]
    # Finalists are ranked on seeds that did not select them.
    assert all(row.seeds == (2, 3) for row in ranking)
    # The fake engine learns best at 0.03: the scan must have found its way there.
    fixed = next(row.policy for row in ranking if row.policy.name == "fixed")
    assert fixed.rate(0) == pytest.approx(0.032, rel=1e-6)


def test_policies_are_tried_as_a_prototxt_holds_them(evaluator):
    for _ in evaluator.evaluate():
        pass
    for row in evaluator.ranking():
        assert SOLVER.with_policy(row.policy).policy == row.policy


def test_diverged_rates_of_the_scan_are_results(evaluator, database):
    for _ in evaluator.evaluate():
        pass
    trials = database.trials(run=evaluator.run, stage="range")
    diverged = [trial.spec.policy["base_lr"] for trial in trials if trial.status is TrialStatus.DIVERGED]
    assert diverged == [1.0]
    assert {trial.status for trial in trials} == {TrialStatus.COMPLETED, TrialStatus.DIVERGED}


def test_a_scan_in_which_everything_diverges_says_so(database, executor):
    job = TrainingJob(SOLVER)
    task = FakeEngine().describe(job)
    run = database.start_run(task, {})
    evaluator = Evaluator(job, task, PLAN, executor, database, run, engine="support.fake_engine:DivergingEngine")
    with pytest.raises(RunError, match=r"learns anything: 0\.0001 -> diverged, .*, 1 -> diverged Top-1"):
        list(evaluator.evaluate())
    assert len(database.trials(run=run)) == 5  # nothing says where finer rates should lie


def test_an_untrained_net_is_no_rate_that_learned(database, executor):
    job = TrainingJob(SOLVER)
    engine = "support.fake_engine:FrozenEngine"
    run = database.start_run(FakeEngine().describe(job), {})
    evaluator = Evaluator(job, FakeEngine().describe(job), PLAN, executor, database, run, engine)
    # Of 100 examples 16 + 3 * 3.7 are more than luck. Judged is what came after the first update: 13 of 100.
    with pytest.raises(
        RunError, match=r"1 -> 13\.0 %.* \(chance is 10\.0 %, the untrained net has 16\.0 %; below 27\.0 %"
    ):
        list(evaluator.evaluate())


def test_a_policy_that_never_became_better_than_it_began_is_no_winner(database, executor):
    job = TrainingJob(SOLVER)
    plan = Plan(("fixed", "step"), max_iter=40, candidates=1, seeds=2, range=RateRange(0.01, 0.03, 0.1))
    run = database.start_run(FakeEngine().describe(job), {})
    engine = "support.fake_engine:FrozenEngine"
    evaluator = Evaluator(job, FakeEngine().describe(job), plan, executor, database, run, engine)
    list(evaluator.evaluate())
    ranking = evaluator.ranking()
    assert ranking[0].iterations_at_best.values == (0, 0)  # the paper's #Iter stays
    with pytest.raises(RunError, match='no policy won: the first, "fixed", was best before its first update'):
        check_winner(ranking)


def test_the_picture_gets_one_selection_curve_for_each_policy(evaluator):
    for _ in evaluator.evaluate():
        pass
    curves = evaluator.measurements()
    assert set(curves) == {row.policy for row in evaluator.ranking()}
    assert all([m.iteration for m in curve] == [20, 40] for curve in curves.values())


def test_an_interrupted_run_goes_on_without_repeating(evaluator, database):
    events = evaluator.evaluate()
    finished = 0
    with contextlib.closing(events):
        for event in events:
            finished += isinstance(event, Finished)
            if finished == 11:
                break
    left = database.trials(run=evaluator.run)
    assert {trial.status for trial in left} >= {TrialStatus.COMPLETED}
    assert TrialStatus.RUNNING not in {trial.status for trial in left}

    stages = [e for e in evaluator.evaluate() if isinstance(e, StageStarted)]
    assert [(e.name, e.done) for e in stages] == [("range", 5), ("range", 3), ("search", 3), ("final", 0)]
    attempts = [trial.attempt for trial in database.trials(run=evaluator.run)]
    assert sum(attempts) <= len(attempts) + 2  # only what was running is done again


def test_the_epoch_decides_the_step_sizes(evaluator):
    assert evaluator.iterations_per_epoch == math.ceil(DATASET.train_size / 64)


def test_a_known_range_skips_the_scan(database, executor):
    job = TrainingJob(SOLVER)
    task = FakeEngine().describe(job)
    plan = Plan(("fixed",), max_iter=40, scan_iter=10, candidates=1, seeds=1, range=RateRange(0.01, 0.03, 0.1))
    run = database.start_run(task, {})
    evaluator = Evaluator(job, task, plan, executor, database, run, "support.fake_engine:FakeEngine")
    assert [e.name for e in evaluator.evaluate() if isinstance(e, StageStarted)] == ["search", "final"]


@pytest.mark.parametrize("field", ["max_iter", "scan_iter", "candidates", "seeds"])
def test_counts_are_positive(field):
    with pytest.raises(InputError, match=f"{field} must be 1 or more, got 0"):
        Plan(**{"functions": ("fixed",), "max_iter": 1, "scan_iter": 1, field: 0})
