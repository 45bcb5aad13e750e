"""Schedules one after another, joined by >>: warm-up >> body >> cool-down. The result is a pure function of t again."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy.compositions.ramp import Ramp
from lrpolicy.errors import InputError
from lrpolicy.iterations import as_iterations
from lrpolicy.schedules import Schedule
from lrpolicy.stateful.values import real, whole


class _Joins:
    """What stands on either side of >>."""

    def __rshift__(self, other: object) -> Chain:
        return _joined(self, other)

    def __rrshift__(self, other: object) -> Chain:
        return _joined(other, self)


@dataclass(frozen=True)
class WarmUp(_Joins):
    """`iterations` updates that lead from `start` to the first rate of what follows."""

    iterations: int
    start: float = 0.0
    shape: str = "linear"


@dataclass(frozen=True)
class CoolDown(_Joins):
    """From the rate that the schedule before has at iteration `at`, to `end`, in `iterations` updates.

    `at` counts from the beginning of the whole; without one, it is the length of the schedule before.
    """

    iterations: int
    at: int | None = None
    end: float = 0.0
    shape: str = "linear"


@dataclass(frozen=True)
class Lasting(_Joins):
    """A schedule that ends after `iterations` updates, so that another can follow."""

    schedule: Schedule
    iterations: int


@dataclass(frozen=True)
class Chain(_Joins):
    """A `Schedule` of schedules: each of `parts` holds from its first iteration on, and counts from there.

    `length` is the number of iterations after which another part may follow, None where the last part goes on for ever
    (the rates of a chain with a length go on for ever too).
    """

    parts: tuple[tuple[int, Schedule], ...]
    length: int | None = None

    def rate(self, t: int, /) -> float:
        """The rate at iteration t. Raises InputError."""
        first, schedule = self.parts[bisect_right(self.parts, int(as_iterations(t)), key=lambda part: part[0]) - 1]
        return schedule.rate(t - first)

    def rates(self, ts: range | ArrayLike) -> NDArray[np.float64]:
        """The rates at many iterations, in the shape of `ts`. Raises InputError."""
        iterations = as_iterations(ts)
        places = np.searchsorted([first for first, _ in self.parts], iterations, side="right") - 1
        rates = np.empty(iterations.shape)
        for place, (first, schedule) in enumerate(self.parts):
            here = places == place
            if here.any():
                rates[here] = schedule.rates(iterations[here] - first)
        return rates

    def until(self, iterations: int) -> Chain:
        """This chain, ending after so many iterations. Raises InputError where a part begins only then."""
        return Chain(self.parts, whole("iterations", iterations, self.parts[-1][0] + 1))


def warm_up(iterations: int, start: float = 0.0, shape: str = "linear") -> WarmUp:
    """A warm-up, to be followed by a body: `warm_up(500) >> policy`.

    At t = 0 the rate is `start`, and at t = `iterations` the body begins at its own t = 0. `shape` is "linear" or
    "cosine". Raises InputError.
    """
    Ramp(start, start, iterations, shape)  # its rules
    return WarmUp(iterations, start, shape)


def cool_down(iterations: int, at: int | None = None, end: float = 0.0, shape: str = "linear") -> CoolDown:
    """A cool-down, to follow a body: `policy >> cool_down(1000, at=9000)`.

    At t = `at` the rate is still the body's, at t = `at` + `iterations` it is `end`, and stays. `shape` is "linear" or
    "cosine". Raises InputError.
    """
    Ramp(0.0, end, iterations, shape)
    return CoolDown(iterations, None if at is None else whole("at", at, 0), end, shape)


def lasting(schedule: Schedule, iterations: int) -> Lasting:
    """A schedule for so many updates: `lasting(first, 4000) >> second`. Raises InputError."""
    return Lasting(_schedule(schedule), whole("iterations", iterations, 1))


def _joined(left: object, right: object) -> Chain:
    if isinstance(right, WarmUp):
        raise InputError("a warm-up comes first", got="one behind another schedule")
    if isinstance(left, CoolDown):
        raise InputError("a cool-down comes last", got="something behind it")
    if isinstance(left, WarmUp):
        if isinstance(right, CoolDown):
            raise InputError("between a warm-up and a cool-down stands a schedule", got="none")
        return _warmed(left, _chain(right))
    before = _chain(left)
    if isinstance(right, CoolDown):
        return _cooled(before, right)
    if before.length is None:
        raise InputError(
            "what goes on for ever is followed by nothing but a cool-down", remedy="give it a length: lasting(it, 4000)"
        )
    return _appended(before, _chain(right))


def _warmed(warm: WarmUp, body: Chain) -> Chain:
    ramp = Ramp(real("start", warm.start), body.rate(0), warm.iterations, warm.shape)
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


def _chain(item: object) -> Chain:
    if isinstance(item, Chain):
        return item
    if isinstance(item, Lasting):
        return Chain(((0, item.schedule),), item.iterations)
    return Chain(((0, _schedule(item)),))


def _schedule(item: object) -> Schedule:
    if not isinstance(item, Schedule):
        raise InputError("a chain is made of schedules, for example a Policy", got=repr(item))
    return item
