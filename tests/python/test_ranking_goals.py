"""Goals: what each of them prefers, against plain loops and SciPy's ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from lrpolicy.errors import InputError
from lrpolicy.goals import COLUMNS, GOALS, NEAR_THE_BEST, find_goal
from lrpolicy.policies import Policy
from lrpolicy.ranking import Result, rank
from lrpolicy.records import Evaluation, Measurement, Split, TrialOutcome, TrialSpec, TrialStatus

ROBUSTNESS = ("loss_difference", "confidence_deviation", "confidence_deviation_across_classes")
FAST, SLOW, LATE = (Policy("fixed", base_lr=rate) for rate in (0.1, 0.01, 0.001))
values = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])


def means(rows: list[tuple[float, float, float, float]]) -> dict[str, np.ndarray]:
    top1, iterations, difference, deviation = np.array(rows, dtype=float).T
    table = dict.fromkeys(COLUMNS, iterations) | {"top1": top1, "loss_difference": difference}
    return table | {"confidence_deviation": deviation, "confidence_deviation_across_classes": 1 - deviation}


def result(policy: Policy, seed: int, curve: dict[int, float], *, deviation: float = 0.1) -> Result:
    """A trial that measured these Top-1 at these iterations, one second each."""
    seen = [
        Measurement(
            t, Split.VALIDATION, 0.1, 0.2, Evaluation(0.3, top1, 1.0, 0.9, deviation, deviation, 0, 100), t / 10
        )
        for t, top1 in curve.items()
    ]
    best = max(seen, key=lambda m: m.evaluation.top1)
    spec = TrialSpec(policy.to_dict(), seed, 100, 10, 10, "SGD", 0.9, 0.0)
    return Result(spec, TrialOutcome(TrialStatus.COMPLETED, 100, 10.0, best, best), seen)


@given(st.lists(st.tuples(values, values, values, values), min_size=1, max_size=8))
def test_the_front_is_whom_nobody_beats(rows: list[tuple[float, float, float, float]]) -> None:
    scores = GOALS["pareto"].score(means(rows))
    for (top1, cost, *_), score in zip(rows, scores, strict=True):
        beaten_by = [
            (other, price)
            for other, price, *_ in rows
            if other >= top1 and price <= cost and (other > top1 or price < cost)
        ]
        assert score == len(beaten_by)
    assert scores.min() == 0


@given(st.lists(st.tuples(values, values, values, values), min_size=1, max_size=8))
def test_robustness_is_the_mean_of_scipys_ranks_among_the_accurate(
    rows: list[tuple[float, float, float, float]],
) -> None:
    table = means(rows)
    scores = GOALS["robustness"].score(table)
    enough = table["top1"] >= table["top1"].max() - NEAR_THE_BEST
    expected = np.mean([rankdata(table[name][enough]) for name in ROBUSTNESS], axis=0)
    assert scores[enough] == pytest.approx(expected)
    assert np.isinf(scores[~enough]).all()


@given(st.lists(st.lists(st.tuples(values, values, values, values), min_size=3, max_size=3), min_size=2, max_size=5))
def test_a_stack_of_tables_scores_as_its_tables_do(tables: list[list[tuple[float, float, float, float]]]) -> None:
    apart = [means(rows) for rows in tables]
    stack = {name: np.stack([table[name] for table in apart]) for name in COLUMNS}
    for goal in GOALS.values():
        assert np.array_equal(goal.score(stack), [goal.score(table) for table in apart])


def test_the_first_to_reach_the_target_wins_however_far_the_others_get() -> None:
    trials = [result(FAST, seed, {10: 0.8, 20: 0.91, 100: 0.92}) for seed in range(2)]
    trials += [result(SLOW, seed, {10: 0.5, 90: 0.9, 100: 0.99}) for seed in range(2)]
    by_iterations = rank(trials, find_goal("iterations", 0.9))
    assert [(row.policy, row.score) for row in by_iterations] == [(FAST, 20), (SLOW, 90)]
    by_time = rank(trials, find_goal("seconds", 0.9))
    assert [row.columns["seconds_to_target"].values for row in by_time] == [(2.0, 2.0), (9.0, 9.0)]
    assert [row.policy for row in rank(trials)] == [SLOW, FAST]


def test_one_seed_that_never_gets_there_puts_a_policy_behind_those_that_always_do() -> None:
    trials = [result(SLOW, 1, {90: 0.95}), result(SLOW, 2, {90: 0.95})]
    trials += [result(FAST, 1, {10: 0.95}), result(FAST, 2, {10: 0.94, 100: 0.949})]
    trials += [result(LATE, 1, {100: 0.3}), result(LATE, 2, {100: 0.3})]
    rows = rank(trials, find_goal("iterations", 0.95))
    assert [row.policy for row in rows] == [SLOW, FAST, LATE]
    assert rows[1].score == math.inf
    assert rows[1].columns["iterations_to_target"].values == (10, math.inf)


def test_places_count_only_the_accurate_and_nothing_measured_is_no_score() -> None:
    table = means([(0.9, 1, 0.1, 0.1), (0.9, 1, 0.2, 0.3), (0.1, 1, 0.0, 0.2), (0.1, 1, 0.0, 0.0)])
    unknown = np.full(4, np.nan)
    without_ld = GOALS["robustness"].score(table | {"loss_difference": unknown})
    assert without_ld.tolist() == [(1.5 + 1 + 2) / 3, (1.5 + 2 + 1) / 3, np.inf, np.inf]
    assert np.isinf(GOALS["robustness"].score(table | dict.fromkeys(ROBUSTNESS, unknown))).all()


def test_robustness_does_not_praise_a_net_that_learned_nothing() -> None:
    trials = [result(FAST, 1, {100: 0.95}, deviation=0.2), result(SLOW, 1, {100: 0.945}, deviation=0.1)]
    trials += [result(LATE, 1, {100: 0.1}, deviation=0.0)]
    assert [row.policy for row in rank(trials, find_goal("robustness"))] == [SLOW, FAST, LATE]
    assert rank(trials, find_goal("robustness", 0.05))[0].policy == LATE


def test_a_policy_that_diverged_neither_leads_nor_beats_anyone() -> None:
    trials = [result(FAST, 1, {10: 0.99}), result(SLOW, 1, {50: 0.9})]
    spec = result(FAST, 2, {10: 0.9}).spec
    trials.append(Result(spec, TrialOutcome(TrialStatus.DIVERGED, 5, 0.5)))
    rows = rank(trials, find_goal("pareto"))
    assert [(row.policy, row.score, row.diverged) for row in rows] == [(SLOW, 0, 0), (FAST, 0, 1)]


@pytest.mark.parametrize("name", GOALS)
def test_no_trials_rank_to_nothing(name: str) -> None:
    assert rank([], find_goal(name, 0.9 if GOALS[name].takes_target == "must" else None)) == []


@pytest.mark.parametrize("goal", GOALS.values(), ids=lambda goal: goal.name)
def test_trials_that_all_diverged_are_ranked_last_and_without_a_score(goal: object) -> None:
    spec = result(FAST, 1, {10: 0.9}).spec
    target = 0.9 if goal.takes_target == "must" else None  # type: ignore[attr-defined]
    (row,) = rank([Result(spec, TrialOutcome(TrialStatus.DIVERGED, 5, 0.5))], find_goal(goal.name, target))  # type: ignore[attr-defined]
    assert (row.rank, row.diverged, row.score) == (1, 1, math.inf)


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("acuracy", None, 'goal "acuracy" is unknown; known: .*; did you mean "accuracy"?'),
        ("iterations", None, 'goal "iterations" needs a target; give the Top-1 to reach'),
        ("seconds", 97.0, "a target is a Top-1 above 0 and at most 1, got 97.0; 97 % is 0.97"),
        ("seconds", math.nan, "a target is a Top-1 above 0 and at most 1, got nan"),
        ("pareto", 0.9, 'goal "pareto" takes no target; leave it out, or choose iterations or seconds or robustness'),
    ],
)
def test_a_wrong_goal_says_what_to_do(name: str, target: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_goal(name, target)
