"""From one schedule to the next when the training loss stands still."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lrpolicy.errors import InputError
from lrpolicy.schedules import Schedule, StatefulSchedule
from lrpolicy.stateful import Plateau, PlateauState, TrainLoss
from lrpolicy.stateful.values import State, check_state, settle, whole


@dataclass(frozen=True, slots=True)
class SwitchState(State):
    """Which schedule holds, and what the next switch waits for.

    `place` counts the switches; `since` is the iteration at which the schedule that holds began; `last_event` and
    `minimum` are those of `PlateauState`.
    """

    schedule: ClassVar[str] = "switch_on_plateau"
    place: int
    since: int
    last_event: int
    minimum: float


@dataclass(frozen=True)
class SwitchOnPlateau:
    """A `StatefulSchedule`: each of `schedules` holds until the training loss has stood still for its winsize.

    `winsize[k]` iterations without a new minimum of the loss since schedule k began, or since the last new minimum, end
    it (the rule of `Plateau`); the next one counts from 0 at that iteration. It observes a `TrainLoss` before the
    update of that iteration. PyTorch's `FeedbackLR`, JAX's `scale_by_policy` and Keras' `PolicyCallback` take one.

    Raises InputError for fewer than two schedules, or not one winsize, 1 or more, for each but the last.
    """

    schedules: Sequence[Schedule]
    winsize: Sequence[int]
    _plateau: Plateau = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        schedules = tuple(self.schedules)
        for each in schedules:
            if not isinstance(each, Schedule):
                raise InputError("a switch leads from schedule to schedule", got=repr(each))
        if len(schedules) < 2:
            raise InputError("a switch needs two schedules or more", got=len(schedules))
        plateau = Plateau(1.0, 1.0, self.winsize)  # it counts; the rates are the schedules'
        winsize = tuple(plateau.plateau_winsize)
        if len(winsize) != len(schedules) - 1:
            raise InputError("winsize has a number for each schedule but the last", got=f"{len(winsize)} numbers")
        settle(self, schedules=schedules, winsize=winsize, _plateau=plateau)

    def init(self) -> SwitchState:
        """The state before the first loss."""
        started = self._plateau.init()
        return SwitchState(started.lowered, 0, started.last_event, started.minimum)

    def update(self, state: SwitchState, observation: TrainLoss, /) -> SwitchState:
        """The state with which that iteration's update is made. Raises InputError."""
        at = check_state(state, SwitchState)
        new = self._plateau.update(PlateauState(at.place, at.last_event, at.minimum), observation)
        since = at.since if new.lowered == at.place else observation.iteration
        return SwitchState(new.lowered, since, new.last_event, new.minimum)

    def rate(self, state: SwitchState, t: int, tensor: int = 0) -> float:
        """The rate at iteration t, if nothing switches before; the same for every tensor. Raises InputError."""
        at = check_state(state, SwitchState)
        place = whole("the state's place", at.place, 0, len(self.schedules) - 1)
        return self.schedules[place].rate(whole("the iteration", t, at.since) - at.since)


def rehearse(
    schedule: StatefulSchedule[State, TrainLoss], losses: Iterable[float]
) -> tuple[NDArray[np.float64], list[State]]:
    """What a schedule that observes the training loss does with made-up losses, one for each iteration: no training.

    Returns the rate of each iteration, and the state with which its update would be made.
    """
    state, rates, states = schedule.init(), [], []
    for t, loss in enumerate(losses):
        state = schedule.update(state, TrainLoss(t, loss))
        rates.append(schedule.rate(state, t))
        states.append(state)
    return np.array(rates), states
