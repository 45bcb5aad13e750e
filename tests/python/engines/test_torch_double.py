"""The engine in float64, beside NumPy. Beside Caffe in double precision: benchmarks/test_bench_conformance.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_support import Recorder, digits_solver
from numpy.typing import NDArray

from lrpolicy.datasets import open_dataset, split_validation
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.errors import InputError

Floats = NDArray[np.float64]
BATCH, ITERATIONS, ITER_SIZE = 32, 15, 3
FIELDS = (
    f'iter_size: {ITER_SIZE} momentum: 0.9 weight_decay: 0.004 display: 1 lr_policy: "tri2" stepsize: 6 max_lr: 0.7'
)


def one(value: float) -> float:
    """A field of the solver: float32."""
    return float(np.float32(value))


def losses_by_numpy(weight: Floats, bias: Floats, rates: Floats) -> list[float]:
    """Softmax regression on the digits by SGD with momentum, as sgd_solver.cpp has it in double."""
    kept, _ = split_validation(open_dataset("digits").train)
    images, labels = kept.images.reshape(len(kept), -1) * 0.0625, kept.labels
    momentum, decay = one(0.9), one(0.004)
    histories, losses = [np.zeros_like(weight), np.zeros_like(bias)], []
    for iteration, rate in enumerate(rates):
        sums, loss = [np.zeros_like(weight), np.zeros_like(bias)], 0.0
        for step in range(iteration * ITER_SIZE, (iteration + 1) * ITER_SIZE):
            place = np.arange(step * BATCH, (step + 1) * BATCH) % len(kept)
            x, y = images[place], labels[place]
            exponentials = np.exp(x @ weight.T + bias)
            probabilities = exponentials / exponentials.sum(1, keepdims=True)
            loss -= np.log(probabilities[np.arange(BATCH), y]).mean() / ITER_SIZE
            slope = (probabilities - np.eye(10)[y]) / BATCH
            sums = [sums[0] + slope.T @ x, sums[1] + slope.sum(0)]
        losses.append(loss)
        for value, history, gradient in zip((weight, bias), histories, sums, strict=True):
            history[:] = momentum * history + rate * (gradient / ITER_SIZE + decay * value)
            np.subtract(value, history, out=value)
    return losses


def train(folder: Path, dtype: torch.dtype) -> tuple[Any, Recorder, Floats]:
    """The trainer that was run, what it showed, and the losses of NumPy from the same first weights."""
    solver = digits_solver(folder, f"{FIELDS} max_iter: {ITERATIONS}")
    recorder = Recorder()
    trainer = TorchEngine(dtype).trainer(TrainingJob(solver, threads=1), recorder)
    weight, bias = (blob.detach().double().numpy().copy() for blob in trainer.weights.by_layer["ip"])
    trainer.run()
    return trainer, recorder, np.array(losses_by_numpy(weight, bias, solver.policy.rates(range(ITERATIONS))))


def test_a_training_in_double_is_that_of_numpy(tmp_path: Path) -> None:
    trainer, recorder, wanted = train(tmp_path, torch.float64)
    losses = np.array([loss for _, loss, _ in recorder.displays])
    np.testing.assert_allclose(losses, wanted, rtol=1e-13)
    assert wanted[-1] < wanted[0] / 2, "the net has learned nothing"
    assert all(weight.tensor.dtype == torch.float64 for weight in trainer.weights.learned)
    assert all(history.dtype == torch.float64 for history in trainer.updater.optimizer.history)


def test_in_float32_it_is_so_to_seven_digits(tmp_path: Path) -> None:
    _, recorder, wanted = train(tmp_path, torch.float32)
    apart = np.abs(np.array([loss for _, loss, _ in recorder.displays]) / wanted - 1).max()
    assert 1e-9 < apart < 1e-5


def test_tlr_learns_in_double(tmp_path: Path) -> None:
    fields = 'lr_policy: "tlr" lr_policy_param { epoch: 12 source: "gradient" per_tensor: true } display: 1'
    trainer = TorchEngine(torch.float64).trainer(TrainingJob(digits_solver(tmp_path, fields)), Recorder())
    trainer.run()
    windows = trainer.updater.windows
    assert windows is not None
    assert all(buffer.dtype == torch.float64 for buffer in windows.buffers)
    rates = windows.live.state.rates
    assert trainer.monitor.rates(range(20, 21)).tolist() == [list(rates)]
    assert any(rate != one(rate) for rate in rates), "rates are rounded to float32"


def test_snapshots_hold_float32(tmp_path: Path) -> None:
    job = TrainingJob(digits_solver(tmp_path))
    for with_snapshots in (
        dataclasses.replace(job, snapshot_prefix=tmp_path / "it"),
        dataclasses.replace(job, resume=tmp_path / "it_iter_9.solverstate"),
    ):
        with pytest.raises(InputError, match=r"snapshots hold float32 numbers.*torch.float64"):
            TorchEngine(torch.float64).trainer(with_snapshots, Recorder())
