import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from lrpolicy.engines import load_engine
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.function import FunctionEngine
from lrpolicy.errors import InputError
from lrpolicy.policies import Policy
from lrpolicy.records import Protocol, Split, TrialStatus

POLICY = Policy("exp", base_lr=0.1, gamma=0.5)


class Noted:
    def __init__(self, stop_after=10**9):
        self.shown, self.measurements, self.stop_after = [], [], stop_after

    def displayed(self, *point):
        self.shown.append(point)

    def measured(self, measurement):
        self.measurements.append(measurement)

    def saved(self, path):
        raise AssertionError(path)

    def stopping(self):
        return len(self.measurements) >= self.stop_after


def train(function, observer=None, protocol=Protocol.VALIDATION):
    job = TrainingJob(solver=None, schedule=POLICY, seed=7, max_iter=4, protocol=protocol)
    return FunctionEngine(function).train(job, observer or Noted())


def test_train_loss_is_that_of_the_last_reports():
    def function(schedule, trial):
        for t in range(50):
            trial.report(t + 1, float(t), split="train")
        trial.report(50, 0.7, 0.5)

    job = TrainingJob(solver=None, schedule=POLICY, seed=7, max_iter=50)
    assert FunctionEngine(function).train(job, Noted()).best.train_loss == sum(range(30, 50)) / 20


def test_reports_become_measurements():
    def function(schedule, trial):
        assert (trial.seed, trial.max_iter, schedule.rate(1)) == (7, 4, 0.05)
        for t in range(trial.max_iter):
            trial.report(t + 1, 1.0 / (t + 1), split="train")
            if t % 2:
                trial.report(t + 1, 0.7, 0.5 + 0.1 * (t == 1))
                trial.report(t + 1, 0.8, 0.4 + 0.1 * t, split="test")

    observer = Noted()
    outcome = train(function, observer)
    assert observer.shown == [(1, 1.0, 0.1), (2, 0.5, 0.05), (3, 1 / 3, 0.025), (4, 0.25, 0.0125)]
    assert (outcome.status, outcome.iterations) == (TrialStatus.COMPLETED, 4)
    best = outcome.best
    assert (best.iteration, best.split, best.rate, best.evaluation.top1) == (2, Split.VALIDATION, 0.05, 0.6)
    assert best.train_loss == 0.75  # of the reports since the measurement before
    assert observer.measurements[2].train_loss == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert math.isnan(best.evaluation.top5)
    assert (outcome.test.iteration, outcome.test.evaluation.top1) == (
        2,
        0.5,
    )  # beside the best, though a later is higher


def test_probabilities_give_all_metrics():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(6), 50), rng.integers(0, 6, 50)
    outcome = train(lambda _, trial: trial.report(4, 1.5, probabilities=probabilities, labels=labels))
    found = outcome.best.evaluation
    assert found.top1 == accuracy_score(labels, probabilities.argmax(1))
    hits = probabilities.max(1)[probabilities.argmax(1) == labels]
    assert found.average_confidence == pytest.approx(hits.mean())
    assert found.confidence_deviation == pytest.approx(hits.std())
    assert (found.loss, found.example_count) == (1.5, 50)
    assert found.loss != pytest.approx(log_loss(labels, probabilities))  # the function's own loss counts


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_trial(split, loss):
    def function(_, trial):
        trial.report(1, 0.5, 0.3)
        try:
            trial.report(2, loss, None if split == "train" else 0.1, split=split)
        except Exception:  # as careless code does
            raise AssertionError from None
        raise AssertionError("the report returned")

    outcome = train(function)
    assert (outcome.status, outcome.iterations) == (TrialStatus.DIVERGED, 2)
    assert outcome.message == f"{split} loss is {loss} at iteration 2"
    assert outcome.best.evaluation.top1 == 0.3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_probabilities_that_are_not_finite_end_the_trial(split, bad):
    """A Top-1 of NaN would be the best for ever: nothing is greater."""

    def function(_, trial):
        trial.report(1, 0.7, 0.4)
        trial.report(2, 0.7, probabilities=[[0.5, 0.5], [bad, bad]], labels=[0, 1], split=split)
        trial.report(3, 0.1, 1.0)

    outcome = train(function)
    assert (outcome.status, outcome.iterations) == (TrialStatus.DIVERGED, 2)
    assert outcome.message == f"{split} probabilities are not finite at iteration 2"
    assert outcome.best.evaluation.top1 == 0.4


def test_a_stop_is_seen_and_enforced():
    seen = []

    def polite(_, trial):
        trial.report(1, 0.5, split="train")
        seen.append(trial.should_stop)

    assert train(polite, Noted(stop_after=0)).status is TrialStatus.INTERRUPTED
    assert not seen  # the report left the function already
    outcome = train(lambda _, trial: [trial.report(t, 0.5, 0.1 * t) for t in range(1, 5)], Noted(stop_after=2))
    assert (outcome.status, outcome.iterations) == (TrialStatus.INTERRUPTED, 2)


def test_under_the_papers_protocol_the_test_set_steers():
    def function(_, trial):
        for t in (1, 2, 3):
            trial.report(t, 0.5, 0.9 - 0.1 * abs(t - 2), split="test")

    outcome = train(function, protocol=Protocol.PAPER)
    assert (outcome.best.iteration, outcome.best.split) == (2, Split.TEST)
    assert outcome.test == outcome.best


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (lambda trial: trial.report(1, 0.5), "a report needs either top1, or probabilities and labels"),
        (lambda trial: trial.report(1, 0.5, 0.5, probabilities=[[1.0]], labels=[0]), "either top1, or"),
        (lambda trial: trial.report(1, 0.5, probabilities=[[1.0]]), "either top1, or"),
        (lambda trial: trial.report(1, 0.5, 97), r"top1 is a ratio in \[0, 1\], got 97; 97 % is 0.97"),
        (lambda trial: trial.report(1, 0.5, math.nan), r"top1 is a ratio in \[0, 1\], got nan"),
        (
            lambda trial: trial.report(5, 0.5, 0.5),
            r"must lie above the last one \(-1\) and not above max_iter = 4, got 5",
        ),
        (lambda trial: [trial.report(2, 0.5, 0.5), trial.report(2, 0.5, 0.5)], r"above the last one \(2\)"),
        (lambda trial: trial.report(1, 0.5, 0.5, split="valid"), 'split "valid" is unknown; .* mean "validation"'),
        (lambda trial: trial.report(1, 0.5, split="train"), "returned without a report of split validation"),
        (lambda trial: None, "returned without a report of split validation; call trial.report"),
    ],
)
def test_wrong_reports_are_input_errors(report, message):
    with pytest.raises(InputError, match=message):
        train(lambda _, trial: report(trial))


def test_an_engine_can_be_named_as_a_function():
    engine = load_engine("support.train_functions:pretend")
    job = TrainingJob(solver=None, schedule=Policy("fixed", base_lr=0.03), max_iter=10)
    assert engine.train(job, Noted()).best.evaluation.top1 == pytest.approx(0.951)
    with pytest.raises(InputError, match="the task of a training function is not in a file"):
        engine.describe(job)
    with pytest.raises(InputError, match="is neither a class nor a training function, got 3"):
        load_engine("math:pi")
