import itertools
import math
from dataclasses import replace
from math import nan

import pytest

from lrpolicy.errors import RunError
from lrpolicy.range_test import coarse_rates, finer_rates, fix_range
from lrpolicy.range_test.fix_scan import Unlearned, learned_top1
from lrpolicy.records import Measurement, Split
from lrpolicy.search import RateRange
from support.fake_engine import evaluation


def test_the_scan_goes_down_by_tens():
    rates = coarse_rates()
    assert all(high / low == pytest.approx(10) for high, low in itertools.pairwise(rates))


def test_the_range_of_cnn3_on_cifar10():
    # The shape of the paper's Figure 3: good from 0.0005 to 0.006, dead at 0.1.
    accuracy = {0.1: 0.10, 0.01: 0.55, 0.006: 0.66, 0.001: 0.70, 0.0005: 0.66, 0.0001: 0.45, 0.00001: 0.2}
    assert fix_range(accuracy, 10) == RateRange(0.0005, 0.001, 0.006)


def test_a_diverged_rate_ends_the_range_and_is_no_best():
    assert fix_range({1.0: nan, 0.1: 0.9, 0.01: 0.89, 0.001: nan}, 10) == RateRange(0.01, 0.1, 0.1)


def test_a_good_island_beyond_a_bad_rate_is_not_in_the_range():
    assert fix_range({1.0: 0.9, 0.1: 0.2, 0.01: 0.92, 0.001: 0.2}, 10) == RateRange(0.01, 0.01, 0.01)


@pytest.mark.parametrize("accuracy", [{0.1: nan, 0.01: nan}, {0.1: 0.1, 0.01: 0.11}])
def test_nothing_learns(accuracy):
    with pytest.raises(RunError, match=r"no fixed rate learns anything: 0.01 -> .*, 0.1 -> .*chance is 10.0 %"):
        fix_range(accuracy, 10)


def test_what_few_examples_show_may_be_luck():
    # Of 100 examples a net at chance gets 10, with a standard deviation of 3 (the binomial share): 19 begin to tell.
    few, many = Unlearned(nan, 100), Unlearned(nan, 10_000)
    assert few.least_learned(0.1) == pytest.approx(0.1 + 3 * 0.03)
    assert many.least_learned(0.1) == pytest.approx(0.12)
    assert fix_range({0.1: 0.19, 0.01: 0.1}, 10, few) == RateRange(0.1, 0.1, 0.1)
    assert fix_range({0.1: 0.18, 0.01: 0.1}, 10, many) == RateRange(0.1, 0.1, 0.1)
    with pytest.raises(RunError, match=r"chance is 10.0 %; below 19.0 % it may be luck"):
        fix_range({0.1: 0.18, 0.01: 0.1}, 10, few)


def test_a_rate_must_gain_over_the_untrained_net():
    with pytest.raises(RunError, match=r"the untrained net has 60\.0 %; below 62\.0 %"):
        fix_range({0.1: 0.61, 0.01: 0.61}, 10, Unlearned(0.6))
    assert fix_range({0.1: 0.7, 0.01: 0.1}, 10, Unlearned(0.6)) == RateRange(0.1, 0.1, 0.1)


def measured(iteration, top1):
    return Measurement(iteration, Split.VALIDATION, 0.1, nan, evaluation(top1), 0.0)


def test_a_rate_is_judged_after_its_first_update():
    trial = [measured(0, 0.3), measured(5, 0.2), measured(10, 0.25)]
    assert learned_top1(trial) == 0.25
    assert learned_top1(trial, within=5) == 0.2
    assert math.isnan(learned_top1(trial[:1]))
    assert Unlearned.of([*trial, measured(0, 0.1), measured(0, 0.2)], 10, 7) == Unlearned(0.2, 100)
    assert Unlearned.of([], 10, 7).examples == 7


def test_a_net_that_always_answers_the_most_frequent_class_learned_nothing():
    def answers(top1, classes_without_hit):
        return replace(measured(9, top1), evaluation=replace(evaluation(top1), classes_without_hit=classes_without_hit))

    constant = Unlearned.of([answers(0.05, 1), answers(0.95, 1), answers(0.97, 0)], 2)
    assert constant == Unlearned(constant.untrained, 100, 0.95)
    with pytest.raises(RunError, match=r"0.01 -> 95.0 %, 0.1 -> 95.0 % Top-1 \(chance is 95.0 %; below 100.0 %"):
        fix_range({0.1: 0.95, 0.01: 0.95}, 2, constant)
    assert fix_range({0.1: 1.0, 0.01: 0.95}, 2, constant) == RateRange(0.1, 0.1, 0.1)
    many = constant._replace(examples=100_000)
    assert fix_range({0.1: 0.98, 0.01: 0.95}, 2, many) == RateRange(0.1, 0.1, 0.1)
    assert fix_range({0.1: 0.98, 0.01: 0.95}, 2, many._replace(constant=0.0)) == RateRange(0.01, 0.1, 0.1)


def test_of_equal_rates_the_largest_is_the_best_in_whatever_order_they_come():
    accuracy = {1.0: 0.9, 0.1: 0.95, 0.01: 0.95, 0.001: 0.3, 10.0: nan}
    for order in itertools.permutations(accuracy):
        reached = {rate: accuracy[rate] for rate in order}
        assert fix_range(reached, 10) == RateRange(0.01, 0.1, 1.0)
        assert finer_rates(reached) == (0.32, 0.032, 3.2)


def test_finer_rates_surround_the_best_and_are_new():
    accuracy = {1.0: nan, 0.1: 0.85, 0.01: 0.9, 0.001: 0.5}
    assert finer_rates(accuracy) == (0.032, 0.0032, 0.32)
    assert finer_rates({**accuracy, 0.032: 0.9, 0.0032: 0.8, 0.32: nan}) == ()
    assert finer_rates({1.0: nan, 0.1: nan})  # everything diverged: go on looking, do not crash
