"""PolicySchedule as a citizen of optax: every policy under every transformation, resuming, copies, wrong input."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from lrpolicy.errors import InputError  # noqa: E402
from lrpolicy.integrations.jax import PolicySchedule  # noqa: E402
from lrpolicy.policies import POLICIES, Policy  # noqa: E402
from lrpolicy.sweeps import Sweep  # noqa: E402

jnp = jax.numpy
_VALUES: dict[str, Any] = {
    "base_lr": 0.01, "max_lr": 0.06, "gamma": 0.97, "power": 0.75, "stepsize": 7, "stepvalue": (10, 30), "max_iter": 60,
}  # fmt: skip
EVERY = [Policy(name, **{field: _VALUES[field] for field in info.parameters}) for name, info in POLICIES.items()]
TRI2 = Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=7)
COUNT = 80


def expected(policy: Policy, count: int = COUNT) -> list[float]:
    return policy.rates(range(count)).astype(np.float32).tolist()


@pytest.fixture(params=[None, COUNT], ids=["asking", "table"])
def iterations(request: pytest.FixtureRequest) -> int | None:
    return request.param


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: policy.name)
def test_every_policy_under_jit_vmap_and_scan(policy: Policy, iterations: int | None) -> None:
    schedule = PolicySchedule(policy, iterations)
    counts = jnp.arange(COUNT)
    traced = jax.jit(schedule)
    assert [float(traced(t)) for t in range(COUNT)] == expected(policy)
    assert [float(schedule(t)) for t in range(COUNT)] == expected(policy)
    assert jax.vmap(schedule)(counts).tolist() == expected(policy)
    assert jax.jit(jax.vmap(jax.vmap(schedule)))(counts.reshape(4, -1)).ravel().tolist() == expected(policy)
    assert jax.lax.scan(lambda t, _: (t + 1, schedule(t)), 0, None, COUNT)[1].tolist() == expected(policy)
    assert traced(3).dtype == schedule(3).dtype == jnp.float32


def test_rates_are_float32_with_64_bit_types_too(iterations: int | None) -> None:
    with jax.enable_x64(True):
        rates = jax.jit(jax.vmap(PolicySchedule(TRI2, iterations)))(jnp.arange(COUNT, dtype=jnp.int64))
    assert rates.dtype == jnp.float32
    assert rates.tolist() == expected(TRI2)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int32"])
def test_any_type_of_count_will_do(dtype: str, iterations: int | None) -> None:
    counts = jnp.arange(COUNT, dtype=dtype)
    for schedule in (PolicySchedule(TRI2, iterations), jax.jit(PolicySchedule(TRI2, iterations))):
        assert schedule(counts).tolist() == expected(TRI2)


def test_counts_outside(iterations: int | None) -> None:
    schedule = PolicySchedule(TRI2, iterations)
    far = 2**31 - 1
    beyond = np.float32(TRI2.rate(far if iterations is None else COUNT - 1))
    for ask in (schedule, jax.jit(schedule)):
        assert ask(jnp.int32(-1)) == ask(jnp.int32(-(2**31))) == ask(0)
        assert ask(jnp.int32(far)) == beyond
    assert jax.jit(schedule)(jnp.uint32(2**32 - 1)) == schedule(2**32 - 1)
    assert schedule(2**60) == schedule(2**50)


def test_an_update_of_a_compiled_optimizer_has_the_rate(iterations: int | None) -> None:
    optimizer = optax.sgd(PolicySchedule(TRI2, iterations))
    weights = {"w": jnp.zeros(3), "b": jnp.zeros(())}
    gradient = jax.tree.map(jnp.ones_like, weights)
    state, update, seen = optimizer.init(weights), jax.jit(optimizer.update), []
    for t in range(COUNT):
        if t == COUNT // 2:  # a checkpoint
            state = pickle.loads(pickle.dumps(state))
        changes, state = update(gradient, state)
        assert (changes["w"] == changes["b"]).all()
        seen.append(-float(changes["b"]))
    assert seen == expected(TRI2)


def test_it_stands_behind_a_warm_up() -> None:
    """optax.join_schedules asks every schedule at every count, below its own start too."""
    warm_up = optax.linear_schedule(0.0, 0.01, 10)
    for iterations in (None, COUNT):
        joined = optax.join_schedules([warm_up, PolicySchedule(TRI2, iterations)], [10])
        rates = jax.jit(jax.vmap(joined))(jnp.arange(COUNT))
        assert rates[10:].tolist() == expected(TRI2, COUNT - 10)


def test_a_hyperparameter_shows_the_rate() -> None:
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=PolicySchedule(TRI2))
    state = optimizer.init(jnp.zeros(2))
    for t in range(5):
        _, state = jax.jit(optimizer.update)(jnp.ones(2), state)
        assert float(state.hyperparams["learning_rate"]) == expected(TRI2)[t]


def test_every_way_to_name_a_policy_is_the_same_value(iterations: int | None) -> None:
    parameters = {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 7}
    given = [TRI2, TRI2.to_text(), TRI2.to_dict()]
    schedules = {PolicySchedule(each, iterations) for each in given}
    schedules |= {PolicySchedule("TRI2", iterations, **parameters), PolicySchedule("tri2", iterations, **parameters)}
    schedules |= {pickle.loads(pickle.dumps(each)) for each in schedules}
    assert len(schedules) == 1
    assert schedules != {PolicySchedule(TRI2, 7)}
    assert "Policy('tri2', base_lr=0.01" in repr(schedules.pop())


def test_any_schedule_will_do() -> None:
    sweep = Sweep(1e-4, 1.0, 50, "log")
    rates = jax.jit(jax.vmap(PolicySchedule(sweep)))(jnp.arange(50))
    assert rates.tolist() == sweep.rates(range(50)).astype(np.float32).tolist()


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("tri3", {}, 'lr_policy "tri3" is unknown'),
        ("tri2", {"base_lr": 0.1, "max_lr": 1.0}, "stepsize"),
        ("tri2", {**TRI2.parameters, "gamma": 0.1}, 'policy "tri2" takes no gamma; it takes base_lr'),
        ("fixed:base_lr=x", {}, "base_lr"),
        (TRI2, {"base_lr": 0.1}, "parameters go with a policy's name"),
        ("seq3", {"base_lr": 0.1}, '"seq3" observes the training: .*; use scale_by_policy'),
        (3, {}, "a policy is a Policy"),
        (TRI2, {"iterations": 0}, "iterations must be a whole number from 1"),
        (TRI2, {"iterations": 1.5}, "iterations must be a whole number"),
    ],
)
def test_wrong_input_gets_one_clear_line(policy: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        PolicySchedule(policy, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [0.5, True, jnp.float32(3)])
def test_a_count_is_whole(count: object, iterations: int | None) -> None:
    for ask in (PolicySchedule(TRI2, iterations), jax.jit(PolicySchedule(TRI2, iterations))):
        with pytest.raises(InputError, match="whole numbers, got a count of"):
            ask(count)
