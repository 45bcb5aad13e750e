"""`plateau` of Caffe's SSD-derived forks: the rate falls when the training loss has stopped falling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from lrpolicy import _core
from lrpolicy.errors import InputError
from lrpolicy.stateful.values import State, check_state, real, settle, whole


@dataclass(frozen=True, slots=True)
class PlateauState(State):
    """How often the rate has fallen, and what the next fall waits for.

    `lowered` is k; `last_event` the iteration of the last fall or new minimum; `minimum` the least loss seen, infinite
    before the first.
    """

    schedule: ClassVar[str] = "plateau"
    lowered: int
    last_event: int
    minimum: float


@dataclass(frozen=True, slots=True)
class TrainLoss:
    """The smoothed training loss of an iteration, known before its update."""

    iteration: int
    loss: float


@dataclass(frozen=True)
class Plateau:
    """base_lr * gamma^k; k grows after `plateau_winsize[k]` iterations without a new minimum of the training loss.

    The training loss is the smoothed one that Caffe displays.

    The count starts anew at every new minimum and at every fall, and after the last winsize the rate stays. A loss that
    is not a number is no new minimum. The rate never falls below `min_lr`. With one winsize w over and over this is
    PyTorch's ReduceLROnPlateau with patience w - 1 and threshold 0.

    Raises InputError for base_lr not above 0, gamma below 0, no winsize or one below 1, min_lr above base_lr.
    """

    base_lr: float
    gamma: float
    plateau_winsize: Sequence[int]
    min_lr: float = 0.0
    _core: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.plateau_winsize, str) or not np.iterable(self.plateau_winsize):
            raise InputError("plateau_winsize must be a list of whole numbers", got=repr(self.plateau_winsize))
        winsize = tuple(whole("plateau_winsize", iterations) for iterations in self.plateau_winsize)
        numbers = {name: real(name, getattr(self, name)) for name in ("base_lr", "gamma", "min_lr")}
        settle(self, plateau_winsize=winsize, **numbers)
        settle(self, _core=_core.PlateauCore(winsize=winsize, **numbers))

    def init(self) -> PlateauState:
        """The state before the first loss."""
        return PlateauState(*self._core.start())

    def update(self, state: PlateauState, observation: TrainLoss, /) -> PlateauState:
        """The state with which that iteration's update is made. Raises InputError."""
        if not isinstance(observation, TrainLoss):
            raise InputError("plateau observes a TrainLoss", got=repr(observation))
        values = check_state(state, PlateauState).to_tuple()
        t = whole("the iteration", observation.iteration)
        return PlateauState(*self._core.update(values, t, real("the training loss", observation.loss)))

    def rate(self, state: PlateauState, t: int = 0, tensor: int = 0) -> float:
        """The rate until the next update, the same for every iteration and tensor. Raises InputError."""
        rate: float = self._core.rate(check_state(state, PlateauState).to_tuple())
        return rate

    def __reduce__(self) -> tuple[Any, ...]:
        return Plateau, (self.base_lr, self.gamma, self.plateau_winsize, self.min_lr)
