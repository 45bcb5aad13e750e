"""Schedules one after another, joined by >>: warm-up >> body >> cool-down. The result is a pure function of t again."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy.compositions.ramp import Ramp
from lrpolicy.errors import InputError
from lrpolicy.iterations import as_iteration, as_iterations
from lrpolicy.policies import Policy
from lrpolicy.schedules import Schedule
from lrpolicy.stateful.values import settle, whole


class _Joins:
    """What stands on either side of >>."""

    def __rshift__(self, other: object) -> Chain:
        return joined(self, other)

    def __rrshift__(self, other: object) -> Chain:
        return joined(other, self)


@dataclass(frozen=True)
class WarmUp(_Joins):
    """`iterations` updates that lead from `start` to the first rate of what follows: `WarmUp(500) >> policy`.

    At t = 0 the rate is `start`, and at t = `iterations` the body begins at its own t = 0. `shape` is "linear" or
    "cosine". Raises InputError.
    """

    iterations: int
    start: float = 0.0
    shape: str = "linear"

    def __post_init__(self) -> None:
        rules = Ramp(self.start, self.start, self.iterations, self.shape)
        settle(self, iterations=rules.iterations, start=rules.start)


@dataclass(frozen=True)
class CoolDown(_Joins):
    """From the rate that the schedule before has at iteration `at`, to `end`, in `iterations` updates.

    `policy >> CoolDown(1000, at=9000)`: at t = `at` the rate is still the body's, at t = `at` + `iterations` it is
    `end`, and stays. `at` counts from the beginning of the whole; without one, it is the length of the schedule before.
    `shape` is "linear" or "cosine". Raises InputError.
    """

    iterations: int
    at: int | None = None
    end: float = 0.0
    shape: str = "linear"

    def __post_init__(self) -> None:
        rules = Ramp(0.0, self.end, self.iterations, self.shape)
        at = None if self.at is None else whole("at", self.at, 0)
        settle(self, iterations=rules.iterations, at=at, end=rules.end)


@dataclass(frozen=True)
class Lasting(_Joins):
    """A schedule that ends after `iterations` updates, so that another can follow. Raises InputError."""

    schedule: Schedule
    iterations: int

    def __post_init__(self) -> None:
        _schedule(self.schedule)
        settle(self, iterations=whole("iterations", self.iterations, 1))


@dataclass(frozen=True)
class Chain(_Joins):
    """A `Schedule` of schedules: each of `parts` holds from its first iteration on, and counts from there.

    `length` is the number of iterations after which another part may follow, None where the last part goes on for ever
    (the rates of a chain with a length go on for ever too). A chain among the parts is taken apart.

    Raises InputError for no parts, a part that is no schedule, iterations that do not rise from 0, and a length before
    the last part begins.
    """

    parts: tuple[tuple[int, Schedule], ...]
    length: int | None = None
    _firsts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = _checked(self.parts)
        length = None if self.length is None else whole("length", self.length, parts[-1][0] + 1)
        ends = [*(first for first, _ in parts[1:]), length]
        parts = tuple(inner for part, end in zip(parts, ends, strict=True) for inner in _taken_apart(*part, end))
        settle(self, parts=parts, length=length, _firsts=tuple(first for first, _ in parts))

    def rate(self, t: int, /) -> float:
        """The rate at iteration t. Raises InputError."""
        t = as_iteration(t)
        first, schedule = self.parts[bisect_right(self._firsts, t) - 1]
        return schedule.rate(t - first)

    def rates(self, ts: range | ArrayLike) -> NDArray[np.float64]:
        """The rates at many iterations, in the shape of `ts`. Raises InputError."""
        iterations = as_iterations(ts)
        places = np.searchsorted(self._firsts, iterations, side="right") - 1
        rates = np.empty(iterations.shape)
        for place, (first, schedule) in enumerate(self.parts):
            here = places == place
            if here.any():
                rates[here] = schedule.rates(iterations[here] - first)
        return rates

    def to_text(self) -> str:
        """The text that `parse_chain` reads as an equal chain: `ramp:...` for a warm-up and a cool-down.

        Raises InputError for a part that is neither a `Policy` nor a `Ramp`.
        """
        ends = (*self._firsts[1:], self.length)
        texts = (
            _text(schedule) + ("" if end is None else f" for {end - first}")
            for (first, schedule), end in zip(self.parts, ends, strict=True)
        )
        return " >> ".join(texts)

    def until(self, iterations: int) -> Chain:
        """This chain, ending after so many iterations. Raises InputError where a part begins only then."""
        return Chain(self.parts, whole("iterations", iterations, self.parts[-1][0] + 1))


def warm_up(iterations: int, start: float = 0.0, shape: str = "linear") -> WarmUp:
    """A warm-up, to be followed by a body: `warm_up(500) >> policy` (see `WarmUp`). Raises InputError."""
    return WarmUp(iterations, start, shape)


def cool_down(iterations: int, at: int | None = None, end: float = 0.0, shape: str = "linear") -> CoolDown:
    """A cool-down, to follow a body: `policy >> cool_down(1000, at=9000)` (see `CoolDown`). Raises InputError."""
    return CoolDown(iterations, at, end, shape)


def lasting(schedule: Schedule, iterations: int) -> Lasting:
    """A schedule for so many updates: `lasting(first, 4000) >> second`. Raises InputError."""
    return Lasting(schedule, iterations)


def joined(left: object, right: object) -> Chain:
    """What `left >> right` is. Raises InputError."""
    if isinstance(right, WarmUp):
        raise InputError("a warm-up comes first", got="one behind another schedule")
    if isinstance(left, CoolDown):
        raise InputError("a cool-down comes last", got="something behind it")
    if isinstance(left, WarmUp):
        if isinstance(right, CoolDown):
            raise InputError("between a warm-up and a cool-down stands a schedule", got="none")
        return _warmed(left, as_chain(right))
    before = as_chain(left)
    if isinstance(right, CoolDown):
        return _cooled(before, right)
    after = as_chain(right)
    if before.length is None:
        raise InputError(
            "what goes on for ever is followed by nothing but a cool-down", remedy="give it a length: lasting(it, 4000)"
        )
    return _appended(before, after)


def _warmed(warm: WarmUp, body: Chain) -> Chain:
    ramp = Ramp(warm.start, body.rate(0), warm.iterations, warm.shape)
    return _appended(Chain(((0, ramp),), warm.iterations), body)


def _cooled(body: Chain, cool: CoolDown) -> Chain:
    at = body.length if cool.at is None else cool.at
    if at is None:
        raise InputError("a cool-down behind what goes on for ever needs `at`, the iteration at which it begins")
    last = body.parts[-1][0]
    if at < last or (body.length is not None and at > body.length):
        bounds = f"{last} or more" if body.length is None else f"from {last} to {body.length}"
        raise InputError(f"a cool-down begins while the schedule before it holds: at is {bounds}", got=at)
    ramp = Ramp(body.rate(at), cool.end, cool.iterations, cool.shape)
    kept = tuple(part for part in body.parts if part[0] < at)
    return Chain((*kept, (at, ramp)))


def _appended(before: Chain, after: Chain) -> Chain:
    """`after` behind a chain that has a length."""
    begin = before.length or 0
    parts = tuple((begin + first, schedule) for first, schedule in after.parts)
    return Chain((*before.parts, *parts), None if after.length is None else begin + after.length)


def as_chain(item: object) -> Chain:
    """A schedule as a chain of one part, a chain as it is. Raises InputError for anything else."""
    if isinstance(item, Chain):
        return item
    if isinstance(item, Lasting):
        return Chain(((0, item.schedule),), item.iterations)
    return Chain(((0, _schedule(item)),))


def _text(schedule: Schedule) -> str:
    if not isinstance(schedule, Policy | Ramp):
        rule = "the text of a chain is that of policies and ramps"
        raise InputError(rule, got=repr(schedule))
    return schedule.to_text()


def _schedule(item: object) -> Schedule:
    if not isinstance(item, Schedule):
        raise InputError("a chain is made of schedules, for example a Policy", got=repr(item))
    return item


def _checked(parts: Any) -> tuple[tuple[int, Schedule], ...]:
    try:
        pairs = [(first, schedule) for first, schedule in parts]
    except (TypeError, ValueError):
        raise InputError("a chain has parts, pairs of a first iteration and a schedule", got=repr(parts)) from None
    checked = tuple((whole("a part's first iteration", first, 0), _schedule(schedule)) for first, schedule in pairs)
    firsts = [first for first, _ in checked]
    if firsts[:1] != [0] or any(before >= after for before, after in pairwise(firsts)):
        raise InputError("the first part of a chain begins at 0, and each later than the one before", got=firsts)
    return checked


def _taken_apart(first: int, schedule: Schedule, end: int | None) -> tuple[tuple[int, Schedule], ...]:
    """The parts of a chain that is itself a part, as far as they begin before its end."""
    if not isinstance(schedule, Chain):
        return ((first, schedule),)
    return tuple((first + inner, each) for inner, each in schedule.parts if end is None or first + inner < end)
