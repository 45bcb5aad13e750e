"""One policy, the same float32 rates everywhere: the answer sheets against every front end, bit for bit."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lrpolicy.policies import PARAMETERS, POLICIES, Policy
from lrpolicy.solver import Solver
from lrpolicy.solver.policy_fields import NESTED
from lrpolicy.stateful import AdaptivePolicy

DATA = Path(__file__).resolve().parents[2] / "data"
# JAX without 64-bit types cannot trace a count beyond, and Keras cannot count so far.
LARGEST_TRACED = 2**31 - 1
TABLE = 2000

Rates = NDArray[np.float32]


def rows(sheet: str) -> list[dict[str, str]]:
    with (DATA / f"{sheet}_known_answers.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def policy_cases() -> Iterator[tuple[str, list[int], Rates]]:
    """The text of each policy of the sheet, its iterations and their rates."""
    cases: dict[str, tuple[list[int], list[float]]] = {}
    for row in rows("policy"):
        parts = [
            f"{key}={item}"
            for key, value in (part.split("=") for part in row["parameters"].split())
            for item in value.split(",")
        ]
        iterations, rates = cases.setdefault(f"{row['lr_policy']}:{','.join(parts)}", ([], []))
        iterations.append(int(row["iteration"]))
        rates.append(float(row["nearest"]))
    for text, (iterations, nearest) in cases.items():
        yield text, iterations, np.array(nearest).astype(np.float32)


CASES = {text: (iterations, rates) for text, iterations, rates in policy_cases()}


def in_the_core(text: str, iterations: list[int]) -> Rates:
    policy = Policy.parse(text)
    rates = policy.rates(np.array(iterations)).astype(np.float32)
    assert [np.float32(policy.rate(t)) for t in iterations] == rates.tolist()
    return rates


def in_torch(text: str, iterations: list[int]) -> Rates:
    """Through an optimizer whose rate is a float32 tensor."""
    torch = pytest.importorskip("torch")
    from lrpolicy.integrations.torch import PolicyLR

    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=torch.tensor(0.5))
    scheduler = PolicyLR(optimizer, text)
    rates = []
    for t in iterations:
        if t > 0:
            scheduler.last_epoch = t - 1
            optimizer.step()
            scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"].item())
    return np.array(rates, np.float32)


def in_jax(text: str, iterations: list[int]) -> Rates:
    """Traced, by callback and by table, and asked for directly, which alone gives what XLA takes as 0."""
    jax = pytest.importorskip("jax")
    pytest.importorskip("optax")
    from lrpolicy.integrations.jax import PolicySchedule

    asking, table = PolicySchedule(text), PolicySchedule(text, iterations=TABLE)
    asked, looked_up = jax.jit(asking), jax.jit(table)
    assert [looked_up(t) for t in iterations if t < TABLE] == [asked(t) for t in iterations if t < TABLE]
    direct = np.array([asking(t) for t in iterations])
    traced = np.array([asked(t) if t <= LARGEST_TRACED else asking(t) for t in iterations])
    assert traced.dtype == np.float32
    subnormal = direct < np.finfo(np.float32).tiny
    assert not traced[subnormal & (traced != direct)].any()
    return np.where(subnormal, direct, traced)


def in_keras(text: str, iterations: list[int]) -> Rates:
    """Through an optimizer that counts the iterations, and by table."""
    keras = pytest.importorskip("keras")
    from lrpolicy.integrations.keras import PolicySchedule

    asking, table = PolicySchedule(text), PolicySchedule(text, iterations=TABLE)
    optimizer = keras.optimizers.SGD(asking)
    rates = []
    for t in iterations:
        if t > LARGEST_TRACED:
            rates.append(float(asking(t)))
            continue
        optimizer.iterations.assign(t)
        rates.append(float(optimizer.learning_rate))
        assert t >= TABLE or float(table(t)) == rates[-1]
    return np.array(rates, np.float32)


def in_a_prototxt(text: str, iterations: list[int]) -> Rates:
    """As a solver reads it; written by hand, not by lrpolicy."""
    name, _, assignments = text.partition(":")
    fields = [part.replace("=", ": ") for part in assignments.split(",")]
    nested = [field for field in fields if field.split(":")[0] in NESTED]
    lines = [f'net: "net.prototxt" lr_policy: "{name}"', *(field for field in fields if field not in nested)]
    lines += ["max_iter: 10000"] if name != "poly" else []
    solver = Solver.parse("\n".join([*lines, f"lr_policy_param {{ {' '.join(nested)} }}" if nested else ""]))
    return solver.policy.rates(np.array(iterations)).astype(np.float32)


FRONT_ENDS: dict[str, Callable[[str, list[int]], Rates]] = {
    "core": in_the_core,
    "torch": in_torch,
    "jax": in_jax,
    "keras": in_keras,
}


def in_float32(policy: Policy) -> dict[str, Any]:
    """The parameters as a prototxt's fields hold them."""
    return {
        key: float(np.float32(value)) if PARAMETERS[key].kind == "real" else value
        for key, value in policy.parameters.items()
    }


