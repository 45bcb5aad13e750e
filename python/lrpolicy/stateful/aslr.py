"""ASLR: a search along one-digit rates after each epoch, and rates drawn around its centre (ASLR paper, section IV)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lrpolicy import _core
from lrpolicy.stateful.values import State, check_state, real, settle, whole

MOST_TENSORS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class AslrState(State):
    """Where the search stands: Algorithm 1's variables, the centre as digit * 10^exponent.

    `min_cost` is infinite before the first finite cost. Whole numbers, so that no walk drifts.
    """

    schedule: ClassVar[str] = "aslr"
    digit: int
    exponent: int
    min_cost: float
    search_direction: int
    search_range: int
    search_steps: int


@dataclass(frozen=True)
class Aslr:
    """Observes the validation cost after every epoch; draws a rate for every iteration and parameter tensor.

    An improved or equal cost ends the search where it is; any other, NaN and infinity among them, moves the centre c by
    its own power of ten, s = 10^floor(log10 c), one way and then the other, ever farther. The first finite cost is the
    first minimum. Rates come from U(c - s/2, c + s/2), as a pure function of (seed, iteration, tensor): the same on
    every machine and after a restart. The centre has one decimal digit and stays within 1e-22 .. 9e22; a base_lr of
    more digits is rounded, and `note` says so. `seed` is a whole number from 0 to 2^64 - 1.

    Raises InputError for base_lr not above 0 or a seed outside its range.
    """

    base_lr: float
    seed: int = 0
    _core: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        base_lr, seed = real("base_lr", self.base_lr), whole("seed", self.seed, 0, 2**64 - 1)
        settle(self, base_lr=base_lr, seed=seed, _core=_core.AslrCore(base_lr, seed))

    @property
    def note(self) -> str | None:
        """What the user should know about base_lr, or None."""
        center = self.center(self.init())
        if center == self.base_lr:
            return None
        return f"base_lr {self.base_lr:g} is read as {center:g}: ASLR walks along rates of one digit"

    def init(self) -> AslrState:
        """The state during the first epoch."""
        return AslrState(*self._core.start())

    def update(self, state: AslrState, cost: float, /) -> AslrState:
        """The state after an epoch that ended with this validation cost. Raises InputError."""
        values = check_state(state, AslrState).to_tuple()
        return AslrState(*self._core.update(values, real("the validation cost", cost)))

    def center(self, state: AslrState) -> float:
        """c, around which the rates are drawn, and their mean. Raises InputError."""
        center: float = self._core.center(check_state(state, AslrState).to_tuple())
        return center

    def rate(self, state: AslrState, t: int, tensor: int = 0) -> float:
        """The rate drawn for one parameter tensor at iteration t. Raises InputError."""
        values, index = check_state(state, AslrState).to_tuple(), whole("the tensor's index", tensor, 0, MOST_TENSORS)
        rate: float = self._core.rate(values, whole("the iteration", t), index)
        return rate

    def rates(self, state: AslrState, t: int, tensors: int) -> NDArray[np.float64]:
        """The rates of the tensors 0 .. tensors-1 at iteration t, each as `rate` gives it, bit for bit."""
        values = check_state(state, AslrState).to_tuple()
        count = whole("the number of tensors", tensors, 0, MOST_TENSORS)
        drawn: NDArray[np.float64] = self._core.rates(values, whole("the iteration", t), count)
        return drawn

    def __reduce__(self) -> tuple[Any, ...]:
        return Aslr, (self.base_lr, self.seed)
