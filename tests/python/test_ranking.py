import random
from math import isnan

import numpy as np
import pytest

from lrpolicy.policies import Policy
from lrpolicy.ranking import rank
from lrpolicy.records import Measurement, Split, TrialOutcome, TrialSpec, TrialStatus
from support.fake_engine import evaluation

TRI2 = Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=2000)
FIXED = Policy("fixed", base_lr=0.01)
STEP = Policy("multistep", base_lr=0.01, gamma=0.1, stepvalue=(100, 200))


def trial(policy, seed, top1, *, status=TrialStatus.COMPLETED, iteration=100, train_loss=0.2):
    spec = TrialSpec(policy.to_dict(), seed, 200, 10, 50, "SGD", 0.9, 0.0)
    if status is not TrialStatus.COMPLETED:
        return spec, TrialOutcome(status, 7, 0.1)
    best = Measurement(iteration, Split.VALIDATION, 0.01, train_loss, evaluation(top1), 1.0)
    test = Measurement(iteration, Split.TEST, 0.01, train_loss, evaluation(top1 - 0.02), 1.0)
    return spec, TrialOutcome(status, 200, 2.0, best, test)


def test_mean_and_deviation_are_numpys():
    tops = [0.91, 0.93, 0.98]
    (row,) = rank([trial(TRI2, seed, top1) for seed, top1 in enumerate(tops)])
    assert row.selection.top1.mean == pytest.approx(np.mean(tops), abs=1e-15)
    assert row.selection.top1.deviation == pytest.approx(np.std(tops, ddof=1), abs=1e-15)
    assert row.test.top1.mean == pytest.approx(np.mean(tops) - 0.02, abs=1e-15)
    assert (row.seeds, row.parameter_count, row.iterations_at_best.mean) == ((0, 1, 2), 3, 100)


def test_loss_difference_is_test_minus_train():
    (row,) = rank([trial(TRI2, 1, 0.9, train_loss=0.04)])
    assert row.selection.loss_difference.mean == pytest.approx(0.1 - 0.04)


def test_the_best_first_whatever_the_order_of_the_trials():
    trials = [trial(TRI2, s, 0.95 + s / 1000) for s in range(3)] + [trial(FIXED, s, 0.94) for s in range(3)]
    trials += [trial(STEP, s, 0.97) for s in range(3)]
    random.Random(0).shuffle(trials)
    assert [(row.rank, row.policy) for row in rank(trials)] == [(1, STEP), (2, TRI2), (3, FIXED)]


def test_ties_go_to_fewer_iterations_then_to_the_smaller_loss_difference():
    by_cost = [trial(FIXED, 1, 0.9, iteration=200), trial(TRI2, 1, 0.9, iteration=100, train_loss=0.0)]
    assert [row.policy for row in rank(by_cost)] == [TRI2, FIXED]
    by_loss = [trial(FIXED, 1, 0.9, train_loss=0.01), trial(STEP, 1, 0.9, train_loss=0.05)]
    assert [row.policy for row in rank(by_loss)] == [STEP, FIXED]


def test_a_policy_that_diverged_stands_below_those_that_never_did():
    rows = rank([trial(TRI2, 1, 0.99), trial(TRI2, 2, 0, status=TrialStatus.DIVERGED), trial(FIXED, 1, 0.5)])
    assert [(row.policy, row.diverged) for row in rows] == [(FIXED, 0), (TRI2, 1)]
    (row,) = rank([trial(TRI2, 1, 0, status=TrialStatus.DIVERGED)])
    assert isnan(row.selection.top1.mean)


def test_accidents_are_no_results():
    accidents = [TrialStatus.FAILED, TrialStatus.INTERRUPTED, TrialStatus.RUNNING]
    assert rank([trial(TRI2, n, 0, status=status) for n, status in enumerate(accidents)]) == []


def test_one_seed_has_no_deviation():
    (row,) = rank([trial(TRI2, 1, 0.9)])
    assert isnan(row.selection.top1.deviation)
