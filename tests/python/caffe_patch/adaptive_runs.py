"""Trainings in real Caffe whose policy observes them, and the same policy replayed by `lrpolicy.stateful`."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from caffe_runs import HERE, Caffe
from numpy.typing import NDArray

from lrpolicy import solver as solvers
from lrpolicy.stateful import AdaptivePolicy, Aslr, Plateau, Tlr, TlrWindow, TrainLoss

Floats = NDArray[np.float32]

# Blobs: weights of more than one block of 1024, biases, weights, and biases that do not learn.
SHAPES = ((30, 40), (30,), (2, 30), (2,))
LR_MULT = (1.0, 2.0, 0.5, 0.0)

NET = """\
layer { name: "train" type: "HDF5Data" top: "x" top: "y" include { phase: TRAIN }
  hdf5_data_param { source: "train.txt" batch_size: 16 } }
layer { name: "test" type: "HDF5Data" top: "x" top: "y" include { phase: TEST }
  hdf5_data_param { source: "test.txt" batch_size: 8 } }
layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "ip1" param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 30 weight_filler { type: "xavier" } } }
layer { name: "tanh" type: "TanH" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" param { lr_mult: 0.5 } param { lr_mult: 0 }
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip2" bottom: "y" top: "loss" }
"""


@dataclass(frozen=True)
class Training:
    """What updates.cpp saw from iteration `start` on.

    `rates` (iterations, blobs) and `shown` (iterations,) are what Caffe used and says; `train` (iterations,) the losses
    and `test` those of the passes before an iteration; `weights` and `gradients` one array (iterations, *shape) a blob.
    """

    start: int
    rates: Floats
    shown: Floats
    train: NDArray[np.float64]
    test: dict[int, float]
    weights: list[Floats]
    gradients: list[Floats]


def write_task(folder: Path, text: str, **fields: object) -> Path:
    """A solver, its net, and data of a noisy linear map: one batch to train on, two to test with."""
    random = np.random.default_rng(5)
    true = random.normal(size=(40, 2))
    for name, count in (("train", 16), ("test", 16)):
        x = random.normal(size=(count, 40)).astype(np.float32)
        y = (np.tanh(x @ true / 4) + random.normal(size=(count, 2)) / 2).astype(np.float32)
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["x"], file["y"] = x, y
        (folder / f"{name}.txt").write_text(f"{folder / name}.h5\n")
    (folder / "net.prototxt").write_text(NET)
    defaults = {
        "net": '"net.prototxt"',
        "max_iter": 60,
        "test_iter": 2,
        "test_interval": 10,
        "snapshot_prefix": '"snap"',
        "random_seed": 1,
        "solver_mode": "CPU",
    }
    lines = [f"{name}: {value}" for name, value in {**defaults, **fields}.items()]
    path = folder / "solver.prototxt"
    path.write_text("\n".join([text, *lines, ""]))
    return path


def train(caffe: Caffe, solver: Path, until: int, state: str | None = None) -> Training:
    """Train in real Caffe, from a snapshot where one is given."""
    program = caffe.compile("updates", HERE / "updates.cpp")
    command = [str(program), solver.name, str(until), *([] if state is None else [state])]
    environment = {**os.environ, "GLOG_logtostderr": "1", "GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=solver.parent, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    rows: dict[str, list[list[str]]] = {kind: [] for kind in ("test", "train", "shown", "rate")}
    for kind, *values in lines:
        rows[kind].append(values)
    iterations = len(rows["train"])
    values = np.fromfile(solver.parent / "values", np.float32).reshape(iterations, -1)
    weights, gradients, place = [], [], 0
    for shape in SHAPES:
        size = int(np.prod(shape))
        weights.append(values[:, place : place + size])
        gradients.append(values[:, place + size : place + 2 * size])
        place += 2 * size
    assert place == values.shape[1]
    return Training(
        int(rows["train"][0][0]),
        _floats(rows["rate"]).reshape(iterations, len(SHAPES)),
        _floats(rows["shown"]),
        np.array([float(loss) for _, loss in rows["train"]]),
        {int(iteration): float(loss) for iteration, loss in rows["test"]},
        weights,
        gradients,
    )


def _floats(rows: list[list[str]]) -> Floats:
    return np.array([int(row[-1]) for row in rows], np.uint32).view(np.float32)


def replayed(solver: Path, seen: Training) -> Floats:
    """The rates (iterations, blobs) of the solver's policy, shown what Caffe saw from the first iteration on."""
    read = solvers.read(solver)
    assert isinstance(read.policy, AdaptivePolicy) and seen.start == 0
    schedule: Any = read.policy.schedule(lr_mult=LR_MULT)
    if isinstance(schedule, Tlr):
        return _replayed_tlr(schedule, seen)
    state = schedule.init()
    rates = np.empty_like(seen.rates)
    for t in range(len(rates)):
        if isinstance(schedule, Plateau):
            last = seen.train[max(0, t + 1 - read.message.average_loss) : t + 1]
            state = schedule.update(state, TrainLoss(t, sum(last.tolist()) / len(last)))
        elif t in seen.test and t > 0:
            state = schedule.update(state, seen.test[t])
        drawn = isinstance(schedule, Aslr)
        rates[t] = schedule.rates(state, t, len(SHAPES)) if drawn else schedule.rate(state, t)
    return rates


def _replayed_tlr(schedule: Tlr, seen: Training) -> Floats:
    """Windows accumulated in float32 as the engines do, dot products by NumPy in double."""
    state, moves_first = schedule.init(), schedule.source == "displacement"
    since = [(w[0] if moves_first else np.zeros_like(w[0])) for w in seen.weights]
    before = [np.zeros_like(w[0]) for w in seen.weights]
    rates = np.empty_like(seen.rates)
    for t in range(len(rates)):
        rates[t] = [schedule.rate(state, t, tensor) for tensor in range(len(SHAPES))]
        if not moves_first:
            since = [s + g[t] for s, g in zip(since, seen.gradients, strict=True)]
        if not schedule.is_due(t) or (moves_first and t + 1 == len(rates)):
            continue
        if moves_first:
            since = [s - w[t + 1] for s, w in zip(since, seen.weights, strict=True)]
        gg = [np.dot(s.astype(float), s.astype(float)) for s in since]
        gp = [np.dot(s.astype(float), b.astype(float)) for s, b in zip(since, before, strict=True)]
        state = schedule.update(state, TlrWindow(gg, gp))
        before = since
        since = [w[t + 1] if moves_first else np.zeros_like(w[0]) for w in seen.weights]
        if not moves_first:
            rates[t] = [schedule.rate(state, t, tensor) for tensor in range(len(SHAPES))]
    return rates
