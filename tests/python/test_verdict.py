"""Verdicts: probabilities against every possible draw, and sentences that say what is so."""

from __future__ import annotations

import itertools
import math
from statistics import fmean

import numpy as np
import pytest
from test_ranking import trial

from lrpolicy.goals import find_goal
from lrpolicy.policies import Policy
from lrpolicy.ranking import rank
from lrpolicy.records import TrialStatus
from lrpolicy.verdict import Verdict, judge

ACCURACY = find_goal("accuracy")
POLICIES = [Policy("fixed", base_lr=rate) for rate in (0.1, 0.01, 0.001, 0.0001)]


def verdict(*tops: list[float], goal: str = "accuracy", **options: object) -> Verdict:
    """The verdict on policies whose seeds reached these Top-1."""
    trials = [
        trial(policy, seed, top1, **options)
        for policy, seeds in zip(POLICIES, tops, strict=False)
        for seed, top1 in enumerate(seeds)
    ]
    return judge(rank(trials, find_goal(goal)), find_goal(goal), np.random.default_rng(0))


def test_probabilities_are_those_of_every_possible_draw() -> None:
    tops = [[0.95, 0.97, 0.98], [0.94, 0.97, 0.99], [0.93, 0.95, 0.95]]
    draws = [[round(float(np.mean(draw)), 9) for draw in itertools.product(seeds, repeat=3)] for seeds in tops]
    wins = [0.0, 0.0, 0.0]
    for means in itertools.product(*draws):
        best = max(means)
        for index, mean in enumerate(means):
            wins[index] += (mean == best) / means.count(best)
    expected = dict(zip(POLICIES, (share / 27**3 for share in wins), strict=False))
    found = {standing.row.policy: standing.probability for standing in verdict(*tops).standings}
    assert found == pytest.approx(expected, abs=0.015)
    assert sum(found.values()) == pytest.approx(1)


def test_equal_policies_share_the_first_place_evenly() -> None:
    found = verdict([0.9, 0.91, 0.92], [0.92, 0.9, 0.91])
    assert [standing.probability for standing in found.standings] == pytest.approx([0.5, 0.5], abs=0.02)


def test_one_seed_allows_no_claim() -> None:
    found = verdict([0.95], [0.94, 0.96])
    assert all(math.isnan(standing.probability) for standing in found.standings)
    assert math.isnan(next(s for s in found.standings if len(s.row.seeds) == 1).interval[0])
    assert found.caution.startswith("One seed says nothing")


def test_the_front_has_room_for_many() -> None:
    found = verdict([0.95, 0.95], [0.95, 0.95], goal="pareto")
    assert [standing.probability for standing in found.standings] == [1, 1]


def test_what_diverged_is_never_the_best() -> None:
    trials = [trial(POLICIES[0], seed, 0.99) for seed in range(3)]
    trials += [trial(POLICIES[0], 3, 0, status=TrialStatus.DIVERGED)]
    trials += [trial(POLICIES[1], seed, 0.5) for seed in range(3)]
    found = judge(rank(trials), ACCURACY, np.random.default_rng(0))
    assert [(s.row.policy, s.probability) for s in found.standings] == [(POLICIES[1], 1), (POLICIES[0], 0)]


def test_a_ranking_of_what_diverged_says_so() -> None:
    trials = [trial(policy, seed, 0.9) for policy in POLICIES[:2] for seed in range(2)]
    diverged = [trial(policy, 2, 0, status=TrialStatus.DIVERGED) for policy in POLICIES[:2]]
    every = judge(rank(trials + diverged), ACCURACY, np.random.default_rng(0))
    assert every.caution.startswith("Every policy diverged")
    one = judge(rank([*trials, diverged[0]]), ACCURACY, np.random.default_rng(0))
    assert one.caution.startswith("With 2 seeds")


