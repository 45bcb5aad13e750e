"""What an adaptive policy will do, as far as that is known before the training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy.errors import InputError
from lrpolicy.iterations import as_iteration, as_iterations
from lrpolicy.stateful.adaptive import AdaptivePolicy
from lrpolicy.stateful.decay import DecaySequence, DecayState


@dataclass(frozen=True)
class Preview:
    """The rates of a sequence that advances after every test pass, whatever it shows: a schedule.

    A test pass comes after every `test_interval` updates.
    """

    sequence: DecaySequence
    test_interval: int

    def rate(self, t: int, /) -> float:
        """The rate at iteration t. Raises InputError."""
        return self.sequence.rate(DecayState(advances=as_iteration(t) // self.test_interval))

    def rates(self, ts: range | ArrayLike) -> NDArray[np.float64]:
        """The rates at many iterations, in the shape of `ts`. Raises InputError."""
        passes, places = np.unique(as_iterations(ts) // self.test_interval, return_inverse=True)
        steps = [self.sequence.rate(DecayState(advances=int(count))) for count in passes]
        return np.array(steps)[places].reshape(np.shape(ts))


def preview(policy: AdaptivePolicy, test_interval: int) -> Preview:
    """The rates that a policy is going to have with a test pass after every `test_interval` updates.

    Raises InputError for a policy whose rates depend on what a training shows, and for a test_interval below 1.
    """
    schedule = policy.schedule()
    if not isinstance(schedule, DecaySequence) or schedule.strategy != "by_epoch":
        strategy = f" {schedule.strategy}" if isinstance(schedule, DecaySequence) else ""
        rule = (
            f'the rates of "{policy.name}"{strategy} depend on the {policy.info.feedback}: only a training shows them'
        )
        first = policy.parameters["base_lr"]
        raise InputError(rule, remedy=f"it starts from {first:.6g}; `lrpolicy train` shows what follows")
    if test_interval < 1:
        raise InputError("test_interval, the updates of an epoch, must be 1 or more", got=test_interval)
    return Preview(schedule, test_interval)
