"""ASLR, seq1 to seq4 and plateau in optax: the core's rates to the bit, under jit, resumed, and wrong input."""

from __future__ import annotations

import csv
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from lrpolicy.compositions import warm_up  # noqa: E402
from lrpolicy.errors import InputError  # noqa: E402
from lrpolicy.integrations.jax import FeedbackState, PolicySchedule, observe, scale_by_policy  # noqa: E402
from lrpolicy.policies import Policy  # noqa: E402
from lrpolicy.stateful import AdaptivePolicy, Plateau, TrainLoss  # noqa: E402

jnp = jax.numpy
DATA = Path(__file__).resolve().parents[3] / "data"
WEIGHTS = {"b": jnp.zeros(()), "w": [jnp.zeros(3), jnp.zeros((2, 2))], "z": jnp.zeros(5)}
ONES = jax.tree.map(jnp.ones_like, WEIGHTS)
LOSSES = [2.0, 1.5, 1.6, 1.6, math.nan, 1.2, 1.3, math.inf, 1.3, 1.30001, 0.9, 1.0]
SEQUENCES = [
    f"seq{n}:base_lr=0.1,strategy={s}" for n in (1, 2, 3, 4) for s in ("by_epoch", "by_cutoff", "by_oscillate")
]
PLATEAU = "plateau:base_lr=0.1,gamma=0.5,plateau_winsize=2,plateau_winsize=1"
ASLR = "aslr:base_lr=0.1,seed=18446744073709551615"


def rates(changes: Any) -> list[float]:
    """The rate of each tensor, where the gradient was ones."""
    leaves = [-np.asarray(leaf) for leaf in jax.tree.leaves(changes)]
    assert all((leaf == leaf.flat[0]).all() for leaf in leaves)
    return [float(leaf.flat[0]) for leaf in leaves]


def core_rates(text: str, losses: list[float]) -> list[float]:
    """The rate before the first loss and after each, float32."""
    schedule: Any = AdaptivePolicy.parse(text).schedule()
    state = schedule.init()
    found = [schedule.rate(state)]
    for t, loss in enumerate(losses):
        state = schedule.update(state, TrainLoss(t, loss) if isinstance(schedule, Plateau) else loss)
        found.append(schedule.rate(state))
    return np.array(found).astype(np.float32).tolist()


@pytest.mark.parametrize("text", [*SEQUENCES, PLATEAU])
@pytest.mark.parametrize("traced", [False, True], ids=["outside", "under jit"])
def test_losses_lead_to_the_cores_rates(text: str, traced: bool) -> None:
    optimizer = scale_by_policy(text)
    hear, update = (jax.jit(observe) if traced else observe), jax.jit(optimizer.update)
    state, seen = optimizer.init(WEIGHTS), []
    losses = [float(np.float32(loss)) for loss in LOSSES] if traced else LOSSES
    for loss in [None, *losses]:
        state = state if loss is None else hear(state, loss)
        changes, state = update(ONES, state)
        assert len(set(rates(changes))) == 1
        seen.append(rates(changes)[0])
    assert seen == core_rates(text, losses)
    assert int(state.count) == len(LOSSES) + 1
    assert int(state.heard) == len(LOSSES)
    assert len(set(seen)) > 2


@pytest.mark.parametrize("compiled", [False, True])
def test_aslr_draws_the_cores_rates(compiled: bool) -> None:
    policy = AdaptivePolicy.parse(ASLR)
    schedule: Any = policy.schedule()
    optimizer = scale_by_policy(policy)
    update = jax.jit(optimizer.update) if compiled else optimizer.update
    state, mirror, t = optimizer.init(WEIGHTS), schedule.init(), 0
    for loss in LOSSES:
        for _ in range(3):
            changes, state = update(ONES, state)
            assert rates(changes) == schedule.rates(mirror, t, 4).astype(np.float32).tolist()
            t += 1
        state, mirror = observe(state, loss), schedule.update(mirror, loss)
        assert state.value == mirror
        assert float(state.rate) == np.float32(schedule.center(mirror))


