"""The arithmetic of the rule: curves whose answer is known because we drew them."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from lrpolicy.errors import RunError
from lrpolicy.range_test import curves
from lrpolicy.range_test.bootstrap import bootstrap
from lrpolicy.range_test.sweeping import LossWatch

RATES = np.geomspace(1e-5, 10, 200)


def drawn(starts=1e-3, bottoms=3e-2, edge=1.0, rates=RATES, noise=0.0, seed=0):
    """Flat at 2.3, falls to 0.5 between two rates, stays, and jumps up above the edge."""
    log = np.log(rates)
    fall = np.clip((log - np.log(starts)) / (np.log(bottoms) - np.log(starts)), 0, 1)
    values = np.where(rates > edge, 50.0, 2.3 - 1.8 * fall)
    return values + noise * np.random.default_rng(seed).normal(size=len(rates))


def find(values, lag=0.0):
    several = np.atleast_2d(values)
    median = curves.median_over_seeds(np.array([curves.smoothed(v) for v in several]))
    return curves.find_ends(RATES, median, curves.standard_error(several), lag)


def test_smoothing_is_scipys_gaussian_filter():
    values = drawn(noise=0.3, edge=100)
    window = curves.WINDOW * len(values)
    # SciPy cuts its window and has no edge correction: compare inside, where neither matters.
    expected = gaussian_filter1d(values, window, truncate=8)
    np.testing.assert_allclose(curves.smoothed(values)[60:-60], expected[60:-60], rtol=1e-10)


def test_the_edges_have_the_weights_that_are_there():
    values = drawn(rates=RATES[:50], noise=0.3)
    points = np.arange(50)
    weights = np.exp(-0.5 * ((points[:, None] - points) / (curves.WINDOW * 50)) ** 2)
    np.testing.assert_allclose(curves.smoothed(values), weights @ values / weights.sum(axis=1), rtol=1e-12)


def test_a_long_curve_takes_no_square_of_memory():
    tracemalloc.start()
    curves.smoothed(drawn(rates=np.geomspace(1e-5, 10, 5000), edge=100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5000 * 8 * 100  # a table of the points by the points would be 5000 times as much as the curve


def test_smoothing_sees_nothing_beyond_the_divergence():
    values = np.array([1.0] * 50 + [math.nan] + [7.0] * 49)
    np.testing.assert_allclose(curves.smoothed(values)[:50], 1.0)
    assert np.isnan(curves.smoothed(values)[50:]).all()
    assert np.isnan(curves.smoothed(np.full(10, np.nan))).all()


def test_the_median_is_infinite_where_half_of_the_seeds_are_gone():
    gone = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan], [5.0, 6.0, 7.0]])
    assert curves.median_over_seeds(gone).tolist() == [3.0, 6.0, math.inf]


@pytest.mark.parametrize("edge", [0.1, 1.0, 5.0])
def test_the_ends_follow_the_drawn_edge(edge):
    ends = find(drawn(edge=edge))
    assert edge / 2 < ends.edge < edge  # the smoothing blunts the jump ...
    assert ends.edge / find(drawn(edge=0.5)).edge == pytest.approx(edge / 0.5, rel=0.15)  # ... everywhere alike
    assert ends.high == pytest.approx(ends.edge / curves.HIGH_BELOW_EDGE)
    assert ends.suggestion == pytest.approx(ends.edge / curves.SUGGESTION_BELOW_EDGE)
    assert 1e-3 < ends.low < ends.suggestion < ends.high < ends.edge
    assert ends.edge_seen


def test_the_lower_end_is_where_learning_starts():
    # It starts at 1e-3 and a fifth of the way down, on the log axis, is 1e-3 * 30^0.2.
    assert find(drawn(edge=10.0)).low == pytest.approx(1e-3 * 30**0.2, rel=0.15)


def test_a_late_fall_still_leaves_a_decade():
    ends = find(drawn(starts=0.5, bottoms=0.8, edge=1.0))
    assert ends.low == pytest.approx(ends.high / 10)


def test_the_lag_steps_back_along_the_sweep():
    late, now = find(drawn(), lag=10), find(drawn())
    assert now.edge / late.edge == pytest.approx(RATES[10] / RATES[0])
    assert curves.momentum_lag(0.0) == 0
    assert 0.9 ** curves.momentum_lag(0.9) == pytest.approx(0.5)


def test_a_curve_that_never_leaves_its_bottom_says_so():
    ends = find(drawn(edge=100))
    assert not ends.edge_seen
    assert ends.edge == pytest.approx(10)


def test_the_level_and_unit_of_the_loss_do_not_matter():
    assert find(drawn(noise=0.05)) == find(1024 * drawn(noise=0.05))
    assert find(drawn()).edge == find(drawn() - 100).edge


def test_noise_and_a_bad_seed_move_the_answer_little():
    clean = find(drawn(edge=1.0)).suggestion
    noisy = np.array([drawn(noise=0.15, seed=seed) for seed in range(5)])
    noisy[0] = np.where(RATES > 1e-3, np.nan, noisy[0])  # one training died early
    assert find(noisy).suggestion == pytest.approx(clean, rel=0.5)


@pytest.mark.parametrize("seed", range(10))
def test_pure_noise_is_no_learning(seed):
    random = np.random.default_rng(seed)
    with pytest.raises(RunError, match="nothing learns: the median over seeds falls from"):
        find(2.3 + 0.2 * random.normal(size=(1 + seed % 5, 200)))


@pytest.mark.parametrize("values", [np.full(200, 2.3), 2.3 + np.linspace(0, 3, 200)])
def test_flat_and_rising_curves_are_no_learning(values):
    with pytest.raises(RunError, match="nothing learns"):
        find(values)


@pytest.mark.parametrize("alive", [0, 1, 5])
def test_everything_diverges(alive):
    values = np.full((3, 200), np.nan)
    values[:, :alive] = 2.3
    with pytest.raises(RunError, match=r"everything diverges: .* rate of"):
        find(values)


def test_the_valley_of_a_v():
    rates = np.arange(1.0, 101.0)
    v = np.abs(np.arange(100) - 60.0)  # falls over 0 .. 60
    assert curves.valley(rates, v) == rates[40]


def longest_fall(values):
    """Length of the longest falling subsequence, by patience sorting (an algorithm unlike ours)."""
    piles = []
    for value in values:
        place = np.searchsorted([-top for top in piles], -value)
        piles[place : place + 1] = [value]
    return len(piles)


@pytest.mark.parametrize("seed", range(5))
def test_the_valley_is_the_longest_fall(seed):
    values = np.random.default_rng(seed).normal(size=60)
    place = int(curves.valley(np.arange(60.0), values))
    # Whatever lies two thirds in must belong to a fall of that length: cut before and after it.
    longest = longest_fall(values)
    assert 0 <= place < 60
    assert (
        longest_fall(values[: place + 1]) <= longest <= longest_fall(values[: place + 1]) + longest_fall(values[place:])
    )


def test_no_valley():
    assert math.isnan(curves.valley(RATES[:5], np.array([1.0, 2.0, 3.0, 4.0, 5.0])))
    assert math.isnan(curves.valley(RATES[:3], np.full(3, np.nan)))


def watch(losses):
    seen = LossWatch()
    for place, loss in enumerate(losses):
        seen.see(loss)
        if seen.exploded:
            return place
    return None


def test_an_exploding_loss_is_seen_soon():
    calm = [2.3] * 20 + [0.4] * 40
    assert watch(calm) is None
    assert 60 <= watch(calm + [5.0] * 20) <= 65
    assert watch([2.3] * 10 + [math.nan]) == 10
    assert watch([2.3] * 10 + [math.inf]) == 10


def test_noise_near_zero_is_no_explosion():
    # A loss that has fallen to 1e-6 and bounces to 1e-4 has kept what it learned.
    assert watch([1.0] * 10 + [1e-6] * 200 + [1e-4] * 50) is None


def test_the_bootstrap_of_a_mean_is_scipys():
    from scipy import stats

    values = np.random.default_rng(3).normal(5, 1, 30)
    found = bootstrap(30, ("mean",), lambda drawn: (float(values[drawn].mean()),))["mean"]
    other = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    assert found.value == values.mean()
    assert found.low == pytest.approx(other.low, abs=0.1)
    assert found.high == pytest.approx(other.high, abs=0.1)


def test_one_seed_knows_no_uncertainty():
    found = bootstrap(1, ("a", "b"), lambda drawn: (1.0, math.nan))
    assert math.isnan(found["a"].low)
    assert math.isnan(found["b"].value)


def test_draws_without_an_answer_are_left_out():
    def evaluate(drawn):
        return (math.nan if (drawn == 0).all() else 2.0,)

    found = bootstrap(2, ("x",), evaluate)["x"]
    assert (found.low, found.high) == (2.0, 2.0)
