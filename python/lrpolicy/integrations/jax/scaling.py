"""Any policy as an optax transformation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrpolicy.compositions import SwitchOnPlateau
from lrpolicy.errors import InputError
from lrpolicy.integrations.jax.feedback import scale_by_feedback
from lrpolicy.integrations.jax.leaves import check_numbers
from lrpolicy.integrations.jax.policy_schedule import PolicySchedule
from lrpolicy.integrations.jax.tlr import scale_by_tlr
from lrpolicy.integrations.policy_like import AnyPolicyLike, as_any_policy
from lrpolicy.stateful import AdaptivePolicy
from lrpolicy.stateful.values import whole


def scale_by_policy(
    policy: AnyPolicyLike,
    epoch_iterations: int | None = None,
    *,
    iterations: int | None = None,
    **parameters: float | str | Sequence[int],
) -> optax.GradientTransformationExtraArgs:
    """Multiplies updates by minus the policy's rate: the last link of a chain, in the place of scale_by_learning_rate.

    >>> optimizer = optax.chain(optax.trace(0.9), scale_by_policy("tlr", epoch_iterations=844, base_lr=0.01))

    `policy` is a `Policy` or an `AdaptivePolicy`, its name with its parameters, its text ("aslr:base_lr=0.1,seed=1") or
    a chain's ("warm_up:iterations=500 >> ..."), a dict of them, any `Schedule`, or a `SwitchOnPlateau`. States are
    pytrees and work under jit, vmap and scan; the tensors are the leaves of the updates, in JAX's order.

    - A policy of the iteration is a `PolicySchedule`, which `iterations` is for.
    - aslr draws a rate for every update and tensor, the core's, rounded once to float32, through a call back to the
      host in every update. `observe(opt_state, cost)` after every epoch moves its centre.
    - seq1 to seq4 and plateau have the rate that `observe(opt_state, loss)` last led to; no call back.
    - A switch holds one of its schedules after the other, each a `PolicySchedule`, which `iterations` is for; each
      counts from 0, as long as `observe(opt_state, loss)` lets it hold.
    - tlr learns its rate from the updates that come in, K = max(1, floor(window * epoch_iterations)) at a time (or the
      policy's own `epoch` in the place of epoch_iterations). All of it is traced. With source "displacement" it adds up
      the directions that it scales, which is equation 10 without a subtraction: put it last, behind momentum and weight
      decay, and the new rate holds from the next update. With source "gradient" it adds up `grad`, which
      `optimizer.update(updates, state, params, grad=gradients)` passes on, or where none is given what comes in, and
      the new rate holds for the update at the window's end. Sums are float32, in rows, and double where 64-bit types
      are enabled; memory: two copies of the parameters, at least float32.

    Raises InputError for a wrong policy or setting, `iterations` with an adaptive policy, tlr without its epoch.
    """
    known = as_any_policy(policy, parameters)
    is_tlr = isinstance(known, AdaptivePolicy) and known.name == "tlr"
    if epoch_iterations is not None and not is_tlr:
        raise InputError("epoch_iterations is for tlr alone", got=f"{epoch_iterations} with {known!r}")
    if isinstance(known, SwitchOnPlateau):
        return scale_by_feedback(known, iterations)
    if not isinstance(known, AdaptivePolicy):
        return _scale_by_schedule(PolicySchedule(known, iterations))
    if iterations is not None:
        rule = f"iterations is the length of a table, and {known.name} observes the training"
        raise InputError(rule, got=iterations)
    if known.name != "tlr":
        return scale_by_feedback(known)
    if epoch_iterations is None and "epoch" not in known.parameters:
        raise InputError("tlr needs the length of an epoch", remedy="give epoch_iterations=, in updates")
    epoch = 1 if epoch_iterations is None else whole("epoch_iterations", epoch_iterations, 1)
    return scale_by_tlr(known, epoch)


def _scale_by_schedule(schedule: PolicySchedule) -> optax.GradientTransformationExtraArgs:
    """optax's own scaling, which would make integers 0 without a word."""
    scaling = optax.scale_by_learning_rate(schedule)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None, **_: Any
    ) -> tuple[optax.Updates, optax.OptState]:
        check_numbers(updates)
        products, state = scaling.update(jax.tree.map(jnp.asarray, updates), state, params)
        return products, state

    return optax.GradientTransformationExtraArgs(scaling.init, update)
