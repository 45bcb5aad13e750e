import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrpolicy.errors import InputError
from lrpolicy.policies import POLICIES
from lrpolicy.search import RateRange, SearchSpace, adaptive_functions, paper_functions

SPACE = SearchSpace(RateRange(0.0005, 0.001, 0.006), max_iter=70_000, epoch=500)


def test_the_thirteen_functions_in_the_order_of_table_i():
    names = paper_functions()
    assert len(names) == 13
    assert [POLICIES[name].paper_name for name in names] == [
        "FIX", "STEP", "NSTEP", "EXP", "INV", "POLY", "TRI", "TRI2", "TRIEXP", "SIN", "SIN2", "SINEXP", "COS",
    ]  # fmt: skip


def test_step_sizes_are_multiples_of_the_epoch_where_they_fit():
    for name in ("step", "tri", "sin2"):
        assert all(policy.parameters["stepsize"] % 500 == 0 for policy in SPACE.candidates(name))


@given(
    low=st.floats(1e-6, 1e-3),
    spread=st.floats(1, 100),
    max_iter=st.integers(1, 100_000),
    epoch=st.integers(1, 2000),
    name=st.sampled_from(paper_functions()),
)
def test_every_candidate_is_a_useful_policy(low, spread, max_iter, epoch, name):
    found = RateRange(low, low * spread, low * spread * 2)
    candidates = SearchSpace(found, max_iter, epoch).candidates(name)
    assert candidates
    assert len(set(candidates)) == len(candidates)
    for policy in candidates:
        rates = policy.rates(range(max_iter))
        assert policy.name == name
        assert np.isfinite(rates).all()
        assert rates.min() >= 0
        assert rates.max() <= 10 * found.high * 1.001


@given(
    low=st.floats(1e-6, 1e-3),
    spread=st.floats(1, 100),
    max_iter=st.integers(1, 100_000),
    epoch=st.integers(1, 2000),
    name=st.sampled_from(adaptive_functions()),
)
def test_every_adaptive_candidate_starts_inside_the_range(low, spread, max_iter, epoch, name):
    found = RateRange(low, low * spread, low * spread * 2)
    candidates = SearchSpace(found, max_iter, epoch).candidates(name)
    assert len(set(candidates)) == len(candidates) > 1
    for policy in candidates:
        assert policy.name == name
        least, most = (0.9 * low, 1.1 * found.high) if name != "aslr" else (low / 2, 2 * found.high)
        assert least <= policy.parameters["base_lr"] <= most
        schedule = policy.schedule(epoch)
        if name == "tlr":  # at least 50 windows, or one update each
            assert schedule.window_updates == 1 or max_iter / schedule.window_updates >= 50
            assert schedule.window_updates <= max(1, epoch / 3)
        if name == "plateau":
            assert schedule.plateau_winsize[0] <= max(1, max_iter / 8, epoch)


def test_a_cycle_ends_low_when_the_training_ends():
    for name in ("tri", "sin", "cos"):
        for policy in SPACE.candidates(name):
            ends = sorted((policy.parameters["base_lr"], policy.parameters["max_lr"]))
            assert policy.rate(70_000) < ends[0] + 0.15 * (ends[1] - ends[0])


def test_gamma_leaves_a_useful_rate_at_the_end():
    policy = SPACE.candidates("exp", 1)[0]
    assert policy.rate(70_000) / policy.rate(0) == pytest.approx(0.1, rel=1e-3)


def ranges(name):
    return [(p.parameters["base_lr"], p.parameters["max_lr"]) for p in SPACE.candidates(name, 3)]


def test_the_first_cycles_swing_over_the_range_itself_then_three_times_as_high():
    for name in ("tri", "sin2"):
        assert ranges(name) == [(0.0005, 0.006), (0.0005, 0.018), (0.00005, 0.006)]


def test_a_cycle_that_begins_at_its_height_goes_beyond_the_range_last():
    heights = [policy.parameters["max_lr"] for policy in SPACE.candidates("cos")]
    assert heights == sorted(heights)
    assert heights[:4] == [0.006] * 4


def test_cycles_that_fall_all_the_time_begin_three_times_as_high():
    for name in ("triexp", "sinexp"):
        assert ranges(name) == [(0.0005, 0.018), (0.0005, 0.006), (0.00005, 0.006)]
        shares = [policy.parameters["gamma"] ** 70_000 for policy in SPACE.candidates(name, 3)]
        assert shares == pytest.approx([0.1, 0.3, 0.3], rel=1e-3)


def test_where_one_rate_alone_is_good_no_two_functions_train_alike():
    space = SearchSpace(RateRange(0.1, 0.1, 0.1), max_iter=200, epoch=21)
    assert space.range.cycle == pytest.approx((0.1 / 3, 0.1))
    policies = [policy for name in paper_functions() for policy in space.candidates(name, 3)]
    rates = {tuple(policy.rates(range(200))) for policy in policies}
    assert len(rates) == len(policies)


def test_count_takes_the_first_ones():
    assert SPACE.candidates("tri", 2) == SPACE.candidates("tri")[:2]


def test_unknown_function():
    with pytest.raises(InputError, match='no candidates are known for policy "sigmoid"; known: aslr, cos'):
        SPACE.candidates("sigmoid")


@pytest.mark.parametrize("ends", [(0.0, 0.1, 1.0), (0.2, 0.1, 1.0), (0.1, 0.1, float("inf"))])
def test_a_range_must_be_ordered_positive_and_finite(ends):
    with pytest.raises(InputError, match="0 < low <= best <= high"):
        RateRange(*ends)
