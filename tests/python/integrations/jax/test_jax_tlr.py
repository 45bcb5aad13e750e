"""TLR in optax: against the core's machine and PyTorch's adapter, under jit and scan, resumed, and wrong input."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from lrpolicy.errors import InputError  # noqa: E402
from lrpolicy.integrations.jax import TlrTrace, observe, scale_by_policy  # noqa: E402
from lrpolicy.integrations.jax.tlr import _dot  # noqa: E402
from lrpolicy.stateful import AdaptivePolicy, Tlr, TlrWindow  # noqa: E402

jnp = jax.numpy
DATA = Path(__file__).resolve().parents[3] / "data"
CURVATURE = {"b": np.linspace(0.1, 2.0, 5), "w": np.geomspace(0.05, 3.0, 12).reshape(3, 4)}
SETTINGS = [
    ("efficient", "displacement", {}),
    ("efficient", "gradient", {}),
    ("newton", "gradient", {}),
    ("newton", "displacement", {"max_lr": 0.3}),
    ("fixed_eta", "gradient", {"eta": 1e-3}),
    ("fixed_eta", "displacement", {"eta": 1e-3, "min_lr": 1e-3}),
    ("hypergradient", "gradient", {"eta": 1e-4}),
]


def policy_of(variant: str, source: str, per_tensor: bool, more: dict[str, Any]) -> AdaptivePolicy:
    settings = {"variant": variant, "source": source, "per_tensor": per_tensor, "window": 0.25, "epoch": 12}
    return AdaptivePolicy("tlr", base_lr=0.02, **settings, **more)


def noise(t: int) -> dict[str, Any]:
    generator = np.random.default_rng(t)
    return {name: 0.1 * generator.standard_normal(value.shape) for name, value in CURVATURE.items()}


def in_numpy(policy: AdaptivePolicy, count: int, momentum: float) -> list[list[float]]:
    """Noisy SGD with momentum in double with the core's machine; the rates after each update."""
    schedule: Any = policy.schedule(lr_mult=(1.0, 1.0))
    names, state = list(CURVATURE), schedule.init()
    weights = {name: np.ones_like(value) for name, value in CURVATURE.items()}
    velocity = {name: np.zeros_like(value) for name, value in CURVATURE.items()}
    anchor, before = dict(weights), dict(velocity)
    sums, found = dict(velocity), []

    def learned(now: dict[str, Any]) -> Any:
        gg, gp = ([float((now[n] * other[n]).sum()) for n in names] for other in (now, before))
        return schedule.update(state, TlrWindow(gg, gp))

    for t in range(count):
        drawn = noise(t)
        gradient = {n: CURVATURE[n] * weights[n] + drawn[n] for n in names}
        velocity = {n: momentum * velocity[n] + gradient[n] for n in names}
        sums = {n: sums[n] + gradient[n] for n in names}
        if schedule.source == "gradient" and schedule.is_due(t):
            state, before, sums = learned(sums), sums, {n: np.zeros_like(sums[n]) for n in names}
        weights = {n: weights[n] - schedule.rate(state, t, i) * velocity[n] for i, n in enumerate(names)}
        if schedule.source == "displacement" and schedule.is_due(t):
            moved = {n: anchor[n] - weights[n] for n in names}
            state, before, anchor = learned(moved), moved, dict(weights)
        found.append(list(state.rates))
    return found


def stepper(optimizer: Any) -> Callable[..., Any]:
    def step(carry: Any, drawn: Any) -> Any:
        weights, state = carry
        gradient = jax.tree.map(lambda c, w, n: c.astype(w.dtype) * w + n.astype(w.dtype), CURVATURE, weights, drawn)
        changes, state = optimizer.update(gradient, state, weights, grad=gradient)
        return (optax.apply_updates(weights, changes), state), state[-1].rates

    return step


