"""What is put into a Caffe tree, and where: the anchors.

Only insertions: no line of Caffe is changed or removed, so that undoing is taking our blocks out again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SNIPPETS = HERE / "insert"
FILES = SNIPPETS / "files"
HEADERS = HERE.parent / "csrc" / "include" / "lrpolicy"


@dataclass(frozen=True)
class Scope:
    """The lines of one function or message: from the only line that matches `begin` to the next that matches `end`."""

    name: str
    begin: str
    end: str = r"^\}"


@dataclass(frozen=True)
class Insertion:
    """A block of our own lines, from insert/`snippet`, beside the only line of the scope that matches `anchor`."""

    path: str
    anchor: str
    snippet: str
    scope: Scope | None = None
    before: bool = False
    # Left out where there is no such line: what it mends is not broken there.
    optional: bool = False

    def text(self) -> str:
        """The block's lines."""
        return (SNIPPETS / self.snippet).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Conflict:
    """What an unpatched Caffe does not have: where a line of the scope matches `pattern`, the tree is another fork."""

    path: str
    pattern: str
    what: str
    scope: Scope | None = None


PROTO = "src/caffe/proto/caffe.proto"
SOLVER_HEADER = "include/caffe/solver.hpp"
SOLVER = "src/caffe/solver.cpp"
SGD_SOLVER = "src/caffe/solvers/sgd_solver.cpp"
IO = "src/caffe/util/io.cpp"

_SOLVER_PARAMETER = Scope("message SolverParameter", r"^message SolverParameter \{")
_SOLVER_STATE = Scope("message SolverState", r"^message SolverState \{")
_CLASS = Scope("class Solver", r"^class Solver \{", r"^\};")
_OLD_LIMIT = r"->SetTotalBytesLimit\(\w+,"


def _function(name: str) -> Scope:
    """A function that begins at the left margin, the last of its result's words before its name."""
    return Scope(name, rf"^(\w+ )?{name.replace('::', '<Dtype>::', 1)}\(")


_INIT, _SOLVE, _STEP, _TEST = (_function(f"Solver::{name}") for name in ("Init", "Solve", "Step", "Test"))
_RATE, _UPDATE, _SAVE_BINARY, _SAVE_HDF5, _RESTORE_BINARY, _RESTORE_HDF5 = (
    _function(f"SGDSolver::{name}")
    for name in (
        "GetLearningRate",
        "ApplyUpdate",
        "SnapshotSolverStateToBinaryProto",
        "SnapshotSolverStateToHDF5",
        "RestoreSolverStateFromBinaryProto",
        "RestoreSolverStateFromHDF5",
    )
)
_READ = Scope("ReadProtoFromBinaryFile", r"^bool ReadProtoFromBinaryFile\(")

INSERTIONS = (
    Insertion(PROTO, _SOLVER_PARAMETER.begin, "solver_fields.proto", _SOLVER_PARAMETER),
    Insertion(PROTO, r"^\}", "policy_message.proto", _SOLVER_PARAMETER),
    Insertion(PROTO, _SOLVER_STATE.begin, "state_fields.proto", _SOLVER_STATE),
    Insertion(SOLVER_HEADER, r"^namespace caffe \{", "live_policy_declared.hpp"),
    Insertion(SOLVER_HEADER, r"^\s*Dtype smoothed_loss_;", "live_policy_member.hpp", _CLASS),
    Insertion(SOLVER, r'^#include "caffe/solver.hpp"', "include.cpp"),
    Insertion(SOLVER, r"^\s*param_ = param;", "check_at_construction.cpp", _INIT),
    Insertion(SOLVER, r"^\s*InitTestNets\(\);", "live_policy_made.cpp", _INIT),
    Insertion(SOLVER, r"^\s*CHECK\(Caffe::root_solver\(\)\);", "check_before_training.cpp", _SOLVE),
    Insertion(SOLVER, r"^\s*TestAll\(\);", "hear_test_pass.cpp", _STEP),
    Insertion(SOLVER, r"^\s*UpdateSmoothedLoss\(loss, start_iter, average_loss\);", "hear_train_loss.cpp", _STEP),
    Insertion(SOLVER, r"^\s*test_net->Forward\(&iter_loss\);", "hear_test_batch.cpp", _TEST),
    Insertion(SGD_SOLVER, r'^#include "caffe/sgd_solvers.hpp"', "include.cpp"),
    Insertion(SGD_SOLVER, r"^\s*Dtype rate;", "added_policy_rate.cpp", _RATE),
    Insertion(SGD_SOLVER, r"^\s*return rate;", "not_below_min_lr.cpp", _RATE, before=True),
    Insertion(SGD_SOLVER, r"^\s*Dtype rate = GetLearningRate\(\);", "before_update.cpp", _UPDATE, before=True),
    Insertion(SGD_SOLVER, r"^\s*ComputeUpdateValue\(param_id, rate\);", "tensor_rate.cpp", _UPDATE, before=True),
    Insertion(SGD_SOLVER, r"^\s*this->net_->Update\(\);", "after_update.cpp", _UPDATE),
    Insertion(SGD_SOLVER, r"^\s*state\.set_current_step\(", "save_binary.cpp", _SAVE_BINARY),
    Insertion(SGD_SOLVER, r'^\s*hdf5_save_int\(file_hid, "current_step"', "save_hdf5.cpp", _SAVE_HDF5),
    Insertion(SGD_SOLVER, r"^\s*this->current_step_ = state\.current_step\(\);", "restore_binary.cpp", _RESTORE_BINARY),
    Insertion(SGD_SOLVER, r"^\s*this->current_step_ = hdf5_load_int\(", "restore_hdf5.cpp", _RESTORE_HDF5),
    # protobuf 3.11 took the second argument out of use, 3.18 out of the library.
    Insertion(IO, _OLD_LIMIT, "bytes_limit_old.cpp", _READ, before=True, optional=True),
    Insertion(IO, _OLD_LIMIT, "bytes_limit_new.cpp", _READ, optional=True),
)

CONFLICTS = (
    Conflict(
        PROTO,
        r"^\s*\w+\s+\w+\s+(max_lr|min_lr|lr_policy_param|start_lr_policy|plateau_winsize)\s*=",
        "a field of this name",
        _SOLVER_PARAMETER,
    ),
    Conflict(PROTO, r"=\s*100[0-4]\s*[;\[]", "a field of this number", _SOLVER_PARAMETER),
    Conflict(PROTO, r"=\s*100[01]\s*[;\[]", "a field of this number", _SOLVER_STATE),
    Conflict(PROTO, r"^message LearningRatePolicyParameter\b", "a message of this name"),
    Conflict(
        SGD_SOLVER,
        r'lr_policy == "(tri|tri2|triexp|sin|sin2|sinexp|cos|triangular|triangular2|exp_range'
        r'|tlr|aslr|seq[1-4]|plateau)"',
        "a policy of this name",
        _RATE,
    ),
)

# The files of an unpatched tree that are touched: without one of them it is no Caffe.
TOUCHED = tuple(dict.fromkeys(insertion.path for insertion in INSERTIONS))


def new_files() -> dict[str, str]:
    """The files that are added, by their place in the tree, with their text. Both builds look into include/."""
    texts = {path.relative_to(FILES).as_posix(): path for path in sorted(FILES.rglob("*.[ch]pp"))}
    texts |= {f"include/lrpolicy/{path.name}": path for path in sorted(HEADERS.glob("*.hpp"))}
    return {place: path.read_text(encoding="utf-8") for place, path in texts.items()}
