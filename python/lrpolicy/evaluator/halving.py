"""Successive halving over shrunken schedules (Jamieson and Talwalkar 2016): who goes on, and who reaches the finals.

A rung never trains the prefix of a long schedule: at a third of the way a cycle is at its height and a decay has hardly
begun, so prefixes rank by the wrong end. A candidate is a place in the search space instead, and a rung trains the
policy that stands there for a training of the rung's length.

Candidates are few, well chosen and in order (`search`), and the shortest rung is long enough to tell something. Where
not all can enter it, the first candidate of every function does, and the others in turn, those of the functions that
lead by then first: how high a cycle may rise, for one, is a thing that only a trial tells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from lrpolicy.evaluator.plan import ETA, Plan
from lrpolicy.policies import Policy
from lrpolicy.ranking import RankedPolicy
from lrpolicy.search import SearchSpace
from lrpolicy.stateful import AnyPolicy

_END_WEIGHT = 0.5


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


def turns(space: SearchSpace, functions: Sequence[str], count: int) -> list[list[Candidate]]:
    """The first candidate of every function, then the second of every one, ...: at most `count` of each."""
    lists = [[Candidate(name, place) for place in space.places(name, count)] for name in functions]
    return [[candidate for candidate in turn if candidate is not None] for turn in zip_longest(*lists)]


def in_turn(space: SearchSpace, functions: Sequence[str], count: int) -> list[Candidate]:
    """The candidates of all turns, in one list."""
    return [candidate for turn in turns(space, functions, count) for candidate in turn]


def leaders_first(turn: Sequence[Candidate], order: Sequence[Candidate]) -> list[Candidate]:
    """The candidates of a turn by how well their functions do in the order, those of functions not in it last."""
    functions = list(dict.fromkeys(candidate.function for candidate in order))
    places = {name: place for place, name in enumerate(functions)}
    return sorted(turn, key=lambda candidate: places.get(candidate.function, len(places)))


def climbed(
    iterations: int, policies: Mapping[Candidate, AnyPolicy], ranking: Sequence[RankedPolicy], plan: Plan, cost: int
) -> Climbed:
    """The rung's outcome, given the policy that each candidate was in it, and their ranking under the plan's goal.

    Candidates that were the same policy in this rung share its trial, and go on in the order of the candidates.
    """
    sound = {row.policy: row for row in ranking if row.is_sound}
    rows = {candidate: sound[policy] for candidate, policy in policies.items() if policy in sound}
    if plan.goal.measure == "top1":
        short = iterations < plan.max_iter // ETA
        order = sorted(rows, key=lambda candidate: _expected_loss(rows[candidate], iterations, short=short))
    else:
        order = sorted(rows, key=lambda candidate: rows[candidate].rank)
    return Climbed(iterations, tuple(order), rows, cost)


def _expected_loss(row: RankedPolicy, iterations: int, *, short: bool) -> tuple[float, int]:
    """What stands for the accuracy of a longer training: the validation loss, which chance moves less than the Top-1.

    A short rung flatters policies that end at a high rate. Their noise stays as the training grows longer, while the
    others' losses go on falling: so there a loss counts half as much again for a policy that ends where it is highest,
    and accordingly less for the others. On LeNet the order after a ninth of a training agrees with that after a third
    with +0.65 by Top-1, +0.73 by loss, +0.80 so (Spearman). Where an adaptive policy ends is not known beforehand:
    its loss counts as it is.
    """
    loss = row.loss.mean
    if short and isinstance(row.policy, Policy):
        rates = row.policy.rates(range(iterations))
        loss *= 1 + _END_WEIGHT * float(rates[-math.ceil(iterations / 20) :].mean() / rates.max())
    return loss, row.rank


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
