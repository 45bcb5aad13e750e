"""Policies as optax schedules, with the core's own rates: nothing is computed again in the trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from lrpolicy.errors import InputError
from lrpolicy.integrations.policy_like import PolicyLike, as_schedule
from lrpolicy.schedules import Schedule
from lrpolicy.stateful.values import whole

# The last count at which every policy has a rate.
_LAST = 2**50


@dataclass(frozen=True, init=False)
class PolicySchedule:
    """An optax schedule, count -> float32 rate: the policy's own rates, each rounded once to float32.

    >>> schedule = PolicySchedule("tri2", base_lr=0.01, max_lr=0.06, stepsize=2000, iterations=10_000)
    >>> optimizer = optax.sgd(schedule, momentum=0.9)

    `policy` is a `Policy`, its name with its parameters, its text ("tri2:base_lr=0.01,...") or a chain's
    ("warm_up:iterations=500 >> ..."), the dict of `Policy.to_dict`, or any `Schedule`. Arithmetic that is traced in
    float32 cannot give the same bits, so that a trace asks or looks up:

    - without `iterations` it calls the core on the host (`jax.pure_callback`): any count, no memory, and a device waits
      for the host in every update (0.4 ms measured on a CPU, where an update by table took 9 us);
    - with `iterations` it looks up a table of the first so many rates, 4 bytes each, which becomes a constant of the
      compiled program and stays on the device. Counts beyond the table have its last rate.

    Either way it goes under jit, vmap and scan, with or without 64-bit types; a count that is not traced goes to the
    core directly. Counts below 0 have the rate of 0, because optax.join_schedules asks for them. A schedule is a value:
    equal, hashable and picklable as its policy is. A compiled program may take a rate below 1.2e-38 as 0, as XLA does.

    Raises InputError for a wrong policy, `iterations` not from 1 to 2^31 - 1, and a count that is no whole number.
    """

    policy: Schedule
    iterations: int | None
    _table: NDArray[np.float32] | None = field(repr=False, compare=False)

    def __init__(self, policy: PolicyLike, iterations: int | None = None, **parameters: float | Sequence[int]) -> None:
        schedule = as_schedule(policy, parameters, instead="scale_by_policy")
        length = None if iterations is None else whole("iterations", iterations, 1, 2**31 - 1)
        table = None if length is None else schedule.rates(range(length)).astype(np.float32)
        for name, value in {"policy": schedule, "iterations": length, "_table": table}.items():
            object.__setattr__(self, name, value)

    def __call__(self, count: ArrayLike) -> jax.Array:
        """The rates at `count`, in its shape. Raises InputError for counts that are no whole numbers."""
        if not isinstance(count, jax.core.Tracer):
            return jnp.asarray(self.on_host(count))
        _check_whole(count.dtype)
        if self._table is None:
            shape = jax.ShapeDtypeStruct(count.shape, jnp.float32)  # type: ignore[no-untyped-call]
            rates: jax.Array = jax.pure_callback(self.on_host, shape, count, vmap_method="legacy_vectorized")
            return rates
        signed = jnp.issubdtype(count.dtype, jnp.signedinteger)
        wide = count.astype(jnp.promote_types(count.dtype, jnp.int32 if signed else jnp.uint32))
        return jnp.asarray(self._table)[jnp.clip(wide, 0, len(self._table) - 1)]

    def on_host(self, count: Any) -> NDArray[np.float32]:
        """The rates as NumPy has them, computed by the core. Raises InputError."""
        counts = np.asarray(count)
        _check_whole(counts.dtype)
        last = _LAST if self.iterations is None else self.iterations - 1
        known = np.clip(counts, 0, min(last, np.iinfo(counts.dtype).max))
        return self.policy.rates(known).astype(np.float32)

    def __reduce__(self) -> tuple[Any, ...]:
        return PolicySchedule, (self.policy, self.iterations)


def _check_whole(dtype: Any) -> None:
    if not jnp.issubdtype(dtype, jnp.integer):
        raise InputError("a schedule counts updates in whole numbers", got=f"a count of {dtype}")
