"""Successive halving over shrunken schedules (Jamieson and Talwalkar 2016): who goes on, and who reaches the finals.

A rung never trains the prefix of a long schedule: at a third of the way a cycle is at its height and a decay has hardly
begun, so prefixes rank by the wrong end. A candidate is a place in the search space instead, and a rung trains the
policy that stands there for a training of the rung's length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lrpolicy.ranking import RankedPolicy
from lrpolicy.search import SearchSpace
from lrpolicy.stateful import AnyPolicy


class Candidate(NamedTuple):
    """A function and a place in its list of candidates."""

    function: str
    place: int

    def policy(self, space: SearchSpace) -> AnyPolicy:
        """The candidate, fitted to the length of the space."""
        return space.candidate(*self)


@dataclass(frozen=True)
class Climbed:
    """A rung that was trained: its iterations, and the candidates that did not diverge, the best first.

    `cost` is what its trainings took: fewer iterations than planned where some diverged.
    """

    iterations: int
    order: tuple[Candidate, ...]
    rows: Mapping[Candidate, RankedPolicy]
    cost: int


@dataclass(frozen=True)
class NotPromoted:
    """A function that no finalist came from: its best candidate's row in the longest rung that it reached.

    `row` is None where none of its candidates completed a trial.
    """

    function: str
    iterations: int
    row: RankedPolicy | None


def first_candidates(space: SearchSpace, functions: Sequence[str], count: int) -> list[Candidate]:
    """The candidates that enter the first rung: the first `count` of each function."""
    return [Candidate(name, place) for name in functions for place in space.places(name, count)]


def climbed(
    iterations: int, policies: Mapping[Candidate, AnyPolicy], ranking: Sequence[RankedPolicy], cost: int
) -> Climbed:
    """The rung's outcome, given the policy that each candidate was in it, and their ranking.

    Candidates that were the same policy in this rung share its trial, and go on in the order of the candidates.
    """
    sound = {row.policy: row for row in ranking if row.is_sound}
    rows = {candidate: sound[policy] for candidate, policy in policies.items() if policy in sound}
    return Climbed(iterations, tuple(sorted(rows, key=lambda candidate: rows[candidate].rank)), rows, cost)


def finalists(rungs: Sequence[Climbed], count: int) -> list[Candidate]:
    """The best candidate of each of `count` functions: those that climbed higher first, then the better in a rung."""
    best = _best_of_functions(rungs)
    return [candidate for candidate, _ in list(best.values())[:count]]


def not_promoted(rungs: Sequence[Climbed], functions: Sequence[str], chosen: Sequence[Candidate]) -> list[NotPromoted]:
    """The functions without a finalist, those that climbed higher first, the ones that always diverged last."""
    best = _best_of_functions(rungs)
    in_finals = {candidate.function for candidate in chosen}
    left = [
        NotPromoted(name, rung.iterations, rung.rows[candidate])
        for name, (candidate, rung) in best.items()
        if name not in in_finals
    ]
    shortest = rungs[0].iterations if rungs else 0
    return left + [NotPromoted(name, shortest, None) for name in functions if name not in best]


def _best_of_functions(rungs: Sequence[Climbed]) -> dict[str, tuple[Candidate, Climbed]]:
    best: dict[str, tuple[Candidate, Climbed]] = {}
    for rung in reversed(rungs):
        for candidate in rung.order:
            best.setdefault(candidate.function, (candidate, rung))
    return best
