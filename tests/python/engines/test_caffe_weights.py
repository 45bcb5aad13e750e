"""Weights that do not fit the net are refused before Caffe starts. Skipped without a patched Caffe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_support import Recorder, digits_solver

from lrpolicy.caffemodel import write_weights
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.caffe import CaffeEngine
from lrpolicy.engines.caffe.process import CaffeProcess
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.errors import InputError
from lrpolicy.records import TrialStatus

FIELDS = "test_iter: 4 test_interval: 10 momentum: 0.9 display: 5"


def test_weights_of_another_shape_are_refused_before_caffe_starts(
    engine: CaffeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules of Net::CopyTrainedLayersFrom: each layer of the file has as many blobs as the net's of that name."""
    path = tmp_path / "other.caffemodel"
    job = replace(TrainingJob(digits_solver(tmp_path, FIELDS)), weights=path)
    ip = [np.zeros((10, 64), np.float32), np.zeros(10, np.float32)]
    for weights, message in [
        ({"ip": [np.zeros((9, 64), np.float32), ip[1]]}, r'"ip", blob 0 must have the shape \[10, 64\], got \[9, 64\]'),
        ({"ip": ip[:1]}, 'layer "ip" has 2 blobs in the net, got 1'),
        ({"ip": [], "gone": ip}, 'layer "ip" has 2 blobs in the net, got 0'),
        ({"ip": ip, "loss": ip}, 'layer "loss" has 0 blobs in the net, got 2'),
    ]:
        write_weights(path, weights)
        for each in (engine, TorchEngine()):
            where = rf"^{path}: .*{message}; give the layer"
            with monkeypatch.context() as patch, pytest.raises(InputError, match=where):
                patch.setattr(CaffeProcess, "__init__", lambda *_: pytest.fail("Caffe runs"))
                each.train(job, Recorder())
    write_weights(path, {"ip": ip, "gone": ip})
    assert engine.train(replace(job, max_iter=1), Recorder()).status is TrialStatus.COMPLETED


def test_phases_whose_weights_differ_are_refused_before_caffe_starts(engine: CaffeEngine, tmp_path: Path) -> None:
    solver = digits_solver(tmp_path, FIELDS, transform="crop_size: 5", test_transform="scale: 0.0625")
    rule = r'net.prototxt:11: layer "ip" has weights of shape \[\[10, 25\], \[10\]\] in the TRAIN phase, got \[\[10, 64'
    for each in (engine, TorchEngine()):
        with pytest.raises(InputError, match=rule):
            each.train(TrainingJob(solver), Recorder())


@pytest.mark.parametrize("weights", ["'a.caffemodel,b.caffemodel'", "'a.caffemodel, b.caffemodel '"])
def test_several_weights_in_a_solver_are_one_over_the_other(
    engine: CaffeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("a", 0.01), ("b", 0.0)):
        blobs = [np.full((10, 64), value, np.float32), np.arange(10, dtype=np.float32) * (1 if name == "a" else 0)]
        write_weights(f"{name}.caffemodel", {"ip": blobs})
    job = TrainingJob(digits_solver(tmp_path, f"{FIELDS} weights: {weights}"), max_iter=1)
    for each in (engine, TorchEngine()):
        each.train(job, recorder := Recorder())
        assert recorder.displays[0][1] == pytest.approx(np.log(10), rel=1e-5)
