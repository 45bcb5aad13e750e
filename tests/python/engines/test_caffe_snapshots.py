"""Snapshots both ways: 100 updates in real Caffe and 100 in the torch engine, in either order, against 200 of Caffe's.

The bound is Caffe's own: three times how far it strays in 200 updates when each of its first weights moves by one unit
in the last place, and no less than 1e-5 of a blob's largest weight.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from engine_support import Recorder

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

from bench_conformance import move_by_one_ulp

from lrpolicy.caffemodel import read_state, read_weights, write_weights
from lrpolicy.datasets import open_dataset, write_lmdb
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.errors import InputError
from lrpolicy.records import Protocol
from lrpolicy.solver import Solver, read
from support.real_caffe import distance, run_caffe

FOLDER = Path(__file__).parents[2] / "data" / "caffe"
# 100 updates are ten passes over that many examples: Caffe begins with the first one when it resumes.
EXAMPLES = {"smooth": 320, "kinked": 500}
SOLVERS = {
    "multistep": 'base_lr: 0.02 lr_policy: "multistep" gamma: 0.5 stepvalue: 60 stepvalue: 140 momentum: 0.9',
    "tri2": 'base_lr: 0.002 max_lr: 0.02 lr_policy: "tri2" stepsize: 30 type: "Nesterov" momentum: 0.9',
    "adam": 'base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 momentum2: 0.99 delta: 0.001 type: "Adam"',
    "adadelta": 'base_lr: 0.1 lr_policy: "fixed" momentum: 0.95 delta: 0.0001 type: "AdaDelta"',
}


class Both:
    """One solver, for Caffe and for the torch engine, in a folder of its own."""

    def __init__(self, binary: Path, folder: Path, net: str, solver: str, snapshot_format: str) -> None:
        self.binary, self.folder, self.net = binary, folder, net
        self.ending = ".h5" if snapshot_format == "HDF5" else ""
        write_lmdb(folder / "digits_train", open_dataset("digits").train.take(np.arange(EXAMPLES[net])))
        (folder / "net.prototxt").write_text((FOLDER / f"{net}.prototxt").read_text())
        self.text = (
            f'net: "net.prototxt" {SOLVERS[solver]} weight_decay: 0.001 random_seed: 1 solver_mode: CPU '
            f'snapshot_format: {snapshot_format} snapshot_prefix: "caffe" '
        )

    def caffe(self, end: int, *arguments: str) -> None:
        (self.folder / "solver.prototxt").write_text(f"{self.text} max_iter: {end}")
        run_caffe(self.binary, "train", "--solver=solver.prototxt", *arguments, cwd=self.folder)

    def torch(self, end: int, **fields: Any) -> None:
        (self.folder / "solver.prototxt").write_text(f"{self.text} max_iter: {end}")
        job = TrainingJob(
            read(self.folder / "solver.prototxt"),
            protocol=Protocol.PAPER,
            threads=1,
            snapshot_prefix=self.folder / "torch",
            **fields,
        )
        TorchEngine().train(job, Recorder())

    def weights(self, who: str, iteration: int = 200) -> Any:
        return read_weights(self.folder / f"{who}_iter_{iteration}.caffemodel{self.ending}")

    def state(self, who: str) -> Path:
        return self.folder / f"{who}_iter_100.solverstate{self.ending}"


@pytest.mark.parametrize("snapshot_format", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("net", EXAMPLES)
def test_half_in_caffe_and_half_in_ours(
    caffe_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, net: str, solver: str, snapshot_format: str
) -> None:
    monkeypatch.chdir(tmp_path)
    both = Both(caffe_binary, tmp_path, net, solver, snapshot_format)
    first = FOLDER / f"{net}.caffemodel"
    strays = []
    both.caffe(200, f"--weights={first}")
    whole = both.weights("caffe")
    for seed in range(5):
        move_by_one_ulp(first, tmp_path / "moved.caffemodel", seed)
        both.caffe(200, "--weights=moved.caffemodel")
        strays.append(distance(both.weights("caffe"), whole))
    bound = max(3 * max(strays), 1e-5)

    both.caffe(100, f"--weights={first}")
    both.torch(200, resume=both.state("caffe"))
    caffe_first = both.weights("torch")

    both.torch(100, weights=first)
    (tmp_path / f"caffe_iter_200.caffemodel{both.ending}").unlink()
    both.caffe(200, f"--snapshot={both.state('torch')}")
    torch_first = both.weights("caffe")

    assert read_state(both.state("torch")).current_step == read_state(both.state("caffe")).current_step
    found = distance(caffe_first, whole), distance(torch_first, whole)
    print(f"{net} {solver} {snapshot_format}: {found[0]:.2g} and {found[1]:.2g}; Caffe itself {max(strays):.2g}")
    assert max(found) <= bound, (found, bound)
    assert distance(both.weights("caffe", 100), whole) > 100 * bound, "100 updates change nothing"


def test_only_blobs_that_another_layer_owns_may_be_missing(tmp_path: Path) -> None:
    """As in Caffe's HDF5 files, which hold shared blobs once."""
    weights = read_weights(FOLDER / "smooth.caffemodel")
    write_lmdb(tmp_path / "digits_train", open_dataset("digits").train.take(np.arange(320)))
    solver = Solver.parse(f'net: "{FOLDER}/smooth.prototxt" {SOLVERS["tri2"]} max_iter: 5', "solver.prototxt")
    job = TrainingJob(solver, data=None, protocol=Protocol.PAPER, threads=1)

    def loaded(left_out: str) -> Any:
        path = tmp_path / "part.caffemodel.h5"
        write_weights(path, weights)
        with h5py.File(path, "r+") as file:
            del file[f"data/{left_out}"]
        return TorchEngine().trainer(replace(job, weights=path), Recorder()).weights.by_layer

    for shared in ("square2/0", "square2/1", "square2"):
        for mine, theirs in zip(loaded(shared)["square2"], weights["square1"], strict=True):
            np.testing.assert_array_equal(mine.detach().numpy(), theirs)
    with pytest.raises(InputError, match=r'layer "ip1", blob 0 must have the shape .*; give the layer another name'):
        loaded("ip1/0")
    with pytest.raises(InputError, match='layer "ip1" has 2 blobs in the net, got 1; give the layer another name'):
        loaded("ip1/1")
