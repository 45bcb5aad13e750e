"""TLR: a rate that is trained along with the weights (TLR paper, sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy import _core
from lrpolicy.errors import InputError
from lrpolicy.iterations import as_iteration
from lrpolicy.stateful.values import LARGEST_RATE, State, check_name, check_rate, check_state, real, settle, whole

VARIANTS = {name: (formula, meaning) for name, formula, meaning in _core.tlr_variant_table}
SOURCES = _core.tlr_sources


class TlrEvent(IntFlag):
    """What the last update of a rate met."""

    NON_FINITE = 1
    AT_LIMIT = 2
    DIVERGING = 4
    RESTARTED = 8


@dataclass(frozen=True, slots=True)
class TlrState(State):
    """The learned rates and what they remember: tuples with one entry, or one for each tensor.

    `windows` counts the windows seen; `non_finite_tensor` is the first tensor whose dot products were not finite in the
    last one, or -1. `rates` are alpha (lr_mult is not in them); `scales` say what the window before was divided by to
    become a mean gradient (0 before the first); `squared` is that mean's squared length, `first` the first one that
    was not 0; `events` holds `TlrEvent` bits of the last update; `restarts` counts those of each rate.
    """

    schedule: ClassVar[str] = "tlr"
    windows: int
    non_finite_tensor: int
    rates: tuple[float, ...]
    scales: tuple[float, ...]
    squared: tuple[float, ...]
    first: tuple[float, ...]
    events: tuple[int, ...]
    restarts: tuple[int, ...]

    @classmethod
    def completed(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """A state that was written before restarts were counted has none."""
        rates = values.get("rates")
        return {"restarts": [0] * len(rates), **values} if isinstance(rates, list | tuple) else values

    @classmethod
    def from_core(cls, values: tuple[Any, ...]) -> TlrState:
        """The state of a tuple that the core returned."""
        windows, non_finite_tensor, *lists = values
        return cls(windows, non_finite_tensor, *map(tuple, lists))


@dataclass(frozen=True, eq=False, slots=True)
class TlrWindow:
    """A window's dot products, one number for each parameter tensor, accumulated in double.

    With A for what the tensor accumulated over the window (see `Tlr`), and A' for the window before:
    `gg` = <A, A>, `gp` = <A, A'>. The first window has no A', and its `gp` is not looked at: zeros will do. For the
    variant naive `gp` = <H, A>, where H adds up the gradients at w - rate * lr_mult * g. `updates` is the window's
    length where it is not the schedule's `window_updates`: an epoch's short end, or steps that were left out.
    Gradients that were scaled (mixed precision) must be unscaled before they are added up.
    """

    gg: ArrayLike
    gp: ArrayLike
    updates: int | None = None


@dataclass(frozen=True)
class Tlr:
    """One rate for all tensors, or one for each (`per_tensor`), raised while successive gradients agree.

    With g the mean gradient of a window, d = <g_t, g_(t-1)>, n = <g_t, g_t>, m = <g_(t-1), g_(t-1)>:

    - efficient: rate * (1 + min(d / max(4(n - d), 0), bound)), the paper's Algorithm 2; the factor is in
      [0.75, 1 + bound]
    - newton: rate * (1 + min(d / max(m - d, 0), bound)), the exact curvature of a quadratic
    - fixed_eta: max(rate + eta * d, 0), the paper's section D.4
    - hypergradient: the same after every update (Baydin and others, 2018)
    - naive: max(rate + eta * <h_t, g_t>, 0), h_t a second gradient at w_t - rate * g_t, Algorithm 1

    n = 0 or d = 0 leaves a rate as it is, and so do sums that are not finite, with an event.

    `source` says what the caller accumulates, and when (solvers and adapters, which accumulate by themselves, take
    displacements by default):

    - "gradient": A is the sum of the raw gradients. In an iteration that `is_due`, update after its backward pass and
      before the weights move, which then move with the new rate. With a window of one update this is Algorithm 2.
    - "displacement": A is the weights before the window less those after it (equation 10; nothing per step, and
      momentum and weight decay are in it). In an iteration that `is_due`, update after the weights have moved; the new
      rate holds from the next one. Their rate must have been `rate` times lr_mult. Under Caffe's momentum, which keeps
      the rate inside its history, a displacement also holds a little of the rates before.

    A window is K = max(1, floor(window * epoch_iterations)) updates, and `is_due` where (t + 1) mod K = 0; with the
    defaults every update. The first change of a rate comes with the second window.

    `lr_mult` has one number for each parameter tensor: the tensors' weights in the sums. Tensors with 0 take no part,
    and their dot products are not looked at. `min_lr` and `max_lr` limit the rates. Where n has grown to more than
    `divergence` times the first window's, an event says so; nothing else changes. A rate that has fallen below
    `restart_below` (0: none does) is base_lr again, with an event; each by itself where every tensor has one. What the
    machine remembers of the last window stays, so that the next rate is learned as always.

    Raises InputError for an unknown variant or source, base_lr not in [min_lr, max_lr] or not above 0, restart_below
    that is neither 0 nor between min_lr and base_lr, bound or eta not above 0 where the variant has them, window
    outside (0, 1], no tensor with lr_mult above 0, and for an additive variant on displacements without a min_lr above
    0, because a rate of 0 moves nothing.
    """

    base_lr: float
    variant: str = "efficient"
    source: str = "gradient"
    bound: float = 0.25
    eta: float | None = None
    window: float = 1 / 3
    epoch_iterations: int = 1
    lr_mult: Sequence[float] = (1.0,)
    per_tensor: bool = False
    min_lr: float = 0.0
    max_lr: float = LARGEST_RATE
    divergence: float = 1e6
    restart_below: float = 0.0
    _core: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name("variant", self.variant, VARIANTS)
        check_name("source", self.source, SOURCES)
        names = ("base_lr", "bound", "window", "min_lr", "max_lr", "divergence", "restart_below")
        values: dict[str, Any] = {name: real(name, getattr(self, name)) for name in names}
        values |= {"epoch_iterations": whole("epoch_iterations", self.epoch_iterations)}
        values |= {"lr_mult": _multipliers(self.lr_mult), "per_tensor": bool(self.per_tensor)}
        eta = None if self.eta is None else real("eta", self.eta)
        core = _core.TlrCore(variant=self.variant, source=self.source, eta=eta, **values)
        settle(self, eta=eta, _core=core, **values)

    @property
    def window_updates(self) -> int:
        """K, the updates of a window."""
        updates: int = self._core.window_updates
        return updates

    def is_due(self, t: int) -> bool:
        """Whether iteration t ends a window, so that the caller has dot products to give. Raises InputError."""
        due: bool = self._core.is_due(whole("the iteration", t))
        return due

    def next_due(self, t: int) -> int:
        """The first iteration from t on that `is_due`. Raises InputError."""
        first = as_iteration(t)
        return first + (-first - 1) % self.window_updates

    def init(self) -> TlrState:
        """The state during the first window."""
        return TlrState.from_core(self._core.start())

    def update(self, state: TlrState, observation: TlrWindow, /) -> TlrState:
        """The state after a window.

        Raises InputError for a wrong number of tensors, a gg below 0, `updates` below 1, and the state of another list
        of tensors.
        """
        if not isinstance(observation, TlrWindow):
            raise InputError("tlr observes a TlrWindow", got=repr(observation))
        values = check_state(state, TlrState).to_tuple()
        updates = self.window_updates if observation.updates is None else whole("updates", observation.updates)
        gg, gp = _doubles("gg", observation.gg), _doubles("gp", observation.gp)
        return TlrState.from_core(self._core.update(values, gg, gp, updates))

    def rate(self, state: TlrState, t: int = 0, tensor: int = 0) -> float:
        """The rate of one parameter tensor until the next update, before its lr_mult. Raises InputError."""
        rates = check_state(state, TlrState).rates
        index = whole("the tensor's index", tensor, 0, len(self.lr_mult) - 1)
        if len(rates) != (len(self.lr_mult) if self.per_tensor else 1):
            raise InputError("this state belongs to another list of tensors", got=f"{len(rates)} rates")
        return check_rate("a rate", rates[index if self.per_tensor else 0])

    def events(self, state: TlrState) -> tuple[str, ...]:
        """What the last update met, in words, for the user; empty where nothing was worth saying. Raises InputError."""
        said = []
        for index, (rate, bits) in enumerate(zip(check_state(state, TlrState).rates, state.events, strict=True)):
            whose = f"tensor {index}: " if self.per_tensor else ""
            culprit = "" if self.per_tensor or state.non_finite_tensor < 0 else f" of tensor {state.non_finite_tensor}"
            if bits & TlrEvent.NON_FINITE:
                said.append(f"{whose}the dot products{culprit} are not finite; the rate stays {rate:g}")
            if bits & TlrEvent.AT_LIMIT:
                said.append(f"{whose}the rate was stopped at {rate:g}")
            if bits & TlrEvent.RESTARTED:
                said.append(f"{whose}the rate fell below {self.restart_below:g} and starts again from {rate:g}")
            if bits & TlrEvent.DIVERGING:
                said.append(f"{whose}the squared gradient is over {self.divergence:g} times the first window's")
        return tuple(said)

    def __reduce__(self) -> tuple[Any, ...]:
        values = (getattr(self, name) for name in self.__dataclass_fields__ if name != "_core")
        return Tlr, tuple(values)


def _multipliers(values: object) -> tuple[float, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError("lr_mult must be a list of numbers", got=repr(values))
    return tuple(real("lr_mult", value) for value in values)


def _doubles(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a list of numbers", got=repr(values)) from None
