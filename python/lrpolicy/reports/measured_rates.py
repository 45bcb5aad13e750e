"""The rates that a training with an adaptive policy was seen to have: what can be drawn of a policy without its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy.policies import Policy
from lrpolicy.records import Measurement
from lrpolicy.schedules import Schedule
from lrpolicy.stateful import AnyPolicy


@dataclass(frozen=True)
class MeasuredRates:
    """A schedule of steps: each rate that was measured holds for the updates that led to its measurement.

    `iterations` count the updates done and rise; past the last one its rate stays. NaN where nothing was measured.
    """

    iterations: tuple[int, ...]
    values: tuple[float, ...]

    def rate(self, t: int, /) -> float:
        """The rate at iteration t."""
        return float(self.rates([t])[0])

    def rates(self, ts: range | ArrayLike) -> NDArray[np.float64]:
        """The rates at many iterations, in the shape of `ts`."""
        asked = np.asarray(ts)
        if not self.values:
            return np.full(asked.shape, np.nan)
        places = np.searchsorted(self.iterations, asked, side="right")
        return np.array(self.values)[np.minimum(places, len(self.values) - 1)]


def drawable(policy: AnyPolicy, measurements: Sequence[Measurement]) -> Schedule:
    """The policy itself where it is a function of the iteration, else the rates that one of its trials measured."""
    if isinstance(policy, Policy):
        return policy
    seen = [m for m in measurements if m.iteration > 0]
    return MeasuredRates(tuple(m.iteration for m in seen), tuple(m.rate for m in seen))
