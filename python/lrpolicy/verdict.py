"""What a ranking may claim: intervals, the probability of being the best, and the ties, in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lrpolicy.confidence import COVERAGE, RESAMPLES, interval, resampled_means, share_of_wins
from lrpolicy.goals import Goal, rounded
from lrpolicy.ranking import TIE_BREAKS, RankedPolicy, means_of, sort_key

_BATCH = 1000
_LAST = "the name"


@dataclass(frozen=True)
class Standing:
    """A row of the ranking with what its seeds allow to say.

    `interval` is the 95 % bootstrap interval of the mean of the goal's measure (of the Top-1 where the goal has none);
    `probability` is that of being the best under the goal (on the front for "pareto"). NaN with fewer than two seeds.
    """

    row: RankedPolicy
    interval: tuple[float, float]
    probability: float


class Tie(NamedTuple):
    """Ranks from `first` on that nothing tells apart but what the words say."""

    first: int
    words: str


@dataclass(frozen=True)
class Verdict:
    """A ranking judged under a goal: its standings in the order of the ranks, its ties and its limits in words."""

    goal: Goal
    standings: tuple[Standing, ...]
    ties: tuple[Tie, ...]
    caution: str

    def top(self, count: int | None) -> tuple[Standing, ...]:
        """The first `count` standings, or all."""
        return self.standings[:count]

    def words(self, count: int | None = None) -> list[str]:
        """The ties that begin among the first `count` standings, then the caution, if there is one."""
        ties = [tie.words for tie in self.ties if count is None or tie.first <= count]
        return [*ties, self.caution] if self.caution else ties


def judge(
    ranking: Sequence[RankedPolicy], goal: Goal, rng: np.random.Generator, *, resamples: int = RESAMPLES
) -> Verdict:
    """Judge what `rank` returned for the same goal. The same generator state gives the same verdict."""
    measure = goal.measure or "top1"
    intervals = [interval(row.columns[measure].values, rng, resamples=resamples) for row in ranking]
    probabilities = _probabilities(ranking, goal, rng, resamples)
    standings = tuple(map(Standing, ranking, intervals, probabilities))
    return Verdict(goal, standings, _ties(ranking, goal), _caution(ranking))


def _probabilities(
    ranking: Sequence[RankedPolicy], goal: Goal, rng: np.random.Generator, resamples: int
) -> list[float]:
    """Of each row: how often it is the best when the seeds are drawn again. Rows that diverged never are.

    All NaN where a row that could be the best has one seed, of which nobody knows what another would have given.
    """
    sound = [index for index, row in enumerate(ranking) if row.is_sound]
    if not sound or any(len(ranking[index].selection.top1.values) < 2 for index in sound):
        return [math.nan] * len(ranking)
    rows = [ranking[index] for index in sound]
    names = list(means_of(rows))
    tables = [np.array([row.columns[name].values for name in names], dtype=np.float64).T for row in rows]
    shares, drawn = np.zeros(len(rows)), 0
    while drawn < resamples:  # in batches: a score may compare every pair of policies
        count = min(_BATCH, resamples - drawn)
        means = np.stack([resampled_means(table, rng, count) for table in tables], axis=-1)
        means = rounded(means)
        scores = goal.score({name: means[:, column] for column, name in enumerate(names)})
        shares += count * share_of_wins(scores, split=goal.one_best)
        drawn += count
    result = [0.0] * len(ranking)
    for index, share in zip(sound, shares / resamples, strict=True):
        result[index] = float(share)
    return result


def _ties(ranking: Sequence[RankedPolicy], goal: Goal) -> tuple[Tie, ...]:
    ties = [*_within_the_seeds(ranking, goal), *_equal_scores(ranking, goal)]
    return tuple(sorted(ties, key=lambda tie: tie.first))


def _equal_scores(ranking: Sequence[RankedPolicy], goal: Goal) -> list[Tie]:
    """A sentence for each run of rows with one score: what put them in their order."""
    sentences = []
    for run in _runs(ranking, lambda first, row: row.score == first.score):
        used = {_decided(upper, lower) for upper, lower in pairwise(run)}
        order = f"{', then '.join(words for words in (*TIE_BREAKS, _LAST) if words in used)} decided their order"
        found = goal.without if math.isinf(run[0].score) else f"have the same score ({goal.tell(run[0].score)})"
        sentences.append(Tie(run[0].rank, f"{_ranks(run)} {found}; {order}."))
    return sentences


def _decided(upper: RankedPolicy, lower: RankedPolicy) -> str:
    """The tie-break in which two rows differ first."""
    return next((words for words, key in TIE_BREAKS.items() if sort_key(key(upper)) != sort_key(key(lower))), _LAST)


def _within_the_seeds(ranking: Sequence[RankedPolicy], goal: Goal) -> list[Tie]:
    """A sentence for each run of rows that differ from its first by less than seeds differ."""
    if goal.measure is None:
        return []
    measure = goal.measure

    def is_close(first: RankedPolicy, row: RankedPolicy) -> bool:
        return row.score == first.score or _gap(first, row, measure) < _pooled(first, row, measure)

    sentences = []
    for run in _runs(ranking, is_close):
        if not _gap(run[0], run[-1], measure) < _pooled(run[0], run[-1], measure):
            continue  # equal to the last bit: `_equal_scores` says it
        gap, noise = (goal.difference(f(run[0], run[-1], measure)) for f in (_gap, _pooled))
        between = f"{gap} between {run[0].rank} and {run[-1].rank}, {noise} (standard deviation) between seeds"
        sentences.append(Tie(run[0].rank, f"{_ranks(run)} differ by less than their seeds do: {between}."))
    return sentences


def _gap(first: RankedPolicy, row: RankedPolicy, measure: str) -> float:
    return abs(first.columns[measure].mean - row.columns[measure].mean)


def _pooled(first: RankedPolicy, row: RankedPolicy, measure: str) -> float:
    """The standard deviation over seeds of two policies together; NaN, and so close to nothing, for one seed."""
    return math.hypot(first.columns[measure].deviation, row.columns[measure].deviation) / math.sqrt(2)


def _runs(
    ranking: Sequence[RankedPolicy], belongs: Callable[[RankedPolicy, RankedPolicy], bool]
) -> list[list[RankedPolicy]]:
    """The sound rows cut into runs of those that belong to the first of their run; runs of one are left out."""
    runs: list[list[RankedPolicy]] = []
    for row in ranking:
        if row.is_sound and runs and belongs(runs[-1][0], row):
            runs[-1].append(row)
        elif row.is_sound:
            runs.append([row])
    return [run for run in runs if len(run) > 1]


def _ranks(run: Sequence[RankedPolicy]) -> str:
    return f"{run[0].rank} {'and' if len(run) == 2 else 'to'} {run[-1].rank}"


def _caution(ranking: Sequence[RankedPolicy]) -> str:
    """What few seeds do to the intervals, or that no policy is sound; empty when there is nothing to be wary of."""
    if ranking and all(row.diverged for row in ranking):
        return "Every policy diverged with at least one seed: the means are those of the other seeds, and flatter."
    seeds = min((len(row.selection.top1.values) for row in ranking if row.is_sound), default=0)
    if seeds == 1:
        return "One seed says nothing about what another would give: no interval, no probability."
    known = [count for count in COVERAGE if count <= seeds]
    if not known or seeds > max(COVERAGE):
        return ""
    share = COVERAGE[known[-1]]
    return f"With {seeds} seeds a 95 % interval holds the true mean in about {100 * share:.0f} % of cases, not in 95 %."
