"""A stateful schedule at work in one training: it keeps the state, hears what the training shows, and says its rates.

The monitor asks how far ahead the rates are known; the engine tells what it saw. Nothing here knows a framework.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy.errors import InputError
from lrpolicy.stateful import (
    AdaptivePolicy,
    Aslr,
    AslrState,
    DecayState,
    Plateau,
    PlateauState,
    Tlr,
    TlrEvent,
    TlrState,
    TlrWindow,
    TrainLoss,
)
from lrpolicy.stateful.values import State

FOR_EVER = 2**62

_EVENTS = {
    TlrEvent.NON_FINITE: "dot products that were not finite",
    TlrEvent.AT_LIMIT: "a rate stopped at its limit",
    TlrEvent.DIVERGING: "a squared gradient far above the first one's",
    TlrEvent.RESTARTED: "a rate that started again",
}

StateT = TypeVar("StateT", bound=State)


class LiveSchedule(Generic[StateT]):
    """What every adaptive policy has in common; the subclasses hear different things.

    `per_tensor` says that `rates` has a column for each parameter tensor; `remarks` holds what the user should hear,
    until someone takes it out.
    """

    per_tensor = False

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule
        self.state: StateT = schedule.init()
        self.remarks: list[str] = []

    def horizon(self, start: int) -> int:
        """The first iteration from `start` on whose rate is not known when `start` begins.

        That is `start` itself where its rate is decided between its own gradient and its own update.
        """
        return FOR_EVER

    def rates(self, iterations: range) -> NDArray[np.float64]:
        """The rates as they stand, (iterations,) or (iterations, tensors)."""
        return np.full(len(iterations), self.schedule.rate(self.state, iterations.start))

    @property
    def shown(self) -> float:
        """One number for displays: the rate as it stands; what tensors have in the middle."""
        rate: float = self.schedule.rate(self.state, 0)
        return rate

    def trained(self, iteration: int, loss: float) -> None:
        """Hear the smoothed training loss of an iteration, in order and before any rate that depends on it is asked."""

    def tested(self, loss: float) -> None:
        """Hear the loss of a test pass."""

    def summary(self) -> str:
        """What the whole training met that the user should know; empty where there was nothing."""
        return ""

    def restore(self, values: Mapping[str, Any], where: str) -> None:
        """Take over a state's `to_dict`. Raises InputError for the state of another policy or version."""
        try:
            state = type(self.state).from_dict(values)
            self.schedule.rate(state, 0)  # a state that does not fit the schedule is refused here
        except InputError as error:
            raise error.at(where) from None
        self.state = state


class LiveSequence(LiveSchedule[DecayState]):
    """seq1 to seq4: a new rate after a test pass."""

    def tested(self, loss: float) -> None:
        """Take the loss as that of an epoch."""
        self.state = self.schedule.update(self.state, loss)


class LiveAslr(LiveSchedule[AslrState]):
    """ASLR: a new centre after a test pass, and rates drawn for every iteration and tensor."""

    per_tensor = True

    def __init__(self, schedule: Aslr, tensors: int) -> None:
        super().__init__(schedule)
        self._tensors = tensors

    def tested(self, loss: float) -> None:
        """Take the loss as the cost of an epoch."""
        self.state = self.schedule.update(self.state, loss)

    def rates(self, iterations: range) -> NDArray[np.float64]:
        """The draws, (iterations, tensors)."""
        drawn = [self.schedule.rates(self.state, t, self._tensors) for t in iterations]
        return np.array(drawn, np.float64).reshape(len(iterations), self._tensors)

    @property
    def shown(self) -> float:
        """The centre."""
        center: float = self.schedule.center(self.state)
        return center


class LivePlateau(LiveSchedule[PlateauState]):
    """plateau: the rate of an iteration may depend on its own loss, but not before the next fall is possible."""

    def horizon(self, start: int) -> int:
        """The iteration of the next fall, unless a loss before it is a new minimum."""
        winsize: Sequence[int] = self.schedule.plateau_winsize
        lowered = self.state.lowered
        return max(start, self.state.last_event + winsize[lowered]) if lowered < len(winsize) else FOR_EVER

    def trained(self, iteration: int, loss: float) -> None:
        """Look for a new minimum."""
        self.state = self.schedule.update(self.state, TrainLoss(iteration, loss))


class LiveTlr(LiveSchedule[TlrState]):
    """TLR: a new rate at the end of each window, before the last update of it (gradient) or after (displacement)."""

    schedule: Tlr

    def __init__(self, schedule: Tlr) -> None:
        super().__init__(schedule)
        self._met: Counter[TlrEvent] = Counter()
        self.per_tensor = schedule.per_tensor
        self.moves_first = schedule.source == "displacement"

    def horizon(self, start: int) -> int:
        """The window's last iteration, whose update has the new rate, or with displacements the one behind it."""
        window = self.schedule.window_updates
        return start - start % window + window - (0 if self.moves_first else 1)

    def rates(self, iterations: range) -> NDArray[np.float64]:
        """The rates as they stand: those of every iteration before the horizon."""
        if not self.per_tensor:
            return super().rates(iterations)
        return np.tile(np.array(self.state.rates), (len(iterations), 1))

    @property
    def shown(self) -> float:
        """The mean of the rates of the tensors that learn."""
        rates = np.array(self.state.rates)
        learn = np.array(self.schedule.lr_mult) > 0
        return float(np.mean(rates[learn] if self.per_tensor else rates))

    def observed(self, gg: ArrayLike, gp: ArrayLike) -> None:
        """Hear a whole window's dot products (see `TlrWindow`)."""
        self.state = self.schedule.update(self.state, TlrWindow(gg, gp))
        for event in TlrEvent:
            if any(bits & event for bits in self.state.events):
                self._met[event] += 1
                if self._met[event] == 1:
                    self.remarks.append(self._first(event))

    def summary(self) -> str:
        """How many windows met what."""
        return "; ".join(f"windows with {_EVENTS[event]}: {count}" for event, count in self._met.items())

    def _first(self, event: TlrEvent) -> str:
        """The remark on a kind of event that has not been met before."""
        only = replace(self.state, events=tuple(bits & event for bits in self.state.events))
        first, *more = self.schedule.events(only)
        others = f" (and so with {len(more)} other tensors)" if more else ""
        return f"tlr, window {self.state.windows}: {first}{others}"


def live(policy: AdaptivePolicy, epoch_iterations: int, lr_mult: Sequence[float]) -> LiveSchedule[Any]:
    """An adaptive policy set to work on tensors with these multipliers. Raises InputError where none learns."""
    schedule = policy.schedule(epoch_iterations, lr_mult)
    if isinstance(schedule, Tlr):
        return LiveTlr(schedule)
    if isinstance(schedule, Aslr):
        return LiveAslr(schedule, len(lr_mult))
    return LivePlateau(schedule) if isinstance(schedule, Plateau) else LiveSequence(schedule)
