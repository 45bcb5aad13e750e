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

message SolverState {
  optional int32 iter = 1;
}

message More {
}
""",
    "include/caffe/solver.hpp": """\
namespace caffe {

template <typename Dtype>
class Solver {
 protected:
  Dtype smoothed_loss_;
};

class Worker {
  Dtype smoothed_loss_;
};

}  // namespace caffe
""",
    "src/caffe/solver.cpp": """\
#include "caffe/solver.hpp"

void Solver<Dtype>::Init(const SolverParameter& param) {
  param_ = param;
  InitTestNets();
}

void Solver<Dtype>::Step(int iters) {
      TestAll();
    UpdateSmoothedLoss(loss, start_iter, average_loss);
}

void Solver<Dtype>::Solve(const char* file) {
  CHECK(Caffe::root_solver());
  UpdateSmoothedLoss(loss, start_iter, average_loss);
    TestAll();
}

void Solver<Dtype>::Test(const int test_net_id) {
  CHECK(Caffe::root_solver());
        test_net->Forward(&iter_loss);
}
""",
    "src/caffe/solvers/sgd_solver.cpp": """\
#include "caffe/sgd_solvers.hpp"

Dtype SGDSolver<Dtype>::GetLearningRate() {
  Dtype rate;
  rate = 1;
  return rate;
}

void SGDSolver<Dtype>::ApplyUpdate() {
  Dtype rate = GetLearningRate();
    ComputeUpdateValue(param_id, rate);
  this->net_->Update();
}

void SGDSolver<Dtype>::SnapshotSolverState(const string& model_filename) {
}

void SGDSolver<Dtype>::SnapshotSolverStateToBinaryProto(
    const string& model_filename) {
  state.set_current_step(this->current_step_);
}

void SGDSolver<Dtype>::SnapshotSolverStateToHDF5(
    const string& model_filename) {
  hdf5_save_int(file_hid, "current_step", this->current_step_);
}

void SGDSolver<Dtype>::RestoreSolverStateFromBinaryProto(
    const string& state_file) {
  this->current_step_ = state.current_step();
}

void SGDSolver<Dtype>::RestoreSolverStateFromHDF5(const string& state_file) {
  this->current_step_ = hdf5_load_int(file_hid, "current_step");
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
