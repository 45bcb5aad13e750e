"""Policies as Keras schedules, with the core's own rates under every backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import NDArray

from lrpolicy.compositions import Chain
from lrpolicy.errors import InputError
from lrpolicy.integrations.policy_like import PolicyLike, as_schedule
from lrpolicy.policies import Policy
from lrpolicy.schedules import Schedule
from lrpolicy.stateful.values import whole

# Backends whose tensors can be read where a schedule is called.
_EAGER = ("torch", "numpy")


@keras.saving.register_keras_serializable(package="lrpolicy")
class PolicySchedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A `LearningRateSchedule`, step -> float32 rate: the policy's own rates, each rounded once to float32.

    >>> schedule = PolicySchedule("tri2", base_lr=0.01, max_lr=0.06, stepsize=2000)
    >>> optimizer = keras.optimizers.SGD(schedule, momentum=0.9)

    `policy` is a `Policy`, its name with its parameters, its text ("tri2:base_lr=0.01,...") or a chain's
    ("warm_up:iterations=500 >> ..."), the dict of `Policy.to_dict`, or any `Schedule`. Keras counts the updates, from
    0.

    The core computes each rate when it is asked for; under the JAX backend, where steps are compiled, through a call
    back to the host. With `iterations`, a table of the first so many rates, 4 bytes each, is looked up instead, and
    steps beyond it have its last rate: that is faster under JAX, and under TensorFlow the only way.

    A saved model keeps a `Policy`, or a `Chain` of policies; with another schedule a model trains but cannot be saved,
    only its weights. Import this module before loading one, so that Keras knows the class.

    Raises InputError for a wrong policy, `iterations` not from 1 to 2^31 - 1, and a step that is no whole number.
    """

    policy: Schedule
    iterations: int | None

    def __init__(
        self,
        policy: PolicyLike,
        iterations: int | None = None,
        **parameters: float | Sequence[int],
    ) -> None:
        schedule = as_schedule(policy, parameters, instead="PolicyCallback")
        self.policy = schedule
        self.iterations = None if iterations is None else whole("iterations", iterations, 1, 2**31 - 1)
        backend = keras.backend.backend()
        if self.iterations is None and backend not in (*_EAGER, "jax"):
            remedy = "give iterations, how many updates there will be"
            raise InputError(f"under the {backend} backend a schedule looks its rates up", remedy=remedy)
        self._table: NDArray[np.float32] | None = None
        if self.iterations is not None:
            self._table = schedule.rates(range(self.iterations)).astype(np.float32)

    def __call__(self, step: Any) -> Any:
        """The rate at `step`, a scalar, as a tensor of the backend. Raises InputError."""
        if self._table is None and keras.backend.backend() == "jax":
            from lrpolicy.integrations.jax import PolicySchedule as JaxSchedule

            return JaxSchedule(self.policy)(step.value if isinstance(step, keras.Variable) else step)
        steps = keras.ops.convert_to_tensor(step)
        kind = keras.backend.standardize_dtype(steps.dtype)
        if "int" not in kind:
            raise InputError("a schedule counts updates in whole numbers", got=f"a step of {kind}")
        if self._table is not None:
            table = keras.ops.convert_to_tensor(self._table)
            return keras.ops.take(table, keras.ops.clip(steps, 0, len(self._table) - 1))
        return keras.ops.convert_to_tensor(np.float32(self.policy.rate(int(steps))))

    def get_config(self) -> dict[str, Any]:
        """Plain values, from which `from_config` makes an equal schedule. Raises InputError where there are none."""
        return {"policy": _saved(self.policy), "iterations": self.iterations}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The schedule that `get_config` described. Raises InputError."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PolicySchedule):
            return NotImplemented
        return (self.policy, self.iterations) == (other.policy, other.iterations)

    def __hash__(self) -> int:
        return hash((self.policy, self.iterations))

    def __repr__(self) -> str:
        return f"PolicySchedule(policy={self.policy!r}, iterations={self.iterations})"


def _saved(schedule: Schedule) -> dict[str, Any] | str:
    if isinstance(schedule, Policy):
        return schedule.to_dict()
    remedy = "save the weights alone, or compile the model with a number before"
    if not isinstance(schedule, Chain):
        raise InputError("a model is saved with a Policy or a chain of them", got=repr(schedule), remedy=remedy)
    try:
        return schedule.to_text()
    except InputError as error:
        raise error.at("the schedule of a saved model", remedy) from None