def test_policies_closer_than_their_seeds_are_named_with_the_numbers() -> None:
    found = verdict([0.96, 0.98, 0.97], [0.97, 0.975, 0.955], [0.5, 0.51, 0.52])
    noise = math.hypot(np.std([0.96, 0.98, 0.97], ddof=1), np.std([0.97, 0.975, 0.955], ddof=1)) / math.sqrt(2)
    (tie,) = found.ties
    assert tie.words == (
        "1 and 2 differ by less than their seeds do: 0.33 points between 1 and 2, "
        f"{100 * noise:.2f} points (standard deviation) between seeds."
    )


def test_equal_policies_do_not_hide_that_the_next_is_close_too() -> None:
    found = verdict([0.97, 0.97, 0.97], [0.97, 0.97, 0.97], [0.97, 0.95, 0.98])
    assert found.words()[0].startswith("1 to 3 differ by less than their seeds do: 0.33 points between 1 and 3")


def test_hits_spread_otherwise_over_the_seeds_have_the_same_score() -> None:
    spread, even = (173 + 8, 173 + 8, 173 - 16), (173, 173, 173)  # of 1000, whose means differ in the last bit
    assert fmean(hits / 1000 for hits in spread) > fmean(hits / 1000 for hits in even)
    trials = [trial(POLICIES[0], seed, hits / 1000, iteration=200) for seed, hits in enumerate(spread)]
    trials += [trial(POLICIES[1], seed, hits / 1000, iteration=100) for seed, hits in enumerate(even)]
    for goal in map(find_goal, ("accuracy", "pareto")):
        assert [row.policy for row in rank(trials, goal)] == [POLICIES[1], POLICIES[0]]
    found = judge(rank(trials), ACCURACY, np.random.default_rng(0))
    assert "1 and 2 have the same score (Top-1 17.30 %); fewer iterations to its best decided their order." in (
        found.words()
    )


def test_equal_scores_say_what_decided() -> None:
    trials = [trial(POLICIES[0], s, 0.9, iteration=200) for s in range(2)]
    trials += [trial(POLICIES[1], s, 0.9, iteration=100) for s in range(2)]
    found = judge(rank(trials), ACCURACY, np.random.default_rng(0))
    assert [tie.words for tie in found.ties] == [
        "1 and 2 have the same score (Top-1 90.00 %); fewer iterations to its best decided their order."
    ]
    assert found.standings[0].row.policy == POLICIES[1]
    same = verdict([0.9, 0.9], [0.9, 0.9], [0.9, 0.9])
    assert same.words()[0] == "1 to 3 have the same score (Top-1 90.00 %); the name decided their order."


def test_what_is_not_defined_decides_nothing() -> None:
    found = verdict([0.9, 0.9], [0.9, 0.9], train_loss=math.nan)  # no loss difference, as at iteration 0
    assert found.words()[0] == "1 and 2 have the same score (Top-1 90.00 %); the name decided their order."


def test_words_of_the_top_leave_out_what_is_below() -> None:
    found = verdict([0.99, 0.98], [0.9, 0.9], [0.9, 0.9])
    assert any(tie.first == 2 for tie in found.ties)
    assert found.words(1) == [found.caution]
    assert len(found.words(2)) == 2


@pytest.mark.parametrize(("seeds", "share"), [(2, "50 %"), (3, "75 %"), (4, "79 %"), (7, "83 %"), (10, "90 %")])
def test_few_seeds_are_a_caution(seeds: int, share: str) -> None:
    found = verdict([0.9 + seed / 1000 for seed in range(seeds)])
    assert found.caution == (
        f"With {seeds} seeds a 95 % interval holds the true mean in about {share} of cases, not in 95 %."
    )
    assert verdict([0.9] * 11).caution == ""


def test_the_same_generator_gives_the_same_verdict() -> None:
    assert verdict([0.9, 0.92], [0.91, 0.93]) == verdict([0.9, 0.92], [0.91, 0.93])
