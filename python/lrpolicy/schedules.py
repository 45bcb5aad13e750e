"""The two shapes of schedule. A `Schedule` is a pure function of the iteration; a `StatefulSchedule` also observes.

States are plain values (equality, repr, pickle, JSON): resuming a run is assigning one.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

StateT = TypeVar("StateT")
ObservationT_contra = TypeVar("ObservationT_contra", contravariant=True)


@runtime_checkable
class Schedule(Protocol):
    """A rate for every iteration, in any order and as often as asked (`lrpolicy.policies.Policy` is one)."""

    def rate(self, t: int, /) -> float:
        """The rate at iteration t, the number of updates already done (0-based)."""
        ...

    def rates(self, ts: range | ArrayLike) -> NDArray[np.float64]:
        """The rates at many iterations, in the shape of `ts`; each equals `rate` of that iteration, bit for bit."""
        ...


class StatefulSchedule(Protocol[StateT, ObservationT_contra]):
    """A rate that depends on what the training shows; the state travels outside, as a value."""

    def init(self) -> StateT:
        """The state before the first update."""
        ...

    def update(self, state: StateT, observation: ObservationT_contra) -> StateT:
        """The state after an observation; `state` itself does not change."""
        ...

    def rate(self, state: StateT, t: int, tensor: int = 0) -> float:
        """The rate of one parameter tensor at iteration t."""
        ...