def in_optax(policy: AdaptivePolicy, count: int, momentum: float) -> list[list[float]]:
    optimizer = optax.chain(optax.trace(momentum), scale_by_policy(policy))
    weights = jax.tree.map(lambda c: jnp.ones(c.shape), CURVATURE)
    drawn = jax.tree.map(lambda *each: np.stack(each), *map(noise, range(count)))
    _, rates = jax.lax.scan(stepper(optimizer), (weights, optimizer.init(weights)), drawn)
    return rates.tolist()


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("per_tensor", [False, True], ids=["one rate", "per tensor"])
@pytest.mark.parametrize(("variant", "source", "more"), SETTINGS, ids=str)
def test_a_training_has_the_rates_of_the_cores_machine(
    variant: str, source: str, more: dict[str, Any], per_tensor: bool, momentum: float
) -> None:
    """60 updates, 20 windows: within 2e-6 of each rate in float32, and 1e-13 where 64-bit types are enabled."""
    policy = policy_of(variant, source, per_tensor, more)
    core = in_numpy(policy, 60, momentum)
    assert len({tuple(rates) for rates in core}) >= 15
    np.testing.assert_allclose(in_optax(policy, 60, momentum), core, rtol=2e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(in_optax(policy, 60, momentum), core, rtol=1e-13)


@pytest.mark.parametrize("source", ["displacement", "gradient"])
@pytest.mark.parametrize("per_tensor", [False, True], ids=["one rate", "per tensor"])
def test_a_training_restarts_where_the_cores_machine_does(per_tensor: bool, source: str) -> None:
    """120 updates from a rate of 0.5, which the noise lowers: within 2e-6 in float32 and 1e-13 with 64-bit types."""
    settings = {"source": source, "per_tensor": per_tensor, "window": 0.25, "epoch": 12}
    policy = AdaptivePolicy("tlr", base_lr=0.5, restart_below=0.4, **settings)
    core = in_numpy(policy, 120, 0.0)
    falls = (np.diff(np.array(core), axis=0) > 0.04) & (np.array(core)[1:] == 0.5)
    assert (falls.sum(axis=0) >= 5).all()
    assert np.min(core) >= 0.4
    np.testing.assert_allclose(in_optax(policy, 120, 0.0), core, rtol=2e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(in_optax(policy, 120, 0.0), core, rtol=1e-13)


@pytest.mark.parametrize("below", [0.0, 0.05])
def test_a_fresh_state_can_be_donated(below: float) -> None:
    """No buffer stands in it twice, which XLA would refuse."""
    optimizer = scale_by_policy("tlr", 3, base_lr=0.1, restart_below=below)
    state = optimizer.init({"w": jnp.ones(3)})
    changes, after = jax.jit(optimizer.update, donate_argnums=1)({"w": jnp.ones(3)}, state)
    assert state.rates.is_deleted()
    assert changes["w"].tolist() == [-np.float32(0.1)] * 3
    assert int(after.updates) in (0, 1)


@pytest.mark.parametrize("per_tensor", [False, True], ids=["one rate", "per tensor"])
def test_a_training_has_the_rates_of_the_pytorch_adapter(per_tensor: bool) -> None:
    torch = pytest.importorskip("torch")
    from lrpolicy.integrations.torch import TLR

    weights = {n: torch.ones(value.shape, dtype=torch.float64, requires_grad=True) for n, value in CURVATURE.items()}
    optimizer = torch.optim.SGD(list(weights.values()), lr=0.02, momentum=0.8)
    scheduler = TLR(optimizer, 12, window=0.25, per_tensor=per_tensor)
    theirs = []
    for t in range(60):
        for name, weight in weights.items():
            weight.grad = torch.from_numpy(CURVATURE[name] * weight.detach().numpy() + noise(t)[name])
        optimizer.step()
        theirs.append(list(scheduler.state.rates))
    with jax.enable_x64(True):
        ours = in_optax(policy_of("efficient", "displacement", per_tensor, {}), 60, 0.8)
    np.testing.assert_allclose(ours, theirs, rtol=1e-13)


def sheet() -> list[dict[str, str]]:
    with (DATA / "tlr_known_answers.tsv").open() as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["variant"] != "naive"]


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "double"])
def test_steps_are_those_of_the_answer_sheet(wide: bool) -> None:
    """One step from each row's own state, given its d and n: the sheet's rate to 5e-7, and 1e-14 in double."""
    rows, checked = sheet(), 0
    state: Any = None
    for row in rows:
        numbers = {key: float(value) for key, value in (word.split("=") for word in row["settings"].split())}
        core = Tlr(variant=row["variant"], source=row["source"], **numbers, lr_mult=[1, 2, 0, 0.5], divergence=1e300)
        before = state = core.init() if row["window"] == "0" else state
        gg, gp = ([float(cell) for cell in row[name].split(",")] for name in ("gg", "gp"))
        state = core.update(state, TlrWindow(gg, gp, int(row["updates"])))
        if not all(np.isfinite(gg + gp)) or any(state.events):
            continue
        with jax.enable_x64(wide):
            checked += _check_step(core, before, state, np.array(gg), np.array(gp), wide)
    assert checked > 60


