"""What a tuning run tries, and how a budget is divided over its stages: plain arithmetic, nothing trains here."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lrpolicy.errors import InputError, NotAvailableError, did_you_mean
from lrpolicy.evaluator.budget import Budget, Speed
from lrpolicy.goals import Goal, find_goal
from lrpolicy.range_test import coarse_rates
from lrpolicy.range_test.fix_scan import trial_length
from lrpolicy.search import RateRange, candidate_count

SEARCHES = ("halving", "optuna", "grid")

# Each rung of the halving trains this many times longer than the one before, and one in so many of it goes on.
ETA = 3
# The longest rung takes a third of a training, the shorter one a ninth. A rung of a 27th would order candidates by what
# does not matter later: on LeNet its order and that of the third agree as little as +0.3 (Spearman), those of the ninth
# and the third, and of the third and the whole, +0.7 and +0.9.
_LONGEST_RUNG, _MOST_RUNGS = ETA, 2
# The shortest rung is an epoch; where an epoch is longer than this many updates, these are enough to compare.
ENOUGH_UPDATES = 50
# The range test's share of a budget, and the share of the rest that the search may take before the final trainings are
# counted; what these leave over goes to it as well.
_RANGE_SHARE, _SEARCH_SHARE = 0.15, 0.6
# A table of one or two compares little: so many finalists are worth more than several seeds.
_LEAST_FINALISTS = 3
# The finer rates are at most three.
RANGE_TRIALS = len(coarse_rates()) + 3


@dataclass(frozen=True)
class Plan:
    """What a tuning run tries. Iterations count updates; `scan_iter` is the length of a range trial.

    `search` is "grid" (every candidate trains in full), "halving" (candidates shrunk to short rungs, the best third of
    which goes on) or "optuna" (what Optuna asks for climbs the same rungs, for the same cost). `budget` limits all
    stages together; without one nothing is left out. `range` skips the range stage.

    Raises:
        InputError: a count below 1, an unknown search, or a goal that Optuna cannot be told.
        NotAvailableError: the search is "optuna", and Optuna is not installed.
    """

    functions: tuple[str, ...]
    max_iter: int
    scan_iter: int | None = None
    candidates: int = 3
    seeds: int = 3
    first_seed: int = 1
    range: RateRange | None = None
    search: str = "halving"
    budget: Budget | None = None
    goal: Goal = field(default_factory=lambda: find_goal("accuracy"))

    def __post_init__(self) -> None:
        for name in ("max_iter", "scan_iter", "candidates", "seeds"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more", got=getattr(self, name))
        if self.search not in SEARCHES:
            raise InputError(f'search "{self.search}" is unknown', remedy=did_you_mean(self.search, SEARCHES))
        if not self.functions:
            raise InputError("a tuning run needs at least one policy")
        if self.search == "optuna":
            _check_optuna(self.goal)


def _check_optuna(goal: Goal) -> None:
    if importlib.util.find_spec("optuna") is None:
        raise NotAvailableError(
            'search "optuna" needs Optuna; pip install "lrpolicy[optuna]", or take search "halving"'
        )
    if goal.measure is None:
        rule = f'goal "{goal.name}" compares policies with one another, and Optuna takes one number for each'
        raise InputError(rule, remedy='take search "halving", or another goal')


@dataclass(frozen=True)
class Rung:
    """So many candidates train for so many iterations."""

    candidates: int
    iterations: int

    @property
    def cost(self) -> int:
        """All its iterations."""
        return self.candidates * self.iterations


@dataclass(frozen=True)
class Layout:
    """A plan in numbers: the rungs of the search, and finals of `finalists` x `seeds`.

    `left` is what all of it may cost, None where there is no limit.
    """

    rungs: tuple[Rung, ...]
    finalists: int
    seeds: int
    max_iter: int
    left: int | None = None

    @property
    def iterations(self) -> int:
        """What search and finals cost at most."""
        return _cost(self.rungs) + self.finalists * self.seeds * self.max_iter

    def __str__(self) -> str:
        rungs = (f"{_many(rung.candidates, 'candidate')} x {rung.iterations} iterations" for rung in self.rungs)
        policies, seeds = _many(self.finalists, "policy", "policies"), _many(self.seeds, "fresh seed")
        return f"search {', then '.join(rungs)}; final {policies} x {seeds} x {self.max_iter} iterations"


def rung_lengths(plan: Plan, epoch: int) -> tuple[int, ...]:
    """The iterations of each rung of the plan's search, the shortest first; the grid is a single one, in full."""
    if plan.search == "grid":
        return (plan.max_iter,)
    lengths = (math.ceil(plan.max_iter / _LONGEST_RUNG / ETA**step) for step in reversed(range(_MOST_RUNGS)))
    # A training too short for any rung is its own: then halving is the grid.
    return tuple(length for length in lengths if length >= min(epoch, ENOUGH_UPDATES)) or (plan.max_iter,)


