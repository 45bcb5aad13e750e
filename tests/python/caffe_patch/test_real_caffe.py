"""The patched Caffe: its rates against the core, bit for bit, and its own seven policies against unpatched Caffe."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from caffe_runs import HERE, Caffe, rates, write_solver
from made_up_caffe import PROGRAM
from numpy.typing import NDArray

from lrpolicy import solver as solvers
from lrpolicy.policies import POLICIES

LENGTH = 37
CYCLE = f"base_lr: 0.0123 max_lr: 0.0617 stepsize: {LENGTH}"
DOWNWARDS = f"base_lr: 0.0617 max_lr: 0.0123 stepsize: {LENGTH}"
CYCLIC = [name for name, info in POLICIES.items() if info.family == "cyclic"]
DECAY = {"triexp": " gamma: 0.997", "sinexp": " gamma: 0.997"}
OURS = {
    f"{name}{label}": f'lr_policy: "{name}" {fields}{DECAY.get(name, "")}'
    for name in CYCLIC
    for label, fields in {
        "": CYCLE,
        " downwards": DOWNWARDS,
        " start": f"{CYCLE} lr_policy_param {{ start: 11 }}",
    }.items()
}
THREE_CYCLES = 6 * LENGTH + 11

CAFFES = {
    "fixed": 'lr_policy: "fixed" base_lr: 0.0123',
    "step": 'lr_policy: "step" base_lr: 0.0123 gamma: 0.7 stepsize: 37',
    "exp": 'lr_policy: "exp" base_lr: 0.0123 gamma: 0.997',
    "inv": 'lr_policy: "inv" base_lr: 0.0123 gamma: 0.0123 power: 0.75',
    "multistep": 'lr_policy: "multistep" base_lr: 0.0123 gamma: 0.7 stepvalue: 37 stepvalue: 90 stepvalue: 91',
    "poly": 'lr_policy: "poly" base_lr: 0.0123 power: 1.3',
    "sigmoid": 'lr_policy: "sigmoid" base_lr: 0.0123 gamma: 0.03 stepsize: 111',
}


def core_rates(solver: Path, iterations: list[int]) -> NDArray[np.float32]:
    return solvers.read(solver).policy.rates(np.array(iterations)).astype(np.float32)


def same_bits(left: NDArray[np.float32], right: NDArray[np.float32]) -> bool:
    return left.tobytes() == right.tobytes()


@pytest.mark.parametrize("text", OURS.values(), ids=OURS)
@pytest.mark.parametrize("snapshot_format", ["BINARYPROTO", "HDF5"])
def test_our_policies_bit_for_bit_across_a_resume(
    caffe: Caffe, tmp_path: Path, text: str, snapshot_format: str
) -> None:
    program = caffe.rates_program()
    solver = write_solver(tmp_path, text, snapshot_format=snapshot_format)
    first, before = rates(program, solver, "train", 100)
    ending = ".h5" if snapshot_format == "HDF5" else ""
    rest, after = rates(program, solver, "train", THREE_CYCLES, f"snap_iter_100.solverstate{ending}")
    assert [*first, *rest] == list(range(THREE_CYCLES))
    assert same_bits(np.concatenate([before, after]), core_rates(solver, [*first, *rest]))
    assert len(set(before.tolist())) > LENGTH // 2, "the rate stands still"


@pytest.mark.parametrize("text", OURS.values(), ids=OURS)
def test_our_policies_bit_for_bit_far_out(caffe: Caffe, tmp_path: Path, text: str) -> None:
    solver = write_solver(tmp_path, text)
    asked = [0, 10, 11, LENGTH, 2 * LENGTH, 69_999, 123_457, 2**24 + 1, 10**9, 2**31 - 1]
    iterations, got = rates(caffe.rates_program(), solver, "at", *asked)
    assert iterations == asked
    assert same_bits(got, core_rates(solver, asked))


@pytest.mark.parametrize("text", CAFFES.values(), ids=CAFFES)
def test_caffes_own_policies(caffe: Caffe, unpatched_rates: Path, tmp_path: Path, text: str) -> None:
    solver = write_solver(tmp_path, text)
    iterations, patched = rates(caffe.rates_program(), solver, "train", 300)
    again, unpatched = rates(unpatched_rates, solver, "train", 300)
    assert iterations == again == list(range(300))
    assert same_bits(patched, unpatched)
    np.testing.assert_allclose(patched, core_rates(solver, iterations), rtol=1e-5)


def test_poly_to_its_end_where_float32_cancels(caffe: Caffe, unpatched_rates: Path, tmp_path: Path) -> None:
    """In Caffe's 1 - t/max_iter the last iterations keep few digits: next to base_lr the difference is as small."""
    solver = write_solver(tmp_path, CAFFES["poly"], max_iter=450_000)
    asked = [*range(448_600, 450_000, 100), *range(449_990, 450_000)]
    iterations, patched = rates(caffe.rates_program(), solver, "at", *asked)
    assert same_bits(patched, rates(unpatched_rates, solver, "at", *asked)[1])
    core = core_rates(solver, iterations)
    np.testing.assert_allclose(patched, core, rtol=0, atol=1e-6 * 0.0123)
    assert np.max(np.abs(patched / core - 1)) > 1e-5, "the README says too little of poly"


