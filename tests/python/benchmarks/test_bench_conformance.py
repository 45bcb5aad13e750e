"""The conformance benchmark in small: LeNet on enlarged digits, beside real Caffe where there is one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

import bench_conformance
import bench_conformance_double
from linking import NotBuiltError

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


@pytest.fixture(scope="session")
def double_binary(caffe_binary: Path) -> Path:
    """A patched Caffe with caffe_double beside it; skipped where there is no library to link with."""
    try:
        bench_conformance_double.build(caffe_binary)
    except NotBuiltError as error:
        pytest.skip(str(error))
    return caffe_binary


# In double nothing ties on a bound any more, so that tlr can be among them.
@pytest.mark.parametrize("name", ["Adam", "AdaDelta", "iter_size 2", "tri2", "tlr, gradient, per tensor", "aslr"])
def test_losses_rates_and_weights_of_lenet_in_double(
    double_binary: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("LRPOLICY_DATA", raising=False)
    (case,) = (case for case in bench_conformance.CASES if (case.net, case.name) == ("mnist-lenet", name))
    found = bench_conformance_double.measure(double_binary, case, iterations=25)
    assert max(found.early, found.late, found.rates, found.weights) <= 1e-11, found
    assert found.last_loss < (2.1 if name == "aslr" else 2), "the net has learned nothing"


def test_in_double_a_slip_of_a_millionth_shows(
    double_binary: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LRPOLICY_DATA", raising=False)
    case, slipped = (
        bench_conformance.Case("mnist-lenet", 16, "SGD", f'lr_policy: "fixed" base_lr: 0.01 momentum: {momentum}')
        for momentum in (0.9, 0.9000009)
    )
    bench = bench_conformance_double.DoubleBench(double_binary, case, tmp_path)
    caffe = bench.caffe_in_double(10)
    ours, learned = bench.ours_in_double(10)
    bench.case = slipped
    other, _ = bench.ours_in_double(10)
    assert bench_conformance_double.weights_apart(ours.weights, caffe.weights, learned) < 1e-12
    assert bench_conformance_double.weights_apart(other.weights, caffe.weights, learned) > 1e-9
