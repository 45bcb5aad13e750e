from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lrpolicy.errors import InputError
from lrpolicy.evaluator import Budget, Plan
from lrpolicy.evaluator.plan import (
    RANGE_TRIALS,
    Rung,
    after_search,
    lay_out,
    paid_for,
    rung_lengths,
    scan_iterations,
)
from lrpolicy.search import paper_functions

ALL = tuple(paper_functions())


def test_halving_trains_a_ninth_then_a_third():
    layout = lay_out(Plan(ALL, max_iter=2700), epoch=50)
    assert layout.rungs == (Rung(39, 300), Rung(13, 900))
    assert (layout.finalists, layout.seeds) == (13, 3)
    assert layout.iterations == 39 * 300 + 13 * 900 + 13 * 3 * 2700


def test_the_grid_is_a_single_rung_in_full():
    layout = lay_out(Plan(ALL, max_iter=2700, search="grid"), epoch=50)
    assert layout.rungs == (Rung(39, 2700),)
    assert layout.iterations == (39 + 39) * 2700


@pytest.mark.parametrize(
    ("max_iter", "epoch", "lengths"),
    [
        (600, 21, (67, 200)),
        (200, 21, (23, 67)),  # an epoch is enough
        (10_000, 2000, (1112, 3334)),  # less than an epoch, but enough updates
        (400, 550, (134,)),
        (90, 550, (90,)),  # nothing is short enough to pay: the grid
    ],
)
def test_a_rung_is_an_epoch_or_enough_updates(max_iter, epoch, lengths):
    assert rung_lengths(Plan(("tri",), max_iter), epoch) == lengths


def test_functions_with_few_candidates_enter_with_those():
    layout = lay_out(Plan(("fixed", "tri"), max_iter=2700, candidates=10), epoch=50)
    assert layout.rungs[0].candidates == 4 + 10


@given(
    functions=st.lists(st.sampled_from(ALL), min_size=1, max_size=13, unique=True),
    max_iter=st.integers(1, 20_000),
    epoch=st.integers(1, 2000),
    candidates=st.integers(1, 12),
    seeds=st.integers(1, 5),
    left=st.integers(1, 3_000_000),
    search=st.sampled_from(["halving", "grid"]),
)
@example(functions=["fixed", "step"], max_iter=46, epoch=1, candidates=4, seeds=1, left=88, search="halving")
def test_a_layout_never_costs_more_than_is_left(functions, max_iter, epoch, candidates, seeds, left, search):
    plan = Plan(tuple(functions), max_iter, candidates=candidates, seeds=seeds, search=search)
    try:
        layout = lay_out(plan, epoch, left)
    except InputError:
        lengths = rung_lengths(plan, epoch)
        assert len(functions) * lengths[0] + sum(lengths[1:]) + max_iter > left
        return
    assert layout.iterations <= left
    assert layout.rungs[0].candidates >= len(functions)
    assert 1 <= layout.finalists <= len(functions)
    assert 1 <= layout.seeds <= seeds


@given(budget=st.integers(200, 1_000_000), max_iter=st.integers(4, 20_000), epoch=st.integers(1, 2000))
def test_the_range_test_takes_a_sixth_of_a_budget_at_most(budget, max_iter, epoch):
    length = scan_iterations(Plan(("tri",), max_iter, budget=Budget(budget)), epoch)
    assert 1 <= length <= max_iter / 4
    assert RANGE_TRIALS * length <= max(RANGE_TRIALS, budget / 6)


def test_a_budget_too_small_says_what_would_do():
    least = 13 * 300 + 900 + 2700
    with pytest.raises(InputError, match=rf"too small: .* 2000 iterations are left.* need {least}") as error:
        lay_out(Plan(ALL, max_iter=2700), epoch=50, left=2000)
    assert "raise the budget" in str(error.value)
    assert lay_out(Plan(ALL, max_iter=2700), epoch=50, left=least).iterations == least
    with pytest.raises(InputError, match="0 iterations are left"):
        lay_out(Plan(ALL, max_iter=2700), epoch=50, left=-5)


@pytest.mark.parametrize(
    ("left", "entering", "goes_on", "finalists"),
    [(7_500, 13, 1, 1), (8_400, 13, 2, 1), (12_000, 19, 4, 1), (20_000, 23, 5, 3), (30_000, 37, 9, 4)],
)
def test_a_tight_budget_cuts_the_search_and_what_is_no_whole_training_is_searched_with(
    left, entering, goes_on, finalists
):
    layout = lay_out(Plan(ALL, max_iter=2700, candidates=6, seeds=1), epoch=50, left=left)
    assert layout.rungs == (Rung(entering, 300), Rung(goes_on, 900))
    assert layout.finalists == finalists


def test_what_diverged_early_leaves_more_for_the_finals():
    plan = Plan(ALL, max_iter=2700, seeds=2)
    layout = lay_out(plan, epoch=50, left=20_000)
    assert (layout.finalists, layout.seeds) == (3, 1)
    assert after_search(plan, layout, 20_000 - 6 * 2700) == replace(layout, seeds=2)
    whole = lay_out(plan, epoch=50)
    assert after_search(plan, whole, 10) is whole
    assert paid_for(layout, 20_000 - 4 * 2700 - 10) == 4
    assert paid_for(replace(layout, seeds=2), 20_000 - 7 * 2700) == 3
    assert paid_for(whole, 10) == whole.finalists


@pytest.mark.parametrize(
    ("trainings", "finalists", "seeds"),
    [(1, 1, 1), (2, 2, 1), (3, 3, 1), (6, 3, 2), (9, 3, 3), (12, 4, 3), (38, 12, 3)],
)
def test_few_finalists_give_up_seeds_first(trainings, finalists, seeds):
    plan = Plan(ALL, max_iter=2700, candidates=1)
    layout = lay_out(plan, epoch=50, left=50_000)
    layout = after_search(plan, layout, 50_000 - trainings * 2700)
    assert (layout.finalists, layout.seeds) == (finalists, seeds)


def test_a_layout_is_said_in_words():
    text = str(lay_out(Plan(("tri", "sin", "cos"), max_iter=270, candidates=1, seeds=1), epoch=30))
    assert text == (
        "search 3 candidates x 30 iterations, then 1 candidate x 90 iterations; "
        "final 3 policies x 1 fresh seed x 270 iterations"
    )


@pytest.mark.parametrize("field", ["max_iter", "scan_iter", "candidates", "seeds"])
def test_counts_are_positive(field):
    with pytest.raises(InputError, match=f"{field} must be 1 or more, got 0"):
        Plan(**{"functions": ("fixed",), "max_iter": 1, "scan_iter": 1, field: 0})


def test_an_unknown_search_and_no_policy():
    with pytest.raises(InputError, match='search "gird" is unknown; known: grid, halving, optuna; did you mean "grid"'):
        Plan(("tri",), 10, search="gird")
    with pytest.raises(InputError, match="at least one policy"):
        Plan((), 10)