def _check_step(core: Tlr, before: Any, after: Any, gg: Any, gp: Any, wide: bool) -> int:
    from lrpolicy.integrations.jax.tlr import _Rule

    mult, learn = np.array(core.lr_mult), np.array(core.lr_mult) > 0
    weight = mult[learn] if core.source == "gradient" else 1 / mult[learn]
    gg, gp = gg[learn] * weight, gp[learn] * weight * (before.windows > 0)
    held = [np.array(values) for values in (before.rates, before.scales, before.squared, after.rates, after.scales)]
    if core.per_tensor:
        rates, scales, squared, expected, scale = (values[learn] for values in held)
    else:
        gg, gp = gg.sum(keepdims=True), gp.sum(keepdims=True)
        rates, scales, squared, expected, scale = held
    n = gg / scale / scale
    d = np.divide(gp / scale, scales, out=np.zeros_like(gp), where=scales > 0)
    number = jnp.float64 if wide else jnp.float32
    stepped = _Rule(core)._stepped(*(jnp.asarray(values, number) for values in (rates, d, n, squared)))
    np.testing.assert_allclose(stepped, expected, rtol=1e-14 if wide else 5e-7)
    return 1


@pytest.mark.parametrize("size", [1, 100, 129, 70_000, 3_000_000])
def test_sums_of_float32_are_accurate_whatever_the_length(size: int) -> None:
    a, b = np.random.default_rng(size).uniform(0.5, 1.5, (2, size)).astype(np.float32)
    exact = float(a.astype(float) @ b.astype(float))
    assert float(jax.jit(_dot, static_argnums=2)(a, b, jnp.float32)) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("below", [0.0, 0.4])
@pytest.mark.parametrize("source", ["displacement", "gradient"])
def test_a_resumed_training_goes_on_to_the_bit(source: str, below: float) -> None:
    """In the middle of a window, through a pickle and through plain arrays; with restarts before and after it."""
    settings = {"source": source, "per_tensor": True, "window": 0.25, "epoch": 12, "restart_below": below}
    optimizer = optax.chain(optax.identity(), scale_by_policy("tlr", base_lr=0.5, **settings))
    step = jax.jit(stepper(optimizer))
    weights = jax.tree.map(lambda c: jnp.ones(c.shape), CURVATURE)

    def run(carry: Any, start: int, stop: int) -> tuple[Any, list[list[float]]]:
        found = []
        for t in range(start, stop):
            carry, rates = step(carry, noise(t))
            found.append(rates.tolist())
        return carry, found

    start = weights, optimizer.init(weights)
    whole, every = run(start, 0, 64)
    half, first = run(start, 0, 40)
    assert int(half[1][-1].updates) == 1
    leaves, shape = jax.tree.flatten(pickle.loads(pickle.dumps(half)))
    restored = jax.tree.unflatten(shape, [jnp.asarray(np.asarray(leaf)) for leaf in leaves])
    end, second = run(restored, 40, 64)
    assert first + second == every
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), end, whole))
    if below:
        before, after = half[1][-1].restarts, whole[1][-1].restarts
        assert (before >= 1).all()
        assert (after > before).all()


