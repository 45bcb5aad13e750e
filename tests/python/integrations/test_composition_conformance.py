"""Switches and restarts: one trace of rates in every front end and engine, bit for bit in float32."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from lrpolicy.compositions import SwitchOnPlateau, warm_up
from lrpolicy.datasets import Examples, write_lmdb
from lrpolicy.policies import Policy
from lrpolicy.records import Protocol
from lrpolicy.solver import Solver
from lrpolicy.stateful import AdaptivePolicy, TlrWindow, TrainLoss
from support.real_caffe import run_caffe

SCHEDULES = [
    warm_up(3) >> Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=4),
    Policy("exp", base_lr=0.05, gamma=0.9),
    Policy("inv", base_lr=0.01, gamma=0.1, power=0.75),
]
WINSIZE = [4, 2]
SWITCH = SwitchOnPlateau(SCHEDULES, WINSIZE)
LOSSES = [3.0, 2.0, 2.5, 1.5, 1.5, 1.6, math.nan, 1.75, 1.6, 1.25, 1.3, 1.3, 1.3, 0.5, 1.0, 2.0, 2.0, 2.0]

# Gradients of one weight. Signs that differ lower the rate to 7/8 of it, signs that agree raise it to 5/4: every number
# of a training is a short binary fraction, so that no type rounds.
SIGNS = [1, -1, 1, -1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1]
BELOW = 0.0625
LEARNED = f"tlr:base_lr=0.125,epoch=1,window=1.0,restart_below={BELOW}"
SOLVER = """net: "net.prototxt" lr_policy: "tlr" base_lr: 0.125 solver_mode: CPU display: 1 max_iter: 31
snapshot_after_train: false lr_policy_param { epoch: 1 window: 1 restart_below: 0.0625 }
"""
# Of the loss w * x the gradient is x. What classifies stands beside it and learns nothing.
NET = """layer { name: "data" type: "Data" top: "x" top: "label" transform_param { mean_value: 1 }
  data_param { source: "signs" batch_size: 1 backend: LMDB } }
layer { name: "w" type: "InnerProduct" bottom: "x" top: "wx" loss_weight: 1
  inner_product_param { num_output: 1 bias_term: false } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" param { lr_mult: 0 }
  inner_product_param { num_output: 2 bias_term: false } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }
"""


def switched_by_hand() -> list[float]:
    """The rate of each update; a loss is known after its update and leads to the next one's rate."""
    place = since = waiting_since = 0
    least, rates = math.inf, []
    for t in range(len(LOSSES) + 1):
        rates.append(SCHEDULES[place].rate(t - since))
        loss, now = LOSSES[t] if t < len(LOSSES) else math.nan, t + 1
        if loss < least:
            least, waiting_since = loss, now
        elif place < len(WINSIZE) and now - waiting_since >= WINSIZE[place]:
            place, since, waiting_since = place + 1, now, now
    return rates


def switched_in_the_core() -> list[float]:
    state, rates = SWITCH.init(), [SWITCH.rate(SWITCH.init(), 0)]
    for t, loss in enumerate(LOSSES, 1):
        state = SWITCH.update(state, TrainLoss(t, loss))
        rates.append(SWITCH.rate(state, t))
    return rates


def switched_in_torch() -> list[float]:
    torch = pytest.importorskip("torch")
    from lrpolicy.integrations.torch import FeedbackLR

    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=torch.tensor(0.5))
    scheduler = FeedbackLR(optimizer, SWITCH)
    rates = [optimizer.param_groups[0]["lr"].item()]
    optimizer.step()
    for loss in LOSSES:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"].item())
    return rates


def switched_in_jax(iterations: int | None = None) -> list[float]:
    jax = pytest.importorskip("jax")
    pytest.importorskip("optax")
    from lrpolicy.integrations.jax import observe, scale_by_policy

    optimizer = scale_by_policy(SWITCH, iterations=iterations)
    state, update, rates = optimizer.init(1.0), jax.jit(optimizer.update), []
    for loss in [*LOSSES, 0.0]:
        change, state = update(jax.numpy.ones(()), state)
        rates.append(-float(change))
        state = observe(state, loss)
    return rates


def switched_in_keras() -> list[float]:
    """By `fit`, in epochs of one update, whose loss is replaced by ours."""
    keras = pytest.importorskip("keras")
    from lrpolicy.integrations.keras import PolicyCallback

    class Told(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["loss"] = [*LOSSES, 0.0][epoch]

    return fitted([Told(), PolicyCallback(SWITCH)], [1], len(LOSSES) + 1)[0]


def fitted(callbacks: list[Any], signs: list[int], epochs: int = 1) -> tuple[list[float], list[float]]:
    """Keras' fit of one weight whose gradients are `signs`: the optimizer's rate at each update, how far it moved."""
    keras = pytest.importorskip("keras")
    rates, moved = [], [0.0]

    class Watch(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            rates.append(float(keras.ops.stop_gradient(self.model.optimizer.learning_rate.value)))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            moved.append(float(keras.ops.stop_gradient(self.model.layers[0].kernel.value)[0, 0]))

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.7), lambda target, output: keras.ops.mean(output, axis=-1))
    x = np.array(signs, np.float32)[:, None]
    model.fit(x, x, batch_size=1, epochs=epochs, shuffle=False, verbose=0, callbacks=[*callbacks, Watch()])
    return rates, np.abs(np.diff(moved)).tolist()


SWITCHED = {
    "core": switched_in_the_core,
    "torch": switched_in_torch,
    "jax": switched_in_jax,
    "jax by table": lambda: switched_in_jax(100),
    "keras": switched_in_keras,
}


