"""The bootstrap against SciPy's, against counting every way to draw, and against the truth it claims to hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lrpolicy.confidence import COVERAGE, interval, resampled_means, share_of_wins

SEEDS = [0.9653, 0.9792, 0.9931, 0.9722, 0.9861]


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_the_interval_is_scipys_to_the_last_digits(level: float) -> None:
    """SciPy draws its indices in the same order, so that the same generator gives the same resamples."""
    expected = stats.bootstrap(
        (SEEDS,), np.mean, confidence_level=level, n_resamples=2000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    found = interval(SEEDS, np.random.default_rng(3), level=level, resamples=2000)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-13)


def test_the_interval_approaches_that_of_every_possible_draw() -> None:
    every = [np.mean(draw) for draw in itertools.product(SEEDS, repeat=5)]
    low, high = np.quantile(every, [0.025, 0.975])
    assert interval(SEEDS, np.random.default_rng(0), resamples=50_000) == pytest.approx((low, high), abs=5e-4)


def test_the_same_generator_gives_the_same_interval_and_another_a_near_one() -> None:
    first, again, other = (interval(SEEDS, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first == pytest.approx(other, abs=1e-3)


@pytest.mark.parametrize("values", [[], [0.5], [0.5, math.nan]])
def test_nothing_is_claimed_without_two_numbers(values: list[float]) -> None:
    assert all(map(math.isnan, interval(values, np.random.default_rng(0))))


def test_a_seed_that_never_gets_there_opens_the_upper_end() -> None:
    low, high = interval([100.0, 120.0, math.inf], np.random.default_rng(0))
    assert 100 <= low <= 120
    assert high == math.inf


def test_columns_are_drawn_together() -> None:
    pairs = resampled_means([[1.0, 10.0], [2.0, 20.0], [5.0, 50.0]], np.random.default_rng(0), 500)
    assert pairs.shape == (500, 2)
    assert np.allclose(10 * pairs[:, 0], pairs[:, 1])
    assert len(np.unique(pairs[:, 0])) == 10  # the multisets of three seeds


def test_wins_are_split_between_equals_unless_all_may_win() -> None:
    scores = np.array([[1.0, 1.0, 2.0], [3.0, 1.0, 2.0], [np.inf, np.inf, np.inf]])
    assert share_of_wins(scores).tolist() == pytest.approx([0.5 / 3, 1.5 / 3, 0])
    assert share_of_wins(scores, split=False).tolist() == pytest.approx([1 / 3, 2 / 3, 0])


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_few_seeds_hold_the_truth_as_often_as_the_table_says(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    hits = 0
    for _ in range(1500):
        low, high = interval(rng.normal(size=seeds), rng, resamples=400)
        hits += low <= 0 <= high
    assert hits / 1500 == pytest.approx(COVERAGE[seeds], abs=0.04)


@pytest.mark.parametrize("seeds", [2, 3])
def test_two_and_three_seeds_hold_the_median_unless_all_lie_on_one_side_of_it(seeds: int) -> None:
    values = [0.1, 0.7, 0.2][:seeds]
    assert interval(values, np.random.default_rng(0)) == pytest.approx((min(values), max(values)), abs=1e-15)
    assert COVERAGE[seeds] == 1 - 2 * 0.5**seeds