def test_a_restart_is_an_event() -> None:
    optimizer = scale_by_policy("tlr", 1, base_lr=0.1, min_lr=0.088, restart_below=0.09)
    state = optimizer.init(jnp.ones(2))
    for t, expected in enumerate([0, 8, 8]):
        _, state = optimizer.update(jnp.full(2, (-1.0) ** t), state)
        assert state.events.tolist() == [expected]


def test_what_is_not_finite_leaves_the_rate_and_is_an_event() -> None:
    optimizer = scale_by_policy("tlr", 1, base_lr=0.1, per_tensor=True)
    weights = {"a": jnp.ones(3), "b": jnp.ones(2)}
    state = optimizer.init(weights)
    for value in (1.0, np.nan, 1.0, 1.0):
        before = state.rates
        _, state = jax.jit(optimizer.update)({"a": jnp.full(3, value), "b": jnp.ones(2)}, state)
        assert np.isfinite(state.rates).all()
        if not np.isfinite(value):
            assert state.rates[0] == before[0]
            assert state.events.tolist() == [1, 0]
    assert state.events.tolist() == [0, 0]
    assert state.rates[1] > state.rates[0] > np.float32(0.1)


def test_limits_and_divergence_are_events() -> None:
    optimizer = scale_by_policy("tlr", 1, base_lr=0.1, max_lr=0.11, divergence=10.0)
    state = optimizer.init(jnp.ones(2))
    _, state = optimizer.update(jnp.ones(2), state)
    _, state = optimizer.update(jnp.ones(2), state)
    assert state.rates.tolist() == [np.float32(0.11)]
    assert state.events.tolist() == [2]
    _, state = optimizer.update(jnp.full(2, 10.0), state)
    assert state.events.tolist()[0] & 4


def test_bfloat16_is_added_up_in_float32_and_kept() -> None:
    optimizer = scale_by_policy("tlr", 4, base_lr=0.1, window=1.0)
    weights = {"w": jnp.ones(3, jnp.bfloat16)}
    state = optimizer.init(weights)
    assert state.total["w"].dtype == jnp.float32
    for _ in range(5):
        changes, state = optimizer.update({"w": jnp.full(3, 1 / 256, jnp.bfloat16)}, state)
    assert changes["w"].dtype == jnp.bfloat16
    assert float(state.before["w"][0]) == 1 / 256


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "naive", "source": "gradient", "eta": 0.1}, 'variant "naive" needs a second gradient'),
        ({"variant": "efficent"}, 'variant "efficent" is unknown'),
        ({"variant": "fixed_eta", "source": "gradient"}, "needs eta"),
        ({"window": 2.0}, r"must lie in \(0, 1\]"),
        ({"gamma": 2.0}, 'policy "tlr" has no parameter "gamma"'),
        ({"restart_below": 0.1}, "restart_below must lie between min_lr and base_lr.*got 0.1 with 0 and 0.1"),
        ({"restart_below": "low"}, "restart_below must be a number"),
        ({"epoch_iterations": 0}, "epoch_iterations must be a whole number from 1"),
    ],
)
def test_wrong_settings_get_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        scale_by_policy("tlr", **{"base_lr": 0.1, "epoch_iterations": 10} | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "policy",
    ["tri:base_lr=0.1,max_lr=0.3,stepsize=5", "plateau:base_lr=0.1,gamma=0.5,plateau_winsize=3", "aslr:base_lr=0.1"],
)
def test_integers_are_refused_and_python_numbers_are_scaled(policy: str) -> None:
    """A rate times an integer would be an update of 0, silently."""
    optimizer = scale_by_policy(policy)
    weights = {"w": 1.0, "n": jnp.ones(2)}
    state = optimizer.init(weights)
    with pytest.raises(InputError, match=r"\['n'\] is int32; a rate scales floating-point tensors"):
        optimizer.update({"w": 1.0, "n": jnp.ones(2, jnp.int32)}, state)
    updates, _ = optimizer.update(weights, state)
    assert all(np.all(np.asarray(update) < 0) for update in jax.tree.leaves(updates))