def bits(rates: Rates) -> list[int]:
    assert rates.dtype == np.float32
    return rates.view(np.uint32).tolist()


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_every_front_end_gives_the_answer_sheet_to_the_bit(front_end: str) -> None:
    for text, (iterations, expected) in CASES.items():
        assert bits(FRONT_ENDS[front_end](text, iterations)) == bits(expected), text


@pytest.mark.parametrize("front_end", [name for name in FRONT_ENDS if name != "core"])
def test_every_front_end_reads_the_text_of_a_chain(front_end: str) -> None:
    text = "warm_up:iterations=4 >> fixed:base_lr=0.125 >> cool_down:iterations=4,at=8"
    expected = [0, 1, 2, 3, 4, 4, 4, 4, 4, 3, 2, 1, 0, 0]  # 32nds
    assert (32 * FRONT_ENDS[front_end](text, list(range(14)))).tolist() == expected


def test_a_solver_prototxt_gives_the_answer_sheet_to_the_bit() -> None:
    """Its fields are float32: a text with other numbers names, there, the policy of their nearest float32."""
    exact = set()
    for text, (iterations, expected) in CASES.items():
        policy = Policy.parse(text)
        if any(isinstance(value, int) and value >= 2**31 for value in policy.parameters.values()):
            continue  # no int32 field holds it
        rates = in_a_prototxt(text, iterations)
        if in_float32(policy) == policy.parameters:
            exact.add(policy.name)
            assert bits(rates) == bits(expected), text
        else:
            nearest = Policy(policy.name, **in_float32(policy)).to_text()
            assert bits(rates) == bits(in_the_core(nearest, iterations)), text
    assert exact == set(POLICIES)


def test_the_sheet_has_every_policy() -> None:
    assert {text.partition(":")[0] for text in CASES} == set(POLICIES)


def sequence_cases() -> Iterator[tuple[str, list[int], Rates]]:
    """seq1 to seq4 by_epoch, whose text the sheet gives: after how many epochs, which rate."""
    for name in ("seq1", "seq2", "seq3", "seq4"):
        for base_lr in sorted({row["base_lr"] for row in rows("sequence")}):
            found = [row for row in rows("sequence") if (row["sequence"], row["base_lr"]) == (name, base_lr)]
            found = [row for row in found if int(row["advances"]) <= 101]
            nearest = np.array([float(row["nearest"]) for row in found])
            yield f"{name}:base_lr={base_lr}", [int(row["advances"]) for row in found], nearest.astype(np.float32)


def walk_in_the_core(text: str, epochs: int) -> list[float]:
    policy = AdaptivePolicy.parse(text)
    schedule: Any = policy.schedule()
    states = accumulate([1.0] * epochs, schedule.update, initial=schedule.init())
    return [schedule.rate(state) for state in states]


def walk_in_torch(text: str, epochs: int) -> list[float]:
    torch = pytest.importorskip("torch")
    from lrpolicy.integrations.torch import FeedbackLR

    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=torch.tensor(0.5))
    scheduler = FeedbackLR(optimizer, text)
    optimizer.step()
    found = [optimizer.param_groups[0]["lr"].item()]
    for _ in range(epochs):
        scheduler.step(1.0)
        found.append(optimizer.param_groups[0]["lr"].item())
    return found


def walk_in_jax(text: str, epochs: int) -> list[float]:
    jax = pytest.importorskip("jax")
    pytest.importorskip("optax")
    from lrpolicy.integrations.jax import observe, scale_by_policy

    optimizer = scale_by_policy(text)
    state, update, found = optimizer.init(1.0), jax.jit(optimizer.update), []
    for _ in range(epochs + 1):
        change, _ = update(jax.numpy.ones(()), state)
        found.append(-float(change))
        state = observe(state, 1.0)
    return found


def walk_in_keras(text: str, epochs: int) -> list[float]:
    keras = pytest.importorskip("keras")
    from lrpolicy.integrations.keras import PolicyCallback

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    callback = PolicyCallback(text)
    callback.set_model(model)
    callback.on_train_begin()
    found = [float(model.optimizer.learning_rate.value)]
    for epoch in range(epochs):
        callback.on_epoch_end(epoch, {"val_loss": 1.0})
        found.append(float(model.optimizer.learning_rate.value))
    return found


WALKS = {"core": walk_in_the_core, "torch": walk_in_torch, "jax": walk_in_jax, "keras": walk_in_keras}


@pytest.mark.parametrize("front_end", WALKS)
def test_every_front_end_walks_along_the_sequences_to_the_bit(front_end: str) -> None:
    for text, advances, expected in sequence_cases():
        walked = np.array(WALKS[front_end](text, max(advances)), np.float64).astype(np.float32)
        assert bits(walked[advances]) == bits(expected), text


def test_a_solver_prototxt_names_the_same_sequences() -> None:
    """base_lr is float32 there."""
    for text, advances, _ in sequence_cases():
        name, _, base_lr = text.partition(":base_lr=")
        fields = f'lr_policy: "{name}" base_lr: {base_lr} max_iter: 100 test_interval: 10 test_iter: 1'
        solver = Solver.parse(f'net: "net.prototxt" {fields}')
        single = f"{name}:base_lr={float(np.float32(base_lr))}"
        assert walk_in_the_core(solver.policy.to_text(), max(advances)) == walk_in_the_core(single, max(advances))