@pytest.mark.parametrize("name", ["step", "exp", "inv", "multistep", "poly"])
def test_min_lr_is_a_floor_for_those_that_decay(caffe: Caffe, tmp_path: Path, name: str) -> None:
    solver = write_solver(tmp_path, f"{CAFFES[name]} min_lr: 0.009")
    iterations, got = rates(caffe.rates_program(), solver, "train", 300)
    assert got[0] == np.float32(0.0123) and got[-1] == got.min() == np.float32(0.009)
    np.testing.assert_allclose(got, core_rates(solver, iterations), rtol=1e-5)


def test_min_lr_holds_past_max_iter_where_poly_is_not_a_number(caffe: Caffe, tmp_path: Path) -> None:
    solver = write_solver(tmp_path, f"{CAFFES['poly']} min_lr: 0.009")
    _, got = rates(caffe.rates_program(), solver, "at", 400, 401, 10**6)
    assert got.tolist() == [np.float32(0.009)] * 3
    _, bare = rates(caffe.rates_program(), write_solver(tmp_path, CAFFES["poly"]), "at", 401)
    assert np.isnan(bare[0])


def test_the_rate_in_use_is_the_rate_in_the_log(caffe: Caffe, tmp_path: Path) -> None:
    solver = write_solver(tmp_path, OURS["tri2"], display=1, max_iter=160, snapshot=70)
    whole = caffe.run("train", f"--solver={solver.name}", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    resumed = caffe.run("train", f"--solver={solver.name}", "--snapshot=snap_iter_70.solverstate", cwd=tmp_path)
    logged = re.compile(r"Iteration (\d+), lr = (\S+)")
    all_of_it, tail = (logged.findall(done.stderr) for done in (whole, resumed))
    assert tail == all_of_it[70:]
    iterations = [int(iteration) for iteration, _ in all_of_it]
    assert iterations == list(range(160))
    expected = [f"{rate:.6g}" for rate in core_rates(solver, iterations)]
    assert [f"{float(rate):.6g}" for _, rate in all_of_it] == expected


@pytest.mark.parametrize(("alias", "name"), [("triangular", "tri"), ("triangular2", "tri2"), ("exp_range", "triexp")])
def test_other_peoples_files(caffe: Caffe, tmp_path: Path, alias: str, name: str) -> None:
    text = OURS[name].replace(f'"{name}"', f'"{alias}" start_lr_policy: 11')
    solver = write_solver(tmp_path, text, max_iter=100, display=100)
    iterations, got = rates(caffe.rates_program(), solver, "train", 100)
    told = caffe.run("train", f"--solver={solver.name}", cwd=tmp_path)
    assert f'lr_policy "{alias}" is read as "{name}"' in told.stderr
    assert "start_lr_policy is read as lr_policy_param { start: 11 }" in told.stderr
    assert same_bits(got, core_rates(solver, iterations))
    assert same_bits(got, core_rates(write_solver(tmp_path, OURS[f"{name} start"]), iterations))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('lr_policy: "tri3" base_lr: 0.1', 'lr_policy "tri3" is unknown; known: fixed, step, multistep, exp'),
        ("base_lr: 0.1", "lr_policy is missing; known: fixed, step"),
        ('lr_policy: "tri2" base_lr: 0.1 stepsize: 5', 'policy "tri2" needs max_lr (k1, the other end of the range)'),
        ('lr_policy: "cos" base_lr: 0.1 max_lr: 0.2', 'policy "cos" needs stepsize'),
        ('lr_policy: "sin" base_lr: 0.1 max_lr: 0.2 stepsize: 0', "stepsize must be a whole number from 1"),
        ('lr_policy: "triexp" base_lr: 0.1 max_lr: 0.2 stepsize: 9 gamma: -1', "gamma must be a number from 0"),
        ('lr_policy: "tri" base_lr: 0.1 max_lr: nan stepsize: 9', "max_lr must be a number from 0"),
        ('lr_policy: "step" base_lr: 0.1 gamma: 0.5', "stepsize must be a whole number from 1"),
        ('lr_policy: "exp" base_lr: 0.1 gamma: 0.9 min_lr: 0.2', "min_lr must not be above base_lr"),
        (
            'lr_policy: "tri" base_lr: 0.1 max_lr: 1 stepsize: 9 start_lr_policy: -5',
            "start must be a whole number from 0",
        ),
        (
            'lr_policy: "tri" base_lr: 0.1 max_lr: 1 stepsize: 9 start_lr_policy: 5 lr_policy_param { start: 6 }',
            "start_lr_policy and lr_policy_param.start say the same thing, but differ, got 5 and 6; leave one out",
        ),
        ('lr_policy: "fixed" base_lr: 0.1 warmup_iter: 5', 'no field named "warmup_iter"'),
    ],
)
def test_a_wrong_solver_dies_before_training(caffe: Caffe, tmp_path: Path, text: str, reason: str) -> None:
    solver = write_solver(tmp_path, text, display=1)
    done = caffe.run("train", f"--solver={solver.name}", cwd=tmp_path)
    assert done.returncode != 0
    assert reason in done.stderr
    assert "Iteration 0" not in done.stderr


