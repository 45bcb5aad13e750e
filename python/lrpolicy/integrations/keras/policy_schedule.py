"""Policies as Keras schedules, with the core's own rates under every backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import NDArray

from lrpolicy.errors import InputError
from lrpolicy.integrations.policy_like import as_schedule
from lrpolicy.policies import Policy
from lrpolicy.stateful.values import whole

# Backends whose tensors can be read where a schedule is called.
_EAGER = ("torch", "numpy")


@keras.saving.register_keras_serializable(package="lrpolicy")
class PolicySchedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A `LearningRateSchedule`, step -> float32 rate: the policy's own rates, each rounded once to float32.

    >>> schedule = PolicySchedule("tri2", base_lr=0.01, max_lr=0.06, stepsize=2000)
    >>> optimizer = keras.optimizers.SGD(schedule, momentum=0.9)

    `policy` is a `Policy`, its name with its parameters, its text ("tri2:base_lr=0.01,...") or the dict of
    `Policy.to_dict`. Keras counts the updates, from 0.

    The core computes each rate when it is asked for; under the JAX backend, where steps are compiled, through a call
    back to the host. With `iterations`, a table of the first so many rates, 4 bytes each, is looked up instead, and
    steps beyond it have its last rate: that is faster under JAX, and under TensorFlow the only way.

    A saved model keeps the policy. Import this module before loading one, so that Keras knows the class.

    Raises InputError for a wrong policy, one that is no `Policy` (it could not be saved), `iterations` not from 1 to
    2^31 - 1, and a step that is no whole number.
    """

    policy: Policy
    iterations: int | None

    def __init__(
        self,
        policy: Policy | Mapping[str, Any] | str,
        iterations: int | None = None,
        **parameters: float | Sequence[int],
    ) -> None:
        schedule = as_schedule(policy, parameters, instead="PolicyCallback")
        if not isinstance(schedule, Policy):
            raise InputError("a schedule that is saved with a model is a Policy", got=repr(schedule))
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
        """Plain values, from which `from_config` makes an equal schedule."""
        return {"policy": self.policy.to_dict(), "iterations": self.iterations}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The schedule that `get_config` described. Raises InputError."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PolicySchedule):
            return NotImplemented
        return self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self.policy, self.iterations))

    def __repr__(self) -> str:
        return f"PolicySchedule(policy={self.policy!r}, iterations={self.iterations})"
