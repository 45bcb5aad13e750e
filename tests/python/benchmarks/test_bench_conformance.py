"""The conformance benchmark in small: LeNet on enlarged digits, beside real Caffe where there is one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

import bench_conformance

from lrpolicy.caffemodel import read_weights, write_weights


# Without tlr: on these images pixels, so maxima, tie, an ulp decides, and its rate follows the gradients. It is held
# against Caffe on a linear net, in engines/test_caffe_adaptive.py.
@pytest.mark.parametrize("name", ["SGD, inv", "Nesterov", "tri2", "clip_gradients", "L1", "aslr"])
def test_losses_of_lenet(caffe_binary: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("LRPOLICY_DATA", raising=False)
    (case,) = (case for case in bench_conformance.CASES if (case.net, case.name) == ("mnist-lenet", name))
    found = bench_conformance.measure(caffe_binary, case, iterations=25, moved=1)
    assert found.early_holds, found
    assert found.smooth_holds, found
    assert found.late_holds, found
    assert found.rates is None or found.rates <= bench_conformance.TIGHT, found
    assert found.last_loss < (2.1 if name == "aslr" else 2), "the net has learned nothing"  # aslr goes at a tenth


def test_the_weights_move_by_one_unit_in_the_last_place(tmp_path: Path) -> None:
    blob = np.array([[0.0, 1.0, -2.5e-3], [3e38, -1e-30, 7.0]], np.float32)
    write_weights(tmp_path / "a.caffemodel", {"ip": [blob]})
    bench_conformance.move_by_one_ulp(tmp_path / "a.caffemodel", tmp_path / "b.caffemodel", seed=1)
    (moved,) = read_weights(tmp_path / "b.caffemodel")["ip"]
    steps = np.abs(moved.view(np.int32).astype(np.int64) - blob.view(np.int32))
    assert steps.tolist() == [[0, 1, 1], [1, 1, 1]]
