"""A made-up tree that has the places where the patch goes in, and nothing else of Caffe."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = ROOT / "caffe_patch" / "patch_caffe.py"

TREE = {
    "src/caffe/proto/caffe.proto": """\
message Other {
}

message SolverParameter {
  optional float base_lr = 5;
}

message More {
}
""",
    "src/caffe/solver.cpp": """\
#include "caffe/solver.hpp"

void Solver<Dtype>::Init(const SolverParameter& param) {
  param_ = param;
}

void Solver<Dtype>::Solve(const char* file) {
  CHECK(Caffe::root_solver());
}

void Solver<Dtype>::Test() {
  CHECK(Caffe::root_solver());
}
""",
    "src/caffe/solvers/sgd_solver.cpp": """\
#include "caffe/sgd_solvers.hpp"

Dtype SGDSolver<Dtype>::GetLearningRate() {
  Dtype rate;
  rate = 1;
  return rate;
}

Dtype Another() {
  Dtype rate;
  return rate;
}
""",
    "src/caffe/util/io.cpp": """\
bool ReadProtoFromBinaryFile(const char* filename) {
  coded_input->SetTotalBytesLimit(kProtoReadBytesLimit, 1);
}
""",
}

Tree = dict[str, bytes]
Run = Callable[..., subprocess.CompletedProcess[str]]


def contents(tree: Path) -> Tree:
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def edit(tree: Path, path: str, old: str, new: str) -> None:
    text = (tree / path).read_bytes().decode()
    assert text.count(old) >= 1, f"{path} has no {old!r}"
    (tree / path).write_bytes(text.replace(old, new).encode())
