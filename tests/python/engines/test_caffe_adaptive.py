"""The policies that observe the training: real Caffe against the torch engine, each going on where the other stopped.

From the same weights, on the same examples: rates and losses differ by what float32 sums differ. Skipped without a
patched Caffe.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_support import Recorder, digits_solver

from lrpolicy.caffemodel import read_state, read_weights, write_state
from lrpolicy.engines.base import Engine, TrainingJob
from lrpolicy.engines.caffe import CaffeEngine
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.errors import InputError
from lrpolicy.records import Protocol

FIELDS = "test_iter: 4 test_interval: 4 momentum: 0.95 average_loss: 3 display: 1"
TLR = 'lr_policy: "tlr" base_lr: 0.02 lr_policy_param {{ window: 0.1 {} }}'  # its epoch is counted, in Caffe too
POLICIES = {
    "tlr": TLR.format(""),
    "tlr gradient": TLR.format('source: "gradient" bound: 2'),
    "tlr per tensor": TLR.format("per_tensor: true bound: 0.1"),
    "aslr": 'lr_policy: "aslr" base_lr: 0.9 lr_policy_param { seed: 7 }',
    "seq1": 'lr_policy: "seq1" base_lr: 0.1',
    "seq4": 'lr_policy: "seq4" base_lr: 0.9 lr_policy_param { strategy: "by_oscillate" }',
    "plateau": 'lr_policy: "plateau" base_lr: 0.9 gamma: 0.5 lr_policy_param { plateau_winsize: 2 plateau_winsize: 3 }',
}


@pytest.fixture
def engines(caffe_binary: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Engine]:
    monkeypatch.setenv("LRPOLICY_CAFFE", str(caffe_binary))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return {"caffe": CaffeEngine(), "torch": TorchEngine()}


def job_of(engines: dict[str, Engine], folder: Path, text: str, fields: str = "") -> TrainingJob:
    """Forty updates of a linear net from weights that Caffe filled."""
    first = TrainingJob(digits_solver(folder, FIELDS), max_iter=1, snapshot_prefix=folder / "first")
    engines["caffe"].train(first, Recorder())
    solver = digits_solver(folder, f"{FIELDS} {text} {fields}")
    weights = folder / "first_iter_1.caffemodel"
    return TrainingJob(solver, max_iter=40, protocol=Protocol.PAPER, weights=weights, threads=1)


@pytest.mark.parametrize("text", POLICIES.values(), ids=POLICIES)
def test_both_engines_hear_the_same_and_train_the_same(engines: dict[str, Engine], tmp_path: Path, text: str) -> None:
    job = job_of(engines, tmp_path, text)
    theirs, ours = Recorder(), Recorder()
    engines["caffe"].train(job, theirs)
    engines["torch"].train(job, ours)
    np.testing.assert_allclose(ours.displays, theirs.displays, rtol=1e-4)
    assert len({rate for _, _, rate in ours.displays}) > 1, "the rate stands still"
    for mine, caffes in zip(ours.measurements, theirs.measurements, strict=True):
        assert mine.iteration == caffes.iteration
        np.testing.assert_allclose(mine.evaluation.loss, caffes.evaluation.loss, rtol=1e-4)


@pytest.mark.parametrize("snapshot_format", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("order", [("caffe", "torch"), ("torch", "caffe")], ids="-".join)
@pytest.mark.parametrize("text", POLICIES.values(), ids=POLICIES)
def test_one_goes_on_where_the_other_stopped(
    engines: dict[str, Engine], tmp_path: Path, text: str, order: tuple[str, str], snapshot_format: str
) -> None:
    """After 20 updates a test pass is due: Caffe saves before it, our engine after, and it must be heard once."""
    job = job_of(engines, tmp_path, text, f"snapshot_format: {snapshot_format}")
    ending = ".h5" if snapshot_format == "HDF5" else ""
    whole, rest = Recorder(), Recorder()
    engines[order[1]].train(replace(job, snapshot_prefix=tmp_path / "whole"), whole)
    part = replace(job, snapshot_prefix=tmp_path / "part")
    engines[order[0]].train(replace(part, max_iter=20), Recorder())
    state = tmp_path / f"part_iter_20.solverstate{ending}"
    engines[order[1]].train(replace(part, weights=None, resume=state), rest)
    # The losses that Caffe displays are averaged anew after a start; those that a policy hears are not.
    np.testing.assert_allclose(np.array(rest.displays)[:, 2], np.array(whole.displays)[20:, 2], rtol=1e-4)
    np.testing.assert_allclose(rest.displays[2:], whole.displays[22:], rtol=1e-4)
    blobs = [read_weights(tmp_path / f"{name}_iter_40.caffemodel{ending}")["ip"] for name in ("whole", "part")]
    for expected, found in zip(*blobs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_snapshot_of_caffe_under_another_policy_is_refused(engines: dict[str, Engine], tmp_path: Path) -> None:
    job = replace(job_of(engines, tmp_path, POLICIES["seq1"]), snapshot_prefix=tmp_path / "part")
    engines["caffe"].train(replace(job, max_iter=20), Recorder())
    state = tmp_path / "part_iter_20.solverstate"
    other = digits_solver(tmp_path, f"{FIELDS} {POLICIES['seq4']}")
    with pytest.raises(InputError, match="the snapshot was made with lr_policy seq1, got seq4"):
        engines["torch"].train(replace(job, solver=other, weights=None, resume=state), Recorder())
    damaged = read_state(state)
    write_state(state, replace(damaged, extra=damaged.extra.replace(b"window", b"widow")))
    with pytest.raises(InputError, match="own part of the snapshot is damaged"):
        engines["torch"].train(replace(job, weights=None, resume=state), Recorder())