def test_tlr_scales_python_numbers() -> None:
    optimizer = scale_by_policy("tlr", 10, base_lr=0.1)
    updates, _ = optimizer.update({"w": 2.0}, optimizer.init({"w": 1.0}))
    np.testing.assert_allclose(updates["w"], -0.2, rtol=1e-7)


@pytest.mark.parametrize("per_tensor", [False, True])
def test_optax_finds_the_parameters_in_a_state(per_tensor: bool) -> None:
    """It looks for them with a tree that has no tensor."""
    optimizer = optax.chain(optax.trace(0.9), scale_by_policy("tlr", 10, base_lr=0.1, per_tensor=per_tensor))
    state = optax.tree_utils.tree_map_params(optimizer, lambda leaf: leaf + 7, optimizer.init({"w": jnp.ones(3)}))[1]
    assert (state.total["w"].tolist(), state.before["w"].tolist()) == ([7, 7, 7], [7, 7, 7])
    np.testing.assert_allclose(state.rates, 0.1, rtol=1e-7)


@pytest.mark.parametrize("per_tensor", [False, True])
def test_a_label_that_no_tensor_has_takes_no_part(per_tensor: bool) -> None:
    tlr = scale_by_policy("tlr", 2, base_lr=0.1, window=0.5, per_tensor=per_tensor)
    optimizer = optax.multi_transform({"sgd": optax.sgd(0.5), "tlr": tlr}, {"w": "sgd"})
    state = optimizer.init({"w": jnp.ones(3)})
    for _ in range(3):
        updates, state = jax.jit(optimizer.update)({"w": jnp.ones(3)}, state)
    assert updates["w"].tolist() == [-0.5, -0.5, -0.5]


def test_tensors_that_do_not_fit_are_named() -> None:
    optimizer = scale_by_policy("tlr", 10, base_lr=0.1)
    state = optimizer.init({"w": jnp.ones(3)})
    with pytest.raises(InputError, match=r"\['n'\] is int32; TLR takes real floating-point tensors"):
        optimizer.init({"w": jnp.ones(3), "n": jnp.ones(2, jnp.int32)})
    with pytest.raises(InputError, match=r"\['w'\] is int32; TLR takes real floating-point tensors"):
        optimizer.update({"w": jnp.ones(3, jnp.int32)}, state)
    with pytest.raises(InputError, match=r"\['w'\] has the shape \(3,\) in TLR's state, got \(4,\)"):
        optimizer.update({"w": jnp.ones(4)}, state)
    with pytest.raises(InputError, match="TLR needs the tensors that its state was made for"):
        optimizer.update({"v": jnp.ones(3)}, state)
    with pytest.raises(InputError, match="this is the state of another policy than"):
        scale_by_policy("tlr", 10, base_lr=0.2).update({"w": jnp.ones(3)}, state)
    with pytest.raises(InputError, match="this is the state of another policy than"):
        scale_by_policy("tlr", 10, base_lr=0.1, restart_below=0.05).update({"w": jnp.ones(3)}, state)
    with pytest.raises(InputError, match="no policy in this state observes a loss, got a TlrTrace"):
        observe(state, 1.0)
    with pytest.raises(InputError, match="base_lr must be a number that float32 holds, got 1e-50"):
        scale_by_policy("tlr", 10, base_lr=1e-50).init({"w": jnp.ones(3)})
    assert isinstance(replace(state), TlrTrace)