def restarted_by_hand() -> tuple[list[float], int]:
    """In exact fractions: Algorithm 2's step where n = 1 and d = 1 or -1, and how often it restarted."""
    rate, rates, restarts = Fraction(1, 8), [], 0
    for t, sign in enumerate(SIGNS):
        rates.append(float(rate))
        if t > 0:
            rate *= Fraction(5, 4) if sign == SIGNS[t - 1] else Fraction(7, 8)
        if rate < BELOW:
            rate, restarts = Fraction(1, 8), restarts + 1
    return rates, restarts


def restarted_in_the_core() -> list[float]:
    schedule: Any = AdaptivePolicy.parse(LEARNED).schedule()
    state, before, rates = schedule.init(), 0.0, []
    for t, sign in enumerate(SIGNS):
        rates.append(schedule.rate(state))
        assert schedule.is_due(t)
        moved = rates[-1] * sign
        state, before = schedule.update(state, TlrWindow([moved * moved], [moved * before])), moved
    assert state.restarts == (restarted_by_hand()[1],)
    return rates


def restarted_in_torch(capturable: bool = False) -> list[float]:
    torch = pytest.importorskip("torch")
    from lrpolicy.integrations.torch import TLR

    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=torch.tensor(0.125))
    scheduler = TLR(optimizer, 1, capturable=capturable, restart_below=BELOW)
    rates = []
    for sign in SIGNS:
        rates.append(optimizer.param_groups[0]["lr"].item())
        weight.grad = torch.full((1,), float(sign))
        optimizer.step()
        scheduler.step()
    assert scheduler.state.restarts == (restarted_by_hand()[1],)
    return rates


def restarted_in_jax() -> list[float]:
    """The whole training in one compiled scan."""
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    from lrpolicy.integrations.jax import scale_by_policy

    optimizer = scale_by_policy(LEARNED)

    def step(carry: Any, gradient: Any) -> Any:
        weight, state = carry
        change, state = optimizer.update(gradient, state)
        return (optax.apply_updates(weight, change), state), -change * gradient

    start = jax.numpy.zeros(())
    (_, state), rates = jax.lax.scan(step, (start, optimizer.init(start)), jax.numpy.array(SIGNS, jax.numpy.float32))
    assert state.restarts.tolist() == [restarted_by_hand()[1]]
    return rates.tolist()


def restarted_in_keras() -> list[float]:
    pytest.importorskip("keras")
    from lrpolicy.integrations.keras import PolicyCallback

    callback = PolicyCallback(LEARNED)
    rates, moved = fitted([callback], SIGNS)
    assert rates == moved
    assert callback.state.restarts == (restarted_by_hand()[1],)
    return rates


RESTARTED = {
    "core": restarted_in_the_core,
    "torch": restarted_in_torch,
    "torch on the device": lambda: restarted_in_torch(capturable=True),
    "jax": restarted_in_jax,
    "keras": restarted_in_keras,
}


def solver_in(folder: Path) -> Path:
    """A solver prototxt that trains one weight on gradients that are SIGNS, and its net and data."""
    pixels = (1 + np.array(SIGNS)).astype(np.uint8).reshape(-1, 1, 1, 1)
    write_lmdb(folder / "signs", Examples(pixels, np.arange(len(SIGNS)) % 2, "signs"))
    (folder / "net.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(SOLVER)
    return folder / "solver.prototxt"


def bits(rates: list[float]) -> list[int]:
    return np.array(rates).astype(np.float32).view(np.uint32).tolist()


@pytest.mark.parametrize("front_end", SWITCHED)
def test_every_front_end_switches_alike(front_end: str) -> None:
    assert bits(SWITCHED[front_end]()) == bits(switched_by_hand())


@pytest.mark.parametrize("front_end", RESTARTED)
def test_every_front_end_restarts_alike(front_end: str) -> None:
    assert bits(RESTARTED[front_end]()) == bits(restarted_by_hand()[0])


def test_the_torch_engine_restarts_alike(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from lrpolicy.engines.base import TrainingJob
    from lrpolicy.engines.torch import TorchEngine

    solver = solver_in(tmp_path)
    rates: list[float] = []
    seen = Mock(stopping=lambda: False, displayed=lambda iteration, loss, rate: rates.append(rate))
    job = TrainingJob(Solver.parse(solver.read_text(), str(solver)), protocol=Protocol.PAPER, threads=1)
    TorchEngine().train(job, seen)
    assert bits(rates) == bits(restarted_by_hand()[0])


def test_real_caffe_restarts_alike(caffe_binary: Path, tmp_path: Path) -> None:
    """Its log has six digits."""
    log = run_caffe(caffe_binary, "train", f"--solver={solver_in(tmp_path).name}", cwd=tmp_path)
    rates = [line.rpartition("lr = ")[2] for line in log.splitlines() if ", lr = " in line]
    assert rates == [f"{rate:g}" for rate in restarted_by_hand()[0]]
    assert log.count("starts again from 0.125") == 1


def test_the_examples_show_what_they_are_for() -> None:
    """Two switches, of which the first schedule has a warm-up behind it; rates that fall, rise and restart."""
    rates = switched_by_hand()
    assert rates[0] == 0.0
    assert {0.05, 0.01} <= set(rates)
    rates, restarts = restarted_by_hand()
    factors = {b / a for a, b in pairwise(rates)}
    assert {1.0, 0.875, 1.25} < factors
    assert restarts >= 3
