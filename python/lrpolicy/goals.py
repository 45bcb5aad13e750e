"""What "the best" means: each goal is a row of `GOALS`, with a score for which smaller is better.

A score sees the means over seeds of all policies at once, so that it can also compare them with one another, and works
on whole stacks of such tables, so that the bootstrap asks the same function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy.errors import InputError, did_you_mean

Floats = NDArray[np.float64]
# Column name -> means over seeds [..., policies].
Means = Mapping[str, Floats]

# What a goal can ask for, on the split that steers. `iterations` are those to the highest Top-1; the last two count up
# to the first measurement that reaches the target, infinite where none does.
COLUMNS = (
    "top1",
    "iterations",
    "loss_difference",
    "confidence_deviation",
    "confidence_deviation_across_classes",
    "iterations_to_target",
    "seconds_to_target",
)
_ROBUSTNESS = ("loss_difference", "confidence_deviation", "confidence_deviation_across_classes")
# Policies this much Top-1 below the best are not compared in robustness: a net that learned nothing has no deviation.
NEAR_THE_BEST = 0.01


@dataclass(frozen=True)
class Goal:
    """A row of `GOALS`, or one of them with its target.

    `words` say what is better, `heading` names the score in a table, and `without` says of a policy that it has none.
    `measure` is the column that the score is the mean of, None where the score compares policies with one another.
    `target` is the Top-1 to reach, if any. With `one_best` policies compete for a single place; on the Pareto front
    there is room for many.
    """

    name: str
    words: str
    heading: str
    score_of: Callable[[Means, float | None], Floats]
    measure: str | None = None
    unit: str = ""
    takes_target: Literal["no", "may", "must"] = "no"
    without: str = "have no score"
    one_best: bool = True
    target: float | None = None

    @property
    def probability_heading(self) -> str:
        """What a probability is the probability of."""
        return "P(best)" if self.one_best else "P(front)"

    def show(self, score: float) -> str:
        """A score as it stands in a table: ratios in per cent, a dash for none."""
        if math.isinf(score):
            return "-"
        return f"{-100 * score:.2f}" if self.measure == "top1" else f"{score:.4g}"

    def tell(self, score: float) -> str:
        """A score as it stands in a sentence: Top-1 98.61 %, beaten by 2 policies."""
        return f"{self.heading} {self.show(score)}{self.unit}"

    def difference(self, value: float) -> str:
        """A difference of the measure, with its unit."""
        return f"{100 * value:.2f} points" if self.measure == "top1" else f"{value:.3g}{self.unit}"

    def score(self, means: Means) -> Floats:
        """The score of each policy [..., policies]: the smaller, the better; infinite where it has none."""
        if not means["top1"].size:
            return means["top1"]
        scores = self.score_of(means, self.target)
        return np.where(np.isnan(scores) | np.isnan(means["top1"]), np.inf, scores)


def rounded(means: ArrayLike) -> Floats:
    """Means as they are compared: equal hits, spread otherwise over the seeds, may differ in the last bit."""
    with np.errstate(over="ignore"):
        return np.asarray(np.round(np.asarray(means, dtype=np.float64), 12), dtype=np.float64)


def find_goal(name: str, target: float | None = None) -> Goal:
    """The goal of this name, with the Top-1 to reach where it takes one (a ratio in (0, 1]).

    Raises InputError for an unknown name, a target outside (0, 1], one that is missing or that nobody asks for.
    """
    if name not in GOALS:
        raise InputError(f'goal "{name}" is unknown', remedy=did_you_mean(name, GOALS))
    goal = GOALS[name]
    if target is None and goal.takes_target == "must":
        raise InputError(f'goal "{name}" needs a target', remedy="give the Top-1 to reach, for example 0.97")
    if target is None:
        return goal
    if goal.takes_target == "no":
        takers = " or ".join(other.name for other in GOALS.values() if other.takes_target != "no")
        raise InputError(f'goal "{name}" takes no target', remedy=f"leave it out, or choose {takers}")
    if not 0 < target <= 1:
        raise InputError("a target is a Top-1 above 0 and at most 1", got=target, remedy="97 % is 0.97")
    return replace(goal, target=target)


def _accuracy(means: Means, _target: float | None) -> Floats:
    return -means["top1"]


def _iterations(means: Means, _target: float | None) -> Floats:
    return means["iterations_to_target"]


def _seconds(means: Means, _target: float | None) -> Floats:
    return means["seconds_to_target"]


def _robustness(means: Means, target: float | None) -> Floats:
    """The mean place in LD, CD and CDAC among the policies that are accurate enough."""
    top1 = means["top1"]
    least = np.fmax.reduce(top1, axis=-1, keepdims=True) - NEAR_THE_BEST if target is None else target
    enough = top1 >= least
    places = [_places(means[name], enough) for name in _ROBUSTNESS]
    measured = ~np.all([np.isnan(means[name]) for name in _ROBUSTNESS], axis=0)
    return np.where(enough & measured, np.mean(places, axis=0), np.inf)


def _pareto(means: Means, _target: float | None) -> Floats:
    """How many policies are at least as accurate for at most as many iterations, and better in one of the two."""
    top1, cost = means["top1"], means["iterations"]
    no_worse = (_others(top1) >= _own(top1)) & (_others(cost) <= _own(cost))
    better = (_others(top1) > _own(top1)) | (_others(cost) < _own(cost))
    return np.asarray((no_worse & better).sum(axis=-1), dtype=np.float64)


def _places(values: Floats, among: NDArray[np.bool_]) -> Floats:
    """Places from 1 along the last axis `among` some, the smallest first; equals share the mean of theirs, NaN is last.

    What stands elsewhere is no place.
    """
    known = np.where(np.isnan(values), np.inf, values)
    rivals = among[..., None, :]
    smaller = ((_others(known) < _own(known)) & rivals).sum(axis=-1)
    equal = ((_others(known) == _own(known)) & rivals).sum(axis=-1)
    return np.asarray(smaller + (equal + 1) / 2, dtype=np.float64)


def _own(values: Floats) -> Floats:
    return values[..., :, None]


def _others(values: Floats) -> Floats:
    return values[..., None, :]


_NEVER_THERE = "did not reach the target with every seed"
_ALL = (
    Goal("accuracy", "the highest mean Top-1", "Top-1", _accuracy, "top1", " %"),
    Goal(
        "iterations",
        "the fewest iterations to the target",
        "to target",
        _iterations,
        "iterations_to_target",
        " iterations",
        takes_target="must",
        without=_NEVER_THERE,
    ),
    Goal(
        "seconds",
        "the shortest training to the target",
        "to target",
        _seconds,
        "seconds_to_target",
        " s",
        takes_target="must",
        without=_NEVER_THERE,
    ),
    Goal(
        "robustness",
        "the best mean place in LD, CD and CDAC among those near the best Top-1, or at the target",
        "mean place",
        _robustness,
        takes_target="may",
        without="are not accurate enough to compare (see --target), or have no LD, CD and CDAC",
    ),
    Goal(
        "pareto",
        "nobody is as accurate for fewer iterations",
        "beaten by",
        _pareto,
        unit=" policies",
        one_best=False,
    ),
)
GOALS: Mapping[str, Goal] = MappingProxyType({goal.name: goal for goal in _ALL})
