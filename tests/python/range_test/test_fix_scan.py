import itertools
from math import nan

import pytest

from lrpolicy.errors import RunError
from lrpolicy.range_test import coarse_rates, finer_rates, fix_range
from lrpolicy.search import RateRange


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


def test_finer_rates_surround_the_best_and_are_new():
    accuracy = {1.0: nan, 0.1: 0.85, 0.01: 0.9, 0.001: 0.5}
    assert finer_rates(accuracy) == (0.032, 0.0032, 0.32)
    assert finer_rates({**accuracy, 0.032: 0.9, 0.0032: 0.8, 0.32: nan}) == ()
    assert finer_rates({1.0: nan, 0.1: nan})  # everything diverged: go on looking, do not crash
