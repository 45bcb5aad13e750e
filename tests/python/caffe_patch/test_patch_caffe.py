"""The patch program on a made-up tree: what it puts where, that it can be undone, and what it refuses."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_caffe import PROGRAM, ROOT, Run, contents, edit

sys.path.insert(0, str(PROGRAM.parent))

import insertions
import patch_caffe
import patching

PROTO, SOLVER, SGD, IO = insertions.PROTO, insertions.SOLVER, insertions.SGD_SOLVER, insertions.IO
HEADERS = sorted(path.name for path in (ROOT / "csrc/include/lrpolicy").glob("*.hpp"))


def numbered(tree: Path, path: str) -> list[str]:
    return [line.strip() for line in (tree / path).read_text().splitlines() if "lrpolicy: " not in line]


def test_what_goes_where(tree: Path, patch: Run) -> None:
    assert patch().returncode == 0
    assert sorted(path.name for path in (tree / "include/lrpolicy").iterdir()) == HEADERS
    proto = numbered(tree, PROTO)
    assert proto.index("message SolverParameter {") < proto.index("optional float max_lr = 1000;")
    assert proto.index("optional float base_lr = 5;") < proto.index("message LearningRatePolicyParameter {")
    sgd = numbered(tree, SGD)
    assert sgd[sgd.index("Dtype rate;") + 1] == "if (this->live_policy_) { return this->live_policy_->Shown(); }"
    assert sgd[sgd.index("Dtype rate;") + 2] == "double added_policy_rate;"
    assert sgd[sgd.index("rate = 1;") + 1] == "rate = Dtype(NotBelowMinLr(this->param_, rate));"
    assert sgd[-4:] == ["Dtype Another() {", "Dtype rate;", "return rate;", "}"]
    solver = numbered(tree, SOLVER)
    assert solver[solver.index("param_ = param;") + 1] == "CheckLearningRatePolicy(param_);"
    assert solver[solver.index("CHECK(Caffe::root_solver());") + 1] == "CheckLearningRatePolicyIsGiven(param_);"
    assert solver.count("CheckLearningRatePolicyIsGiven(param_);") == 1
    step = solver[solver.index("void Solver<Dtype>::Step(int iters) {") :]
    assert "->TestedAll(" in step[2] and "->Trained(" in step[4]
    assert sum("live_policy_->" in line for line in solver) == 3
    update = sgd[sgd.index("Dtype rate = GetLearningRate();") - 1 :]
    assert ["->BeforeUpdate(" in update[0], "->Rate(" in update[2], "->AfterUpdate(" in update[5]] == [True] * 3
    header = numbered(tree, insertions.SOLVER_HEADER)
    assert header[:3] == ["namespace caffe {", "template <typename Dtype>", "class LivePolicy;"]
    assert header.count("shared_ptr<LivePolicy<Dtype> > live_policy_;") == 1
    state = proto[proto.index("message SolverState {") :]
    assert state.index("optional bytes lrpolicy_state = 1000;") < state.index("optional int32 iter = 1;")
    limit = numbered(tree, IO)
    assert limit[1:3] == [
        "#if GOOGLE_PROTOBUF_VERSION < 3011000",
        "coded_input->SetTotalBytesLimit(kProtoReadBytesLimit, 1);",
    ]


def test_only_insertions_and_undone_byte_for_byte(tree: Path, patch: Run) -> None:
    edit(tree, SOLVER, "\n", "\r\n")
    (tree / IO).write_bytes(
        (tree / IO).read_bytes() + b"// \x0c \xc2\x85 \xff\xfe\x85 no UTF-8, and no newline at the end"
    )
    (tree / PROTO).chmod(0o755)
    before = contents(tree)
    assert patch().returncode == 0
    after = contents(tree)
    for path, old in before.items():
        lines = iter(after[path].splitlines())
        assert all(line in lines for line in old.splitlines()), f"{path} lost a line"
    assert after[SOLVER].count(b"\n") == after[SOLVER].count(b"\r\n"), "line ends mixed"
    assert (tree / PROTO).stat().st_mode & 0o777 == 0o755
    undone = patch("--revert")
    assert undone.returncode == 0
    assert contents(tree) == before
    assert not (tree / "include/lrpolicy").exists()
    assert "nothing to undo" in patch("--revert").stdout


def test_a_second_run_changes_nothing(tree: Path, patch: Run) -> None:
    patch()
    stamps = {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()}
    second = patch()
    assert (second.returncode, "nothing to do" in second.stdout) == (0, True)
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()} == stamps


def test_check_tells_the_state(tree: Path, patch: Run) -> None:
    unpatched = patch("--check")
    assert (unpatched.returncode, unpatched.stdout) == (1, f"{tree} is unpatched\n")
    patch()
    patched = patch("--check")
    assert (patched.returncode, patched.stdout) == (0, f"{tree} is patched\n")


def test_diff_applies_and_changes_nothing(tree: Path, patch: Run) -> None:
    before = contents(tree)
    shown = patch("--diff")
    assert contents(tree) == before
    assert f"--- a/{SGD}" in shown.stdout
    assert not [line for line in shown.stdout.splitlines() if line.startswith("-") and not line.startswith("---")]
    if shutil.which("patch") is not None:
        applied = subprocess.run(["patch", "-p1", "-s"], cwd=tree, input=shown.stdout, text=True, check=False)
        assert applied.returncode == 0
        assert patch("--check").returncode == 0
        assert patch("--diff").stdout == shown.stdout, "the diff of a patched tree is another"


def test_an_older_patch_is_brought_up_to_date(tree: Path, patch: Run) -> None:
    patch()
    wanted = contents(tree)
    edit(tree, SGD, "double added_policy_rate;", "float added_policy_rate;")
    (tree / "include/lrpolicy/gone.hpp").write_text(patching.OURS)
    (tree / "include/lrpolicy/tlr.hpp").unlink()
    check = patch("--check")
    assert (check.returncode, "another version" in check.stdout) == (1, True)
    assert patch().returncode == 0
    assert contents(tree) == wanted


def test_a_half_patched_tree_is_refused_until_undone(tree: Path, patch: Run) -> None:
    before = contents(tree)
    original = (tree / SGD).read_bytes()
    patch()
    (tree / SGD).write_bytes(original)
    half = contents(tree)
    check, again = patch("--check"), patch()
    assert check.returncode == again.returncode == 2
    assert f"{SGD}: not patched" in check.stdout
    assert "half-patched" in again.stderr and "--revert" in again.stderr
    assert contents(tree) == half
    assert patch("--revert").returncode == 0
    assert contents(tree) == before


@pytest.mark.parametrize(
    ("path", "old", "new", "reason"),
    [
        (SGD, "  return rate;", "  return eta;", r"sgd_solver.cpp:3: no line matches  ^\s*return rate; in SGDSolver"),
        (SGD, "  rate = 1;", "  Dtype rate;", "sgd_solver.cpp:3: lines 4, 5 all match"),
        (SGD, "::GetLearningRate", "::Rate", "sgd_solver.cpp:1: no line matches"),
        (SOLVER, "  param_ = param;", "", "solver.cpp:3: no line matches"),
        (PROTO, "message SolverParameter {", "message S {", "caffe.proto:1: no line matches"),
        (
            PROTO,
            "base_lr = 5;",
            "base_lr = 5;\n  optional float min_lr = 40;",
            "caffe.proto:6: there is a field",
        ),
        (PROTO, "base_lr = 5;", "base_lr = 5;\n  optional float x = 1001;", "caffe.proto:6: there is a field"),
        (PROTO, "iter = 1;", "iter = 1;\n  optional int32 x = 1000;", "caffe.proto:10: there is a field"),
        (PROTO, "message SolverState {", "message State {", "caffe.proto:1: no line matches"),
        (PROTO, "message SolverState {", "message SolverState\n{", "caffe.proto:1: no line matches"),
        (insertions.SOLVER_HEADER, "class Solver {", "class Solver : Base {", "solver.hpp:1: no line matches"),
        (SOLVER, "      TestAll();", "", "solver.cpp:8: no line matches"),
        (SOLVER, "test_net->Forward(&iter_loss);", "", "in Solver::Test (lines"),
        (SGD, "  this->net_->Update();", "  Update();", "in SGDSolver::ApplyUpdate (lines"),
        (SGD, '"current_step"', '"step"', "in SGDSolver::SnapshotSolverStateToHDF5 (lines"),
        (
            SGD,
            "  rate = 1;",
            '  if (lr_policy == "triangular") rate = 1;',
            "sgd_solver.cpp:5: there is a policy",
        ),
        (SGD, "  rate = 1;", '  if (lr_policy == "plateau") rate = 1;', "sgd_solver.cpp:5: there is a policy"),
    ],
)
def test_another_fork_is_refused_with_the_line(
    tree: Path, patch: Run, path: str, old: str, new: str, reason: str
) -> None:
    edit(tree, path, old, new)
    before = contents(tree)
    for options in ([], ["--check"], ["--diff"]):
        refused = patch(*options)
        assert refused.returncode == 2
        assert reason in refused.stderr and "Traceback" not in refused.stderr
    assert contents(tree) == before


def test_a_mended_io_needs_no_mending(tree: Path, patch: Run) -> None:
    edit(tree, IO, "kProtoReadBytesLimit, 1", "kProtoReadBytesLimit")
    before = (tree / IO).read_bytes()
    assert patch().returncode == 0
    assert (tree / IO).read_bytes() == before
    assert patch("--check").returncode == 0


def test_undoing_needs_no_anchors(tree: Path, patch: Run) -> None:
    original = (tree / SGD).read_text()
    patch()
    edit(tree, SGD, "  return rate;", "  return eta;")
    assert patch("--check").returncode == 2
    assert patch("--revert").returncode == 0
    assert (tree / SGD).read_text() == original.replace("  return rate;", "  return eta;")


@pytest.mark.parametrize("mark", [patching.BEGIN, patching.END])
def test_a_damaged_block_is_refused(tree: Path, patch: Run, mark: str) -> None:
    patch()
    edit(tree, SGD, mark + "\n", "")
    for options in ([], ["--check"], ["--revert"]):
        refused = patch(*options)
        assert refused.returncode == 2
        assert "sgd_solver.cpp:" in refused.stderr and "block of ours" in refused.stderr


def test_no_caffe_at_all(tree: Path, patch: Run) -> None:
    (tree / SGD).unlink()
    refused = patch()
    assert (refused.returncode, refused.stderr) == (
        2,
        f"patch_caffe: {tree} is not a Caffe source tree: it has no {SGD}\n",
    )


def test_a_foreign_file_in_our_place_is_kept(tree: Path, patch: Run) -> None:
    (tree / "include/caffe/util/lrpolicy.hpp").write_text("theirs\n")
    before = contents(tree)
    refused = patch()
    assert refused.returncode == 2 and "include/caffe/util/lrpolicy.hpp:1: there is a file" in refused.stderr
    assert contents(tree) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_tree(tree: Path, patch: Run) -> None:
    folder = (tree / SGD).parent
    folder.chmod(0o555)
    before = contents(tree)
    refused = patch()
    folder.chmod(0o755)
    assert refused.returncode == 2 and "Permission denied; nothing was changed" in refused.stderr
    assert contents(tree) == before


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
def test_a_failing_write_leaves_the_tree_as_it_was(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: str
) -> None:
    before = contents(tree)
    calls = 0
    real = getattr(Path, failing)

    def fail_on_the_third(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise PermissionError(13, "Permission denied", "third")
        return real(*arguments, **options)

    monkeypatch.setattr(Path, failing, fail_on_the_third)
    assert patch_caffe.main([str(tree)]) == 2
    assert capsys.readouterr().err == f"patch_caffe: {tree / SOLVER}: Permission denied; nothing was changed\n"
    assert contents(tree) == before


@pytest.mark.parametrize(
    ("moment", "number"), [("stage", signal.SIGINT), ("put", signal.SIGINT), ("put", signal.SIGTERM)]
)
def test_a_signal_leaves_all_of_the_patch_or_nothing(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], moment: str, number: signal.Signals
) -> None:
    before = contents(tree)
    real = getattr(patching, f"_{moment}")

    def disturbed(target: Path, *arguments: object) -> object:
        if target == tree / SGD:
            os.kill(os.getpid(), number)
        return real(target, *arguments)

    monkeypatch.setattr(patching, f"_{moment}", disturbed)
    status = patch_caffe.main([str(tree)])
    captured = capsys.readouterr()
    if moment == "stage":
        assert (status, captured.err) == (130, "patch_caffe: interrupted; nothing was changed\n")
        assert contents(tree) == before
    else:
        assert status == 0
        assert patch_caffe.main([str(tree), "--check"]) == 0


# The program, which ends as if killed before it has staged or moved the file that the third argument names.
KILLED = """
import os, sys
import patch_caffe, patching
tree, moment, victim = sys.argv[1:]
real = getattr(patching, moment)
def killed(target, *arguments):
    return os._exit(9) if str(target).endswith(victim) else real(target, *arguments)