def test_a_field_that_is_not_used_is_named(caffe: Caffe, tmp_path: Path) -> None:
    solver = write_solver(tmp_path, 'lr_policy: "fixed" base_lr: 0.1 max_lr: 0.2', max_iter=3)
    done = caffe.run("train", f"--solver={solver.name}", cwd=tmp_path)
    assert done.returncode == 0
    assert 'lr_policy "fixed" does not use max_lr' in done.stderr


@pytest.mark.parametrize(
    ("text", "unset"),
    [
        ('lr_policy: "fixed"', {"base_lr": "0"}),
        ('lr_policy: "step" base_lr: 0.1 stepsize: 2', {"gamma": "0"}),
        ('lr_policy: "inv" base_lr: 0.1', {"gamma": "0", "power": "0"}),
        ('lr_policy: "multistep" base_lr: 0.1 gamma: 0.5', {"stepvalue": "an empty list"}),
        ('lr_policy: "poly" base_lr: 0.1', {"power": "0"}),
        *((text, {}) for text in CAFFES.values()),
    ],
)
def test_a_field_that_caffe_counts_as_0_is_named_and_the_rates_stay(
    caffe: Caffe, unpatched_rates: Path, tmp_path: Path, text: str, unset: dict[str, str]
) -> None:
    solver = write_solver(tmp_path, text, max_iter=5)
    done = caffe.run("train", f"--solver={solver.name}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    warnings = re.findall(r"^W.*reads (\w+), which is not set and counts as ([^;]+); add", done.stderr, re.MULTILINE)
    assert warnings == list(unset.items())
    patched = rates(caffe.rates_program(), solver, "at", *range(5))[1]
    assert same_bits(patched, rates(unpatched_rates, solver, "at", *range(5))[1])


def test_the_tree_was_patched_by_this_program(caffe: Caffe, tmp_path: Path) -> None:
    if not caffe.source.is_dir():
        pytest.skip(f"no source tree beside {caffe.binary}")
    check = subprocess.run([sys.executable, str(PROGRAM), str(caffe.source), "--check"], check=False)
    assert check.returncode == 0


@pytest.fixture(scope="session")
def unpatched_rates(caffe: Caffe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same program with the solver of the undone tree linked in, ahead of the library's."""
    tree = tmp_path_factory.mktemp("unpatched") / "caffe"
    if caffe.source.is_dir():
        shutil.copytree(caffe.source / "src", tree / "src")
        shutil.copytree(caffe.source / "include", tree / "include")
        subprocess.run([sys.executable, str(PROGRAM), str(tree), "--revert"], check=True, capture_output=True)
        source = tree / "src/caffe/solvers/sgd_solver.cpp"
        text = source.read_text()
        assert "lrpolicy" not in text and "NotBelowMinLr" not in text
        # The library has registered the solver already.
        source.write_text(text.replace("REGISTER_SOLVER_CLASS(SGD);", ""))
    return caffe.compile("unpatched_rates", HERE / "rates.cpp", tree / "src/caffe/solvers/sgd_solver.cpp")
