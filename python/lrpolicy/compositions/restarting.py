"""TLR, started again where its rate has fallen too low to learn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from lrpolicy.errors import InputError
from lrpolicy.stateful import Tlr, TlrState, TlrWindow
from lrpolicy.stateful.values import State, check_state, real, settle


@dataclass(frozen=True, slots=True)
class RestartState(State):
    """A `TlrState`, field by field, and how often each of its rates was restarted."""

    schedule: ClassVar[str] = "restart_below"
    windows: int
    non_finite_tensor: int
    rates: tuple[float, ...]
    scales: tuple[float, ...]
    squared: tuple[float, ...]
    first: tuple[float, ...]
    events: tuple[int, ...]
    restarts: tuple[int, ...]

    @property
    def tlr(self) -> TlrState:
        """The state of the TLR inside."""
        return TlrState(*self.to_tuple()[:-1])


@dataclass(frozen=True)
class RestartBelow:
    """A `StatefulSchedule`: `tlr`, whose rates go back to its base_lr where they have fallen below `below`.

    With a rate for each tensor, each goes back by itself. What TLR remembers of its last window stays: the next rate
    learns from it as always. PyTorch's `TLR`, JAX's `scale_by_policy` and Keras' `PolicyCallback` make one of their
    argument `restart_below`.

    Raises InputError where `below` is not between tlr's min_lr and base_lr: the rate would never get there, or never
    leave.
    """

    tlr: Tlr
    below: float

    def __post_init__(self) -> None:
        if not isinstance(self.tlr, Tlr):
            raise InputError("restart_below restarts a Tlr", got=repr(self.tlr))
        below = real("below", self.below)
        if not self.tlr.min_lr < below < self.tlr.base_lr:
            limits = f"min_lr {self.tlr.min_lr:g} and base_lr {self.tlr.base_lr:g}"
            raise InputError(f"below lies between {limits}", got=f"{below:g}")
        settle(self, below=below)

    def init(self) -> RestartState:
        """The state during the first window."""
        started = self.tlr.init()
        return RestartState(*[*started.to_tuple(), (0,) * len(started.rates)])

    def update(self, state: RestartState, observation: TlrWindow, /) -> RestartState:
        """The state after a window. Raises InputError as `Tlr.update` does."""
        before = check_state(state, RestartState)
        learned = self.tlr.update(before.tlr, observation)
        fell = [rate < self.below for rate in learned.rates]
        rates = tuple(self.tlr.base_lr if low else rate for rate, low in zip(learned.rates, fell, strict=True))
        restarts = tuple(count + low for count, low in zip(before.restarts, fell, strict=True))
        return RestartState(*[*replace(learned, rates=rates).to_tuple(), restarts])

    def rate(self, state: RestartState, t: int = 0, tensor: int = 0) -> float:
        """The rate of one parameter tensor until the next update, before its lr_mult. Raises InputError."""
        return self.tlr.rate(check_state(state, RestartState).tlr, t, tensor)

    def is_due(self, t: int) -> bool:
        """Whether iteration t ends a window of the TLR. Raises InputError."""
        return self.tlr.is_due(t)

    def next_due(self, t: int) -> int:
        """The first iteration from t on that `is_due`. Raises InputError."""
        return self.tlr.next_due(t)

    def events(self, state: RestartState) -> tuple[str, ...]:
        """What the TLR's last update met, in words; a restart is none of them. Raises InputError."""
        return self.tlr.events(check_state(state, RestartState).tlr)


def restarted(tlr: Tlr, restart_below: float | None) -> Tlr | RestartBelow:
    """What the adapters make of their argument `restart_below`; None leaves `tlr` alone. Raises InputError."""
    if restart_below is None:
        return tlr
    try:
        return RestartBelow(tlr, restart_below)
    except InputError as error:
        raise error.at("restart_below") from None