def scan_iterations(plan: Plan, epoch: int) -> int:
    """The iterations of a range trial: what the plan says, else a quarter of a training, less where money is short."""
    if plan.scan_iter is not None:
        return plan.scan_iter
    longest = trial_length(plan.max_iter)
    if plan.budget is None:
        return longest
    if plan.budget.needs_speed:  # not known yet: as short as is useful
        return min(longest, max(ENOUGH_UPDATES, rung_lengths(plan, epoch)[0]))
    share = _RANGE_SHARE * plan.budget.amount * (epoch if plan.budget.unit == "epochs" else 1)
    return max(1, min(longest, int(share / RANGE_TRIALS)))


def lay_out(plan: Plan, epoch: int, left: int | None = None) -> Layout:
    """The plan in numbers, so that search and finals cost at most `left` iterations (None: what they need).

    Where not everything fits, the candidates that enter are cut first, so that the search takes little more than half
    of what is left, each function keeping one, and a quarter of them goes on where a third is too many; then those that
    go on; then the finalists, down to three; then their seeds; then the finalists again. What is too little for another
    final training goes to the search.

    Raises:
        InputError: not even one candidate of each function and one finalist with one seed fit.
    """
    lengths, count = rung_lengths(plan, epoch), len(plan.functions)
    every = sum(min(plan.candidates, candidate_count(name)) for name in plan.functions)
    whole = Layout(_rungs(lengths, every, promoted(every)), count, plan.seeds, plan.max_iter, left)
    if left is None or whole.iterations <= left:
        return whole
    # One more that enters, a leader's next candidate, is worth more than one more that goes on.
    entering = [
        (entrants, goes_on)
        for entrants in range(every, count - 1, -1)
        for goes_on in (promoted(entrants), promoted(entrants, ETA + 1))
    ]
    thinned = [(count, goes_on) for goes_on in range(promoted(count) - 1, 0, -1)]
    searches = [_rungs(lengths, *cut) for cut in entering + thinned]

    def widest(limit: float) -> tuple[Rung, ...]:
        return next((rungs for rungs in searches if _cost(rungs) <= limit), searches[-1])

    trainings = (left - _cost(widest(min(_SEARCH_SHARE * left, left - plan.max_iter)))) // plan.max_iter
    if trainings < 1:
        raise InputError(
            f"the budget is too small: after the range test {max(0, left)} iterations are left, and {count} policies "
            f"need {_cost(searches[-1]) + plan.max_iter} for one candidate each and one final training",
            remedy="raise the budget, or lower max_iter or the number of policies",
        )
    rungs = widest(left - trainings * plan.max_iter)
    return Layout(rungs, *_finals(plan, trainings), plan.max_iter, left)


def after_search(plan: Plan, layout: Layout, cost: int) -> Layout:
    """The layout once the search has cost so much: what diverged early leaves more for the finals."""
    if layout.left is None:
        return layout
    finalists, seeds = _finals(plan, (layout.left - cost) // plan.max_iter)
    return replace(layout, finalists=finalists, seeds=seeds)


def paid_for(layout: Layout, cost: int) -> int:
    """How many finalists there may be where the search has cost so much, less what finalists saved by diverging."""
    return layout.finalists if layout.left is None else (layout.left - cost) // (layout.seeds * layout.max_iter)


def _finals(plan: Plan, trainings: int) -> tuple[int, int]:
    """How many finalists train with how many seeds in so many trainings."""
    count = len(plan.functions)
    enough = min(_LEAST_FINALISTS, count)
    seeds = next((seeds for seeds in range(plan.seeds, 0, -1) if trainings // seeds >= enough), 1)
    return min(count, trainings // seeds), seeds


def expected(plan: Plan, epoch: int) -> tuple[Rung | None, Layout | None]:
    """What the range stage (None: it is skipped) and the rest cost at most, known before anything trains.

    The rest is None for a budget of time, which is laid out once the speed is measured. Raises InputError where the
    budget is too small.
    """
    scan = None if plan.range else Rung(RANGE_TRIALS, scan_iterations(plan, epoch))
    if plan.budget is None:
        return scan, lay_out(plan, epoch)
    if plan.budget.needs_speed:
        return scan, None
    return scan, lay_out(plan, epoch, plan.budget.iterations(Speed(epoch)) - (scan.cost if scan else 0))


def _rungs(lengths: Sequence[int], entrants: int, goes_on: int) -> tuple[Rung, ...]:
    """A rung of each length: all enter the first one, so many go on."""
    return tuple(Rung(count, length) for count, length in zip((entrants, goes_on), lengths, strict=False))


def promoted(candidates: int, one_in: int = ETA) -> int:
    """How many of a rung's candidates go on."""
    return max(1, candidates // one_in)


def _cost(rungs: Sequence[Rung]) -> int:
    return sum(rung.cost for rung in rungs)


def _many(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
