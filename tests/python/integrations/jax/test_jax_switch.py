"""SwitchOnPlateau in optax: the core's rates to the bit at any pace, under jit, scan and vmap, resumed, wrong input."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from lrpolicy.compositions import SwitchOnPlateau, SwitchState, warm_up  # noqa: E402
from lrpolicy.errors import InputError  # noqa: E402
from lrpolicy.integrations.jax import observe, scale_by_policy  # noqa: E402
from lrpolicy.policies import Policy  # noqa: E402
from lrpolicy.stateful import TrainLoss  # noqa: E402

jnp = jax.numpy
FIRST, SECOND = Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=3), Policy("exp", base_lr=0.05, gamma=0.9)
SWITCH = SwitchOnPlateau([warm_up(2) >> FIRST, SECOND, FIRST], [6, 9])
LOSSES = np.array([2.0, 1.5, 1.6, 1.6, np.nan, 1.2, 1.3, np.inf, 1.3, 1.3, 1.3, 1.3], np.float32)
PACE = 3  # updates between two losses


def core_rates(losses: np.ndarray = LOSSES) -> list[float]:
    state, found = SWITCH.init(), []
    for epoch, loss in enumerate(losses):
        found += [SWITCH.rate(state, t) for t in range(PACE * epoch, PACE * epoch + PACE)]
        state = SWITCH.update(state, TrainLoss(PACE * epoch + PACE, float(loss)))
    assert state.place == 2
    return np.array(found).astype(np.float32).tolist()


def epoch(optimizer: Any, state: Any, loss: Any) -> tuple[Any, list[Any]]:
    seen = []
    for _ in range(PACE):
        changes, state = optimizer.update({"a": jnp.ones(2), "b": jnp.ones(())}, state)
        seen.append(-changes["b"])
    return observe(state, loss), seen


@pytest.mark.parametrize("iterations", [None, 60], ids=["asked", "by table"])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_loop_has_the_cores_rates(compiled: bool, iterations: int | None) -> None:
    optimizer = scale_by_policy(SWITCH, iterations=iterations)
    run = jax.jit(epoch, static_argnums=0) if compiled else epoch
    state, seen = optimizer.init({"a": jnp.zeros(2), "b": jnp.zeros(())}), []
    for loss in LOSSES:
        state, rates = run(optimizer, state, loss)
        seen += [float(rate) for rate in rates]
    assert seen == core_rates()
    assert isinstance(state.value, SwitchState)
    assert (int(state.count), int(state.heard), state.value.place) == (PACE * len(LOSSES), len(LOSSES), 2)
    assert float(state.rate) == np.float32(SWITCH.rate(state.value, PACE * len(LOSSES)))


@pytest.mark.parametrize("iterations", [None, 60], ids=["asked", "by table"])
def test_a_scan_has_them_too_and_a_population_each_its_own(iterations: int | None) -> None:
    optimizer = scale_by_policy(SWITCH, iterations=iterations)

    def train(losses: Any) -> Any:
        return jax.lax.scan(lambda state, loss: epoch(optimizer, state, loss), optimizer.init(0.0), losses)[1]

    assert np.array(jax.jit(train)(LOSSES)).T.ravel().tolist() == core_rates()
    falling = np.linspace(3, 1, len(LOSSES), dtype=np.float32)
    both = np.array(jax.jit(jax.vmap(train))(np.stack([LOSSES, falling])))
    assert both[:, 0].T.ravel().tolist() == core_rates()
    unswitched = SWITCH.schedules[0].rates(range(PACE * len(LOSSES))).astype(np.float32)
    assert both[:, 1].T.ravel().tolist() == unswitched.tolist()


def test_a_resumed_training_goes_on_to_the_bit() -> None:
    optimizer = optax.chain(optax.identity(), scale_by_policy(SWITCH))
    state, seen = optimizer.init({"a": jnp.zeros(2), "b": jnp.zeros(())}), []
    for place, loss in enumerate(LOSSES):
        if place in (4, 8):
            leaves, shape = jax.tree.flatten(pickle.loads(pickle.dumps(state)))
            state = jax.tree.unflatten(shape, [jnp.asarray(np.asarray(leaf)) for leaf in leaves])
        state, rates = epoch(optimizer, state, float(loss))
        seen += [float(rate) for rate in rates]
    assert seen == core_rates()


def test_a_fresh_state_can_be_donated() -> None:
    optimizer = scale_by_policy(SWITCH)
    state = optimizer.init(0.0)
    _, after = jax.jit(optimizer.update, donate_argnums=1)(jnp.ones(()), state)
    assert state.words.is_deleted()
    assert after.value == SWITCH.init()


@dataclass
class Unhashable:
    """A schedule that is equal by value, and mutable."""

    base: float = 0.1

    def rate(self, t: int, /) -> float:
        return self.base

    def rates(self, ts: Any) -> Any:
        return np.full(np.shape(ts), self.base)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scale_by_policy(SWITCH, 10), "epoch_iterations is for tlr alone, got 10 with SwitchOnPlateau"),
        (lambda: scale_by_policy(SWITCH, base_lr=0.1), "parameters go with a policy's name"),
        (lambda: scale_by_policy(SWITCH, iterations=0), "iterations must be a whole number from 1"),
        (lambda: scale_by_policy(SwitchOnPlateau([Unhashable(), FIRST], [3])), "a schedule in it has none"),
        (
            lambda: scale_by_policy(SWITCH).update(1.0, optax.EmptyState()),
            "switch_on_plateau needs a state of its own, got a EmptyState",
        ),
        (
            lambda: scale_by_policy(SWITCH).update(1.0, scale_by_policy("seq3:base_lr=0.1").init(0.0)),
            'another policy than "SwitchOnPlateau.*got seq3:base_lr=0.1',
        ),
    ],
)
def test_wrong_input_gets_one_clear_line(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