def test_aslr_draws_the_answer_sheet() -> None:
    """The sheet that the C++ test reads too; its counts are whole 64-bit numbers, ours are int32."""
    with (DATA / "aslr_draw_known_answers.tsv").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if int(row["iteration"]) < 2**31]
    assert len(rows) > 100
    widest = max(int(row["tensor"]) for row in rows if int(row["tensor"]) < 1000)
    tensors = [jnp.ones(())] * (widest + 1)
    for row in rows:
        if int(row["tensor"]) > widest:
            continue
        optimizer = scale_by_policy("aslr", base_lr=float(row["base_lr"]), seed=int(row["seed"]))
        state = optimizer.init(tensors)
        state = FeedbackState(state.policy, jnp.int32(int(row["iteration"])), state.heard, state.rate, state.words)
        changes, _ = optimizer.update(tensors, state)
        assert -float(changes[int(row["tensor"])]) == np.float32(float(row["rate"]))


@pytest.mark.parametrize("text", [ASLR, SEQUENCES[1], PLATEAU, "tri2:base_lr=0.01,max_lr=0.06,stepsize=3"])
def test_the_rates_of_a_scan_are_those_of_a_loop(text: str) -> None:
    optimizer = optax.chain(optax.identity(), scale_by_policy(text))

    def step(state: Any, loss: Any) -> Any:
        changes, state = optimizer.update(ONES, state)
        return state if text.startswith("tri2") else observe(state, loss), changes

    losses = np.array(LOSSES, np.float32)
    _, every = jax.lax.scan(step, optimizer.init(ONES), losses)
    state = optimizer.init(ONES)
    for t, loss in enumerate(losses):
        state, changes = step(state, loss)
        assert rates(jax.tree.map(lambda leaf, t=t: leaf[t], every)) == rates(changes)


def test_members_of_a_population_are_vmapped() -> None:
    optimizer = scale_by_policy(ASLR)
    members = jnp.arange(3.0)
    states = jax.vmap(lambda _: optimizer.init(WEIGHTS))(members)
    states = jax.vmap(observe)(states, jnp.array([1.0, 1.0, 1.0]))
    states = jax.vmap(observe)(states, jnp.array([2.0, 0.5, 2.0]))
    _, after = jax.jit(jax.vmap(lambda state: optimizer.update(ONES, state)))(states)
    assert after.rate.tolist() == [np.float32(0.2), np.float32(0.1), np.float32(0.2)]


@pytest.mark.parametrize("text", [ASLR, *SEQUENCES[::4], PLATEAU])
def test_a_resumed_training_goes_on_to_the_bit(text: str) -> None:
    optimizer = optax.chain(optax.add_decayed_weights(1e-3), scale_by_policy(text))

    def run(state: Any, losses: list[float]) -> tuple[Any, list[list[float]]]:
        seen = []
        for loss in losses:
            changes, state = jax.jit(optimizer.update)(ONES, state, WEIGHTS)
            seen.append(rates(changes))
            state = observe(state, loss)
        return state, seen

    _, whole = run(optimizer.init(WEIGHTS), LOSSES)
    half, first = run(optimizer.init(WEIGHTS), LOSSES[:5])
    leaves, shape = jax.tree.flatten(pickle.loads(pickle.dumps(half)))
    restored = jax.tree.unflatten(shape, [jnp.asarray(np.asarray(leaf)) for leaf in leaves])  # as checkpoints do
    assert first + run(restored, LOSSES[5:])[1] == whole


def test_shorter_types_keep_theirs_and_are_rounded_once() -> None:
    gradient = {"h": jnp.full(2, 3.0, jnp.bfloat16), "f": jnp.full(2, 3.0, jnp.float16), "w": jnp.full(2, 3.0)}
    for text in (PLATEAU, ASLR, "fixed:base_lr=0.1"):
        optimizer = scale_by_policy(text)
        changes, state = optimizer.update(gradient, optimizer.init(gradient))
        assert [leaf.dtype for leaf in jax.tree.leaves(changes)] == [jnp.float16, jnp.bfloat16, jnp.float32]
    del state