setattr(patching, moment, killed)
patch_caffe.main([tree])
"""


@pytest.mark.parametrize("moment", ["_stage", "_put"])
def test_a_kill_leaves_nothing_that_the_next_run_does_not_clear_away(tree: Path, patch: Run, moment: str) -> None:
    before = contents(tree)
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parent)}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tree), moment, SGD], env=environment, check=False)
    assert killed.returncode == 9
    assert contents(tree) != before
    assert patch("--revert").returncode == 0
    assert contents(tree) == before


@pytest.mark.parametrize("options", [[], ["--revert"]])
def test_a_symbolic_link_is_not_made_a_file(tree: Path, patch: Run, tmp_path: Path, options: list[str]) -> None:
    if options:
        assert patch().returncode == 0
    (tree / SGD).rename(tmp_path / "sgd.cpp")
    (tree / SGD).symlink_to(tmp_path / "sgd.cpp")
    before = contents(tree)
    refused = patch(*options)
    message = (
        f"{tree / SGD} is a symbolic link, of which the patch would make a file; put a copy there, or patch the tree"
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"patch_caffe: {message}")
    assert contents(tree) == before and (tree / SGD).is_symlink()


def test_an_output_without_room(tree: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, str(PROGRAM), str(tree), "--diff"]
        refused = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (2, "patch_caffe: the output: No space left on device\n")


def test_the_proto_fields_are_those_of_our_own_proto() -> None:
    ours = (ROOT / "proto/caffe.proto").read_text()
    snippets = [insertions.SNIPPETS / f"{name}.proto" for name in ("solver_fields", "policy_message", "state_fields")]
    fields = [line for path in snippets for line in path.read_text().splitlines() if "=" in line]
    # Our own reader takes the foreign names without a field.
    assert [line for line in fields if line not in ours] == [
        "  optional int32 start_lr_policy = 1003;",
        "  repeated int32 plateau_winsize = 1004;",
    ]
    # And the patch knows every field of ours.
    nested = ours[ours.index("message LearningRatePolicyParameter {") :].partition("\n}")[0]
    assert [line for line in nested.splitlines() if " = " in line and line not in fields] == []


def test_build_refuses_what_is_no_caffe_and_leaves_it_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "CMakeLists.txt").write_text("project(Other)\n")
    environment = {**os.environ, "CAFFE_SRC": str(theirs), "CAFFE_BUILD": str(tmp_path / "out")}
    command = ["sh", str(PROGRAM.parent / "build_caffe.sh")]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "is not a Caffe source tree: it has no src/caffe" in refused.stderr
    assert contents(theirs) == {"CMakeLists.txt": b"project(Other)\n"}
    assert not (tmp_path / "out").exists(), "what is no Caffe was copied"
    environment["CAFFE_SRC"] = str(tmp_path / "nowhere")
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (2, f"make caffe: CAFFE_SRC={tmp_path}/nowhere is not a folder\n")


def test_a_users_tree_is_never_written_through_its_links_and_only_its_sources_are_copied(
    tree: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tree / "src/caffe/solvers").rename(elsewhere)
    (tree / "src/caffe/solvers").symlink_to(elsewhere)
    (tree / "src/caffe/proto/caffe.pb.h").write_text("stale\n")
    (tree / "examples/mnist_train_lmdb").mkdir(parents=True)
    (tree / "examples/mnist_train_lmdb/data.mdb").write_text("large\n")
    (tree / "examples/net.cpp").write_text("int main() {}\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    # All packages are there, but nothing is compiled.
    for name, answer in {"cmake": "[ $1 = --version ]", "dpkg-query": "echo install ok installed"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{answer}\n")
        (programs / name).chmod(0o755)
    before = contents(tree) | contents(elsewhere)
    out = tmp_path / "out"
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    environment |= {"CAFFE_SRC": str(tree), "CAFFE_BUILD": str(out)}
    command = ["sh", str(PROGRAM.parent / "build_caffe.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert f"{out}/src is patched" in done.stdout, done.stderr
    assert contents(tree) | contents(elsewhere) == before
    assert "added_policy_rate" in (out / "src" / SGD).read_text()
    assert [path.name for path in (out / "src/examples").iterdir()] == ["net.cpp"]
    assert not (out / "src/src/caffe/proto/caffe.pb.h").exists()
