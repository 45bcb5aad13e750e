"""The caffe engine goes on from a snapshot, or says why not. Skipped without a patched Caffe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_support import Recorder, digits_solver

from lrpolicy.caffemodel import read_state, read_weights, write_state, write_weights
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.caffe import CaffeEngine
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.errors import InputError
from lrpolicy.policies import Policy
from lrpolicy.solver import Solver
from lrpolicy.stateful import AdaptivePolicy

FIELDS = "test_iter: 4 test_interval: 10 display: 5"


def test_resuming_goes_on_with_the_next_example(engine: CaffeEngine, tmp_path: Path) -> None:
    """Caffe by itself would begin with the first example again; momentum comes from the state."""
    job = TrainingJob(
        digits_solver(tmp_path, f"{FIELDS} momentum: 0.9"), max_iter=50, snapshot_prefix=tmp_path / "whole"
    )
    engine.train(job, Recorder())
    part = replace(job, snapshot_prefix=tmp_path / "part")
    engine.train(replace(part, max_iter=27), Recorder())
    outcome = engine.train(replace(part, resume=tmp_path / "part_iter_27.solverstate"), Recorder())
    assert outcome.iterations == 50
    for whole, resumed in zip(
        *(read_weights(tmp_path / f"{name}_iter_50.caffemodel")["ip"] for name in ("whole", "part")), strict=True
    ):
        np.testing.assert_array_equal(whole, resumed)


@pytest.mark.parametrize("ending", ["", ".h5"])
def test_a_snapshot_may_move_with_its_weights_and_not_without(engine: CaffeEngine, tmp_path: Path, ending: str) -> None:
    """As in the torch engine; Caffe alone looks where the weights were. Its `weights` are not those to begin with."""
    form = "snapshot_format: HDF5" if ending else ""
    solver = digits_solver(tmp_path, f"{FIELDS} momentum: 0.9 {form}")
    job = TrainingJob(solver, max_iter=4, snapshot_prefix=tmp_path / "s")
    engine.train(job, Recorder())
    state, model = (f"s_iter_4.{kind}{ending}" for kind in ("solverstate", "caffemodel"))
    (tmp_path / "moved").mkdir()
    for name in (state, model):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    solver.message.weights.append("gone.caffemodel")
    again = replace(job, max_iter=6, resume=tmp_path / "moved" / state)
    for each in (engine, TorchEngine()):
        assert each.train(again, Recorder()).iterations == 6
    other = {"ip": [np.zeros((9, 64), np.float32), np.zeros(9, np.float32)]}
    for change, message in (
        (lambda path: write_weights(path, other), r'layer "ip", blob 0 must have the shape \[10, 64\], got \[9, 64\]$'),
        (lambda path: path.unlink(), "(cannot be read: N|n)o such file"),
    ):
        change(tmp_path / "moved" / model)
        for each in (engine, TorchEngine()):
            with pytest.raises(InputError, match=rf"{tmp_path / 'moved' / model}: {message}"):
                each.train(again, Recorder())


def test_a_snapshot_of_another_policy(engine: CaffeEngine, tmp_path: Path) -> None:
    seq3, aslr = AdaptivePolicy("seq3", base_lr=0.1), AdaptivePolicy("aslr", base_lr=0.1)
    solver = digits_solver(tmp_path, FIELDS)
    for schedule, made_with in [(seq3, "lr_policy seq3"), (Policy("fixed", base_lr=0.1), "another policy")]:
        recorder = Recorder()
        job = TrainingJob(solver, max_iter=4, test_interval=2, schedule=schedule, snapshot_prefix=tmp_path / "s")
        engine.train(job, recorder)
        again = replace(job, max_iter=6, schedule=aslr, resume=recorder.snapshots[-1])
        pattern = f"_iter_4.solverstate: the snapshot was made with {made_with}, got aslr; resume with that"
        with pytest.raises(InputError, match=pattern):
            engine.train(again, Recorder())
        assert engine.train(replace(again, schedule=schedule), Recorder()).iterations == 6
    state = read_state(recorder.snapshots[-1])
    for extra in (b'{"schedule"', b"[]", b'{"caffe": 1}'):
        write_state(recorder.snapshots[-1], replace(state, extra=extra))
        with pytest.raises(InputError, match=r"_iter_4.solverstate: lrpolicy's own part of the snapshot is damaged"):
            engine.train(again, Recorder())


TLR = 'lr_policy: "tlr" base_lr: 0.02 lr_policy_param {{ epoch: 10 {} }}'


@pytest.mark.parametrize(
    ("made_with", "resumed_with", "message"),
    [
        ('type: "SGD"', 'type: "Adam"', r"a solver of type Adam has 4 history blobs for this net, got 2; resume with"),
        ('type: "AdaDelta"', 'type: "SGD"', r"a solver of type SGD has 2 history blobs for this net, got 4; resume"),
        (TLR.format(""), TLR.format("per_tensor: true"), r"solverstate: .*rates"),
    ],
)
def test_a_snapshot_that_caffe_would_abort_on(
    engine: CaffeEngine, tmp_path: Path, made_with: str, resumed_with: str, message: str
) -> None:
    def solver(fields: str) -> Solver:
        return digits_solver(tmp_path, f"{FIELDS} {fields}")

    job = TrainingJob(solver(made_with), max_iter=4, snapshot_prefix=tmp_path / "s")
    engine.train(job, Recorder())
    again = replace(job, max_iter=6, resume=tmp_path / "s_iter_4.solverstate")
    with pytest.raises(InputError, match=message):
        engine.train(replace(again, solver=solver(resumed_with)), Recorder())
    assert engine.train(again, Recorder()).iterations == 6


def test_a_snapshot_of_another_net(engine: CaffeEngine, tmp_path: Path) -> None:
    job = TrainingJob(digits_solver(tmp_path, FIELDS), max_iter=4, snapshot_prefix=tmp_path / "s")
    engine.train(job, Recorder())
    wider = digits_solver(tmp_path, FIELDS, classes=12)
    again = replace(job, solver=wider, max_iter=6, resume=tmp_path / "s_iter_4.solverstate")
    with pytest.raises(InputError, match=r"history 0 must have the shape \[12, 64\], got \[10, 64\]"):
        engine.train(again, Recorder())