def test_a_policy_of_the_iteration_is_the_schedule() -> None:
    policy = Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=3)
    optimizer = scale_by_policy(policy, iterations=20)
    state = optimizer.init(WEIGHTS)
    for t in range(20):
        changes, state = jax.jit(optimizer.update)(ONES, state, value=3.0)
        assert set(rates(changes)) == {np.float32(policy.rate(t))}


def test_a_composition_is_a_schedule_too() -> None:
    chain = warm_up(5) >> Policy("fixed", base_lr=0.1)
    expected = chain.rates(range(12)).astype(np.float32).tolist()
    for schedule in (PolicySchedule(chain), PolicySchedule(chain, 12)):
        assert jax.jit(jax.vmap(schedule))(jnp.arange(12)).tolist() == expected
        assert [float(schedule(t)) for t in range(12)] == expected


def test_a_policy_reaches_through_masks_and_wrappers() -> None:
    mask = {"b": False, "w": True, "z": True}
    optimizer = optax.chain(optax.masked(scale_by_policy(ASLR), mask), optax.identity())
    changes, state = optimizer.update(ONES, optimizer.init(WEIGHTS))
    drawn = AdaptivePolicy.parse(ASLR).schedule()
    assert rates(changes)[0] == -1.0
    assert rates(changes)[1:] == drawn.rates(drawn.init(), 0, 3).astype(np.float32).tolist()
    assert observe(state, 1.0) is not None


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("seq9", {"base_lr": 0.1}, 'lr_policy "seq9" is unknown'),
        ("seq3", {"base_lr": 0.1, "gamma": 2.0}, 'policy "seq3" has no parameter "gamma"'),
        ("aslr:base_lr=-1", {}, "base_lr"),
        ("aslr:base_lr=1", {"seed": 3}, "parameters go with a policy's name"),
        (PLATEAU, {"iterations": 10}, "iterations is the length of a table, and plateau observes the training, got 10"),
        ("fixed:base_lr=1", {"epoch_iterations": 10}, "epoch_iterations is for tlr alone"),
        (PLATEAU, {"restart_below": 0.01}, "parameters go with a policy's name"),
        ("seq3", {"base_lr": 0.1, "restart_below": 0.01}, 'policy "seq3" has no parameter "restart_below"'),
        ("tlr:base_lr=1", {}, "tlr needs the length of an epoch; give epoch_iterations="),
        (None, {}, "a policy is"),
    ],
)
def test_wrong_input_gets_one_clear_line(policy: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        scale_by_policy(policy, **options)
    assert "\n" not in str(caught.value)


def test_a_state_of_another_policy_is_refused() -> None:
    optimizer = scale_by_policy(PLATEAU)
    with pytest.raises(InputError, match='the state of another policy than "plateau:'):
        jax.jit(optimizer.update)(ONES, scale_by_policy("seq3:base_lr=0.1").init(WEIGHTS))
    with pytest.raises(InputError, match="plateau needs a state of its own, got a EmptyState"):
        optimizer.update(ONES, optax.EmptyState())
    with pytest.raises(InputError, match="no policy in this state observes a loss, got a TraceState"):
        observe(optax.trace(0.9).init(WEIGHTS), 1.0)


@pytest.mark.parametrize("loss", ["high", None, [1.0, 2.0], jnp.ones(2)])
def test_a_loss_is_a_number(loss: object) -> None:
    with pytest.raises(InputError, match="a loss is a single number"):
        observe(scale_by_policy(ASLR).init(WEIGHTS), loss)


@pytest.mark.filterwarnings("ignore:.*callback")
def test_a_truncated_state_is_refused() -> None:
    state = scale_by_policy(PLATEAU).init(WEIGHTS)
    with pytest.raises(InputError, match="this is no state of plateau, got 4 words"):
        observe(FeedbackState(state.policy, state.count, state.heard, state.rate, state.words[:4]), 1.0)
