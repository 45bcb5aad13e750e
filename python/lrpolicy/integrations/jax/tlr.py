"""TLR as an optax transformation: the arithmetic of csrc/include/lrpolicy/tlr.hpp, traced for the device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrpolicy.errors import InputError
from lrpolicy.integrations.jax.feedback import check_state
from lrpolicy.integrations.jax.leaves import check_numbers, scaled
from lrpolicy.stateful import AdaptivePolicy, Tlr, TlrEvent

# Products are added up in rows of this length, then the rows' sums in rows, and so on: the error of a sum of float32
# grows with the rows' length and not with the tensor's.
_ROW = 128

_REAL = jnp.floating, "TLR takes real floating-point tensors"


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["updates", "windows", "rates", "squared", "first", "events", "total", "before", "restarts"],
    meta_fields=["policy"],
)
@dataclass(frozen=True)
class TlrTrace:
    """A pytree: what TLR remembers in an optimizer's state.

    `updates` were made in this window and `windows` are over (int32). `rates`, `squared`, `first` and `events` have one
    number, or with per_tensor one for each tensor, and mean what they mean in `lrpolicy.stateful.TlrState`; they are
    float32, or double where 64-bit types are enabled. `total` is the sum of this window's directions and `before` the
    mean of the window before, at least float32, like the parameters. Where the policy has `restart_below`, `restarts`
    says how often each rate has fallen below it (int32); elsewhere it is None.
    """

    policy: AdaptivePolicy
    updates: jax.Array
    windows: jax.Array
    rates: jax.Array
    squared: jax.Array
    first: jax.Array
    events: jax.Array
    total: Any
    before: Any
    restarts: jax.Array | None = None


def scale_by_tlr(policy: AdaptivePolicy, epoch_iterations: int) -> optax.GradientTransformationExtraArgs:
    """Updates times minus a rate that is trained along with the weights (see `scale_by_policy`).

    Raises InputError for variant "naive"; `init` raises it for tensors that are not real floating-point numbers and a
    base_lr outside of their range, `update` for the state or the gradients of others.
    """
    schedule = policy.schedule(epoch_iterations)
    assert isinstance(schedule, Tlr)
    if schedule.variant == "naive":
        remedy = "use another, or lrpolicy.stateful.Tlr in a loop of your own"
        raise InputError('variant "naive" needs a second gradient, which an optimizer has not', remedy=remedy)
    rule = _Rule(schedule)

    def init(params: optax.Params) -> TlrTrace:
        # No tensor at all is no error: optax.tree_map_params asks so, and a multi_transform for a label that none has.
        check_numbers(params, *_REAL)
        return rule.start(policy, len(jax.tree.leaves(params)), *(jax.tree.map(_empty_sum, params) for _ in range(2)))

    def update(
        updates: optax.Updates, state: TlrTrace, params: optax.Params | None = None, *, grad: Any = None, **_: Any
    ) -> tuple[optax.Updates, TlrTrace]:
        check_state(state, TlrTrace, policy)
        gradient = schedule.source == "gradient"
        updates = jax.tree.map(jnp.asarray, updates)
        directions = jax.tree.map(jnp.asarray, grad) if gradient and grad is not None else updates
        _check_alike(directions, state.total)
        _check_alike(updates, state.total)
        total = jax.tree.map(lambda sum_, leaf: sum_ + leaf.astype(sum_.dtype), state.total, directions)
        state = replace(state, total=total, updates=state.updates + 1)
        learned = jax.lax.cond(state.updates >= schedule.window_updates, rule.learn, lambda same: same, state)
        rates = (learned if gradient else state).rates
        each = rates if schedule.per_tensor else [rates[0]] * len(jax.tree.leaves(updates))
        return scaled(updates, each), learned

    return optax.GradientTransformationExtraArgs(init, update)


def _empty_sum(leaf: Any) -> jax.Array:
    return jnp.zeros_like(leaf, dtype=jnp.promote_types(jnp.asarray(leaf).dtype, jnp.float32))


def _check_alike(given: Any, kept: Any) -> None:
    """Raise InputError where the trees or shapes differ, naming the first tensor that does."""
    ours, theirs = jax.tree.structure(kept), jax.tree.structure(given)
    if str(ours) != str(theirs):
        raise InputError("TLR needs the tensors that its state was made for", got=f"{theirs}, not {ours}")
    for (path, leaf), other in zip(jax.tree_util.tree_flatten_with_path(kept)[0], jax.tree.leaves(given), strict=True):
        if leaf.shape != other.shape:
            place = jax.tree_util.keystr(path) or "the tensor"
            raise InputError(f"{place} has the shape {leaf.shape} in TLR's state", got=other.shape)
    check_numbers(given, *_REAL)


@dataclass(frozen=True)
class _Rule:
    schedule: Tlr

    @property
    def is_additive(self) -> bool:
        return self.schedule.eta is not None

    def start(self, policy: AdaptivePolicy, tensors: int, total: Any, before: Any) -> TlrTrace:
        """The state before the first update, no array twice. Raises InputError where float32 cannot hold base_lr."""
        number = jax.dtypes.canonicalize_dtype(jnp.float64)
        limits = np.finfo(number)
        if not float(limits.tiny) <= self.schedule.base_lr <= float(limits.max):
            raise InputError(f"base_lr must be a number that {number} holds", got=self.schedule.base_lr)
        count = tensors if self.schedule.per_tensor else 1
        updates, windows = (jnp.zeros((), jnp.int32) for _ in range(2))
        squared, first = (jnp.zeros(count, number) for _ in range(2))
        events, restarts = (jnp.zeros(count, jnp.int32) for _ in range(2))
        return TlrTrace(
            policy,
            updates,
            windows,
            jnp.full(count, self.schedule.base_lr, number),
            squared,
            first,
            events,
            total,
            before,
            restarts if self.schedule.restart_below else None,
        )

    def learn(self, state: TlrTrace) -> TlrTrace:
        """The state after a window: the rates, and a new window's beginning."""
        number = state.rates.dtype
        mean = jax.tree.map(lambda total: total / self.schedule.window_updates, state.total)
        pairs = list(zip(jax.tree.leaves(mean), jax.tree.leaves(state.before), strict=True))
        n = jnp.array([_dot(now, now, number) for now, _ in pairs], number)
        d = jnp.array([_dot(now, before, number) for now, before in pairs], number)
        if not self.schedule.per_tensor:
            n, d = n.sum(keepdims=True), d.sum(keepdims=True)
        fit = jnp.isfinite(n) & jnp.isfinite(d)
        wanted = jnp.where(fit, self._stepped(state.rates, d, n, state.squared), state.rates)
        limits = np.finfo(number)
        floor = self.schedule.min_lr if self.is_additive else max(self.schedule.min_lr, float(limits.tiny))
        rates = jnp.where(fit, jnp.clip(wanted, floor, min(self.schedule.max_lr, float(limits.max))), state.rates)
        first = jnp.where(fit & (state.first == 0), n, state.first)
        met = int(TlrEvent.AT_LIMIT) * (rates != wanted) + int(TlrEvent.DIVERGING) * (
            n > self.schedule.divergence * first
        )
        restarts = state.restarts
        if restarts is not None:
            fell = rates < self.schedule.restart_below
            rates, restarts = jnp.where(fell, self.schedule.base_lr, rates), restarts + fell
            met = jnp.where(fell, met & ~int(TlrEvent.AT_LIMIT) | int(TlrEvent.RESTARTED), met)
        return replace(
            state,
            updates=jnp.zeros_like(state.updates),
            windows=state.windows + 1,
            rates=rates,
            squared=jnp.where(jnp.isfinite(n), n, 0),
            first=first,
            events=jnp.where(fit, met, int(TlrEvent.NON_FINITE)).astype(jnp.int32),
            total=jax.tree.map(jnp.zeros_like, state.total),
            before=mean,
            restarts=restarts,
        )

    def _stepped(self, rates: jax.Array, d: jax.Array, n: jax.Array, m: jax.Array) -> jax.Array:
        """The new rates before limits; `before` is 0 in the first window, and so is d."""
        bound = self.schedule.bound
        if self.schedule.variant == "efficient":
            curvature = 4 * (n - d)
            factor = 1 + jnp.minimum(d / curvature, bound)
            still = (d == 0) | (n == 0)
        elif self.schedule.variant == "newton":
            curvature = m - d
            factor = jnp.minimum(m / curvature, 1 + bound)
            still = (d == 0) | (m == 0)
        else:
            assert self.schedule.eta is not None
            return rates + self.schedule.eta * d
        return rates * jnp.where(still, 1, jnp.where(curvature > 0, factor, 1 + bound))


def _dot(a: jax.Array, b: jax.Array, number: Any) -> jax.Array:
    """<a, b>, in rows: not jnp.vdot, which a GPU may compute with 10-bit mantissas."""
    wide = jnp.promote_types(a.dtype, number)
    terms = (a.astype(wide) * b.astype(wide)).ravel()
    while terms.size > _ROW:
        terms = jnp.pad(terms, (0, -terms.size % _ROW)).reshape(-1, _ROW).sum(axis=1)
    return terms.sum().astype(number)
