"""The patched Caffe under the policies that observe the training, against the same state machines in Python."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adaptive_runs import LR_MULT, Training, replayed, train, write_task
from caffe_runs import Caffe, write_solver

from lrpolicy import caffemodel

SEQUENCE = 'lr_policy: "{}" base_lr: 0.0371 lr_policy_param {{ strategy: "{}" }}'
BY_TESTS = {
    **{
        f"{sequence} {strategy}": SEQUENCE.format(sequence, strategy)
        for sequence in ("seq1", "seq2", "seq3", "seq4")
        for strategy in ("by_epoch", "by_cutoff", "by_oscillate")
    },
    "seq1 min_lr": 'lr_policy: "seq1" base_lr: 0.0371 min_lr: 0.0171',
    "aslr": 'lr_policy: "aslr" base_lr: 0.03',
    "aslr seed": 'lr_policy: "aslr" base_lr: 0.0371 lr_policy_param { seed: 18446744073709551615 }',
}
PLATEAU = 'lr_policy: "plateau" base_lr: 0.0371 gamma: 0.3 plateau_winsize: 4 plateau_winsize: 6 plateau_winsize: 3'
LONG_PLATEAU = f"{PLATEAU} plateau_winsize: 25"
TLR = 'lr_policy: "tlr" base_lr: 0.3 lr_policy_param {{ epoch: 21 window: 0.15 {} }}'  # three updates
TLRS = {
    "displacement": TLR.format(""),
    "gradient": TLR.format('source: "gradient"'),
    "displacement per tensor": TLR.format("per_tensor: true bound: 0.5"),
    "gradient per tensor": TLR.format('source: "gradient" per_tensor: true'),
    "gradient restarting": TLR.format('source: "gradient" restart_below: 0.27'),
    "displacement per tensor restarting": TLR.format("per_tensor: true restart_below: 0.25"),
    "newton": TLR.format('variant: "newton"'),
    "fixed_eta": TLR.format('variant: "fixed_eta" eta: 1e-2 source: "gradient"'),
    "hypergradient": 'lr_policy: "tlr" base_lr: 0.0371 max_lr: 1 '
    'lr_policy_param { variant: "hypergradient" eta: 1e-2 source: "gradient" }',
}
SNAPSHOTS = {"BINARYPROTO": "", "HDF5": ".h5"}
TYPES = {"SGD": 0.9, "Nesterov": 0.9, "AdaGrad": 0, "RMSProp": 0, "AdaDelta": 0.9, "Adam": 0.9}


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return left.shape == right.shape and left.tobytes() == right.tobytes()


def restless(caffe: Caffe, folder: Path, text: str, **fields: object) -> tuple[Path, Training]:
    """A training whose losses fall and rise again."""
    solver = write_task(folder, text, **{"momentum": 0.97, "test_interval": 5, **fields})
    return solver, train(caffe, solver, 60)


@pytest.mark.parametrize("text", BY_TESTS.values(), ids=BY_TESTS)
def test_those_that_hear_the_tests_bit_for_bit(caffe: Caffe, tmp_path: Path, text: str) -> None:
    solver, seen = restless(caffe, tmp_path, text, momentum=0.9 if "by_cutoff" in text else 0.97)
    assert sorted(seen.test) == list(range(0, 60, 5))
    assert same_bits(seen.rates, replayed(solver, seen))
    assert len(set(seen.shown.tolist())) > 1, "the rate stands still"
    if "aslr" in text:
        assert len(set(seen.rates.ravel().tolist())) == seen.rates.size
    else:
        assert same_bits(seen.rates, np.repeat(seen.shown[:, None], len(LR_MULT), axis=1))


@pytest.mark.parametrize("average_loss", [1, 4])
@pytest.mark.parametrize("where", ["lr_policy_param", "the solver"])
def test_plateau_hears_the_smoothed_loss(caffe: Caffe, tmp_path: Path, average_loss: int, where: str) -> None:
    fields, _, winsize = PLATEAU.partition(" plateau_winsize")
    text = PLATEAU if where == "the solver" else f"{fields} lr_policy_param {{ plateau_winsize{winsize} }}"
    solver, seen = restless(caffe, tmp_path, text, average_loss=average_loss)
    assert same_bits(seen.rates, replayed(solver, seen))
    assert len(set(seen.shown.tolist())) == 4, "not every fall was seen"


@pytest.mark.parametrize("text", TLRS.values(), ids=TLRS)
def test_tlr_to_one_rounding_of_its_rate(caffe: Caffe, tmp_path: Path, text: str) -> None:
    """The dot products are sums in double, in another order here: the rates differ by less than one float's step."""
    solver = write_task(tmp_path, text, momentum=0.8)
    seen = train(caffe, solver, 60)
    expected = replayed(solver, seen)
    np.testing.assert_array_max_ulp(seen.rates, expected, maxulp=1, dtype=np.float32)
    learns = np.array(LR_MULT) > 0
    rates = seen.rates[:, learns]
    steps = rates[1:, 0] / rates[:-1, 0]
    assert len(set(steps[(steps != 1) & (steps < 1.2)].tolist())) >= 6, "the rate stands still, or at its bound"
    if "per_tensor" in text:
        assert len(set(rates[-1].tolist())) > 1, "the blobs share a rate"
    shown = rates.astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(seen.shown, shown, rtol=1e-6)


@pytest.mark.parametrize("kind", TYPES)
def test_every_solver_type_takes_the_rates_of_its_blobs(caffe: Caffe, tmp_path: Path, kind: str) -> None:
    text = f'lr_policy: "aslr" base_lr: 0.003 type: "{kind}"'
    solver = write_task(tmp_path, text, momentum=TYPES[kind], test_interval=5)
    seen = train(caffe, solver, 30)
    assert same_bits(seen.rates, replayed(solver, seen))


def test_the_weights_move_by_those_rates(caffe: Caffe, tmp_path: Path) -> None:
    seen = train(caffe, write_task(tmp_path, BY_TESTS["aslr"]), 30)
    for blob, lr_mult in enumerate(LR_MULT):
        weights, gradients = seen.weights[blob], seen.gradients[blob]
        step = seen.rates[:, blob, None] * np.float32(lr_mult) * gradients
        np.testing.assert_allclose(weights[1:], (weights - step)[:-1], rtol=1e-6, atol=1e-8)
        assert (weights[0] == weights[-1]).all() == (lr_mult == 0)


@pytest.mark.parametrize(
    "text",
    [BY_TESTS["seq1 by_epoch"], BY_TESTS["seq3 by_oscillate"], BY_TESTS["aslr seed"], LONG_PLATEAU, *TLRS.values()],
    ids=["seq1", "seq3", "aslr", "plateau", *TLRS],
)
@pytest.mark.parametrize("snapshot_format", SNAPSHOTS)
def test_a_resume_goes_on_bit_for_bit(caffe: Caffe, tmp_path: Path, text: str, snapshot_format: str) -> None:
    """In the middle of a window and of an epoch (25), and where a test pass is due that no one has heard yet (50)."""
    fields = {"momentum": 0.97, "average_loss": 4, "snapshot": 25, "snapshot_format": snapshot_format}
    solver = write_task(tmp_path, text, **fields)
    whole = train(caffe, solver, 75)
    for start in (25, 50):
        rest = train(caffe, solver, 75, f"snap_iter_{start}.solverstate{SNAPSHOTS[snapshot_format]}")
        assert rest.start == start
        assert same_bits(rest.rates, whole.rates[start:])
        assert same_bits(rest.shown, whole.shown[start:])
        for mine, theirs in zip(rest.weights, whole.weights, strict=True):
            assert same_bits(mine, theirs[start:])
    assert len(np.unique(whole.rates[25:], axis=0)) > 1, "the rate stands still after the resume"


@pytest.mark.parametrize("snapshot_format", SNAPSHOTS)
@pytest.mark.parametrize(
    ("made", "resumed", "reason"),
    [
        ('lr_policy: "fixed" base_lr: 0.01', BY_TESTS["aslr"], 'the snapshot has no state of lr_policy "aslr"'),
        (BY_TESTS["aslr"], TLRS["gradient"], 'the snapshot was made with lr_policy "aslr", got "tlr"'),
        (
            BY_TESTS["seq1 by_epoch"],
            BY_TESTS["seq2 by_epoch"],
            'the snapshot was made with lr_policy "seq1", got "seq2"',
        ),
        (
            TLRS["gradient"],
            TLRS["gradient per tensor"],
            "this state belongs to another list of tensors, got 1 rates for 4",
        ),
        (TLRS["gradient"], TLRS["displacement"], 'the snapshot was made with source "gradient", got "displacement"'),
    ],
)
def test_a_state_of_another_policy_is_refused(
    caffe: Caffe, tmp_path: Path, made: str, resumed: str, reason: str, snapshot_format: str
) -> None:
    solver = write_task(tmp_path, made, snapshot=20, snapshot_format=snapshot_format, max_iter=20)
    assert caffe.run("train", f"--solver={solver.name}", cwd=tmp_path).returncode == 0
    state = f"snap_iter_20.solverstate{SNAPSHOTS[snapshot_format]}"
    solver = write_task(tmp_path, resumed, display=1)
    done = caffe.run("train", f"--solver={solver.name}", f"--snapshot={state}", cwd=tmp_path)
    assert done.returncode != 0
    assert f"{state}: {reason}" in done.stderr
    assert "Iteration 20," not in done.stderr


@pytest.mark.parametrize("snapshot_format", SNAPSHOTS)
@pytest.mark.parametrize("made", [TLRS["displacement"], 'lr_policy: "fixed" base_lr: 0.01'], ids=["tlr", "fixed"])
def test_a_static_policy_resumes_from_any_state(caffe: Caffe, tmp_path: Path, made: str, snapshot_format: str) -> None:
    solver = write_task(tmp_path, made, snapshot=20, snapshot_format=snapshot_format, max_iter=20)
    assert caffe.run("train", f"--solver={solver.name}", cwd=tmp_path).returncode == 0
    state = f"snap_iter_20.solverstate{SNAPSHOTS[snapshot_format]}"
    solver = write_task(tmp_path, 'lr_policy: "exp" base_lr: 0.01 gamma: 0.9', display=1, max_iter=30)
    done = caffe.run("train", f"--solver={solver.name}", f"--snapshot={state}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Iteration 20, lr = 0.00121577" in done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('lr_policy: "tlr" base_lr: 0.1', 'policy "tlr" needs epoch, which Caffe cannot count in the data; add for'),
        (
            'lr_policy: "tlr" lr_policy_param { epoch: 9 }',
            'policy "tlr" needs base_lr (the rate to start from; above 0)',
        ),
        (
            TLR.format('variant: "naive" eta: 1 source: "gradient"'),
            'variant "naive" needs a second pass over each batch',
        ),
        ('lr_policy: "tlr" base_lr: 0.1 lr_policy_param { epoch: 0 }', '"tlr": epoch must be 1 or more, got 0'),
        (TLR.format('variant: "nave"'), 'variant "nave" is unknown; known: efficient, naive'),
        (TLR.format('source: "both"'), 'source "both" is unknown; known: gradient, displacement'),
        (TLR.format('variant: "fixed_eta" source: "gradient"'), 'variant "fixed_eta" needs eta'),
        (
            TLR.format("").replace("0.15", "1.5"),
            "window, the part of an epoch between two updates of the rate, must lie in (0, 1]",
        ),
        (TLR.format("seed: 5"), 'policy "tlr" does not use seed; remove it; its lr_policy_param has: variant, source'),
        ('lr_policy: "aslr" base_lr: 0', "base_lr must be a number above 0"),
        ('lr_policy: "aslr" base_lr: 0.1 lr_policy_param { epoch: 5 }', 'policy "aslr" does not use epoch'),
        ('lr_policy: "seq1" base_lr: 0.1 min_lr: 0.2', "min_lr must lie between 0 and base_lr"),
        (
            'lr_policy: "seq2" base_lr: 0.1 lr_policy_param { strategy: "by_luck" }',
            'strategy "by_luck" is unknown; known',
        ),
        ('lr_policy: "seq5" base_lr: 0.1', "is unknown; known: fixed, step, multistep"),
        ('lr_policy: "plateau" base_lr: 0.1 gamma: 0.1', 'policy "plateau" needs plateau_winsize'),
        ('lr_policy: "plateau" base_lr: 0.1 plateau_winsize: 5', 'policy "plateau" needs gamma'),
        ('lr_policy: "plateau" base_lr: 0.1 gamma: 1 plateau_winsize: 0', "plateau_winsize must hold whole numbers"),
        (f"{PLATEAU} lr_policy_param {{ plateau_winsize: 5 }}", "say the same thing; leave one out"),
        ('lr_policy: "fixed" base_lr: 0.1 lr_policy_param { seed: 5 }', 'policy "fixed" does not use seed; remove it'),
    ],
)
def test_a_wrong_solver_dies_before_training(caffe: Caffe, tmp_path: Path, text: str, reason: str) -> None:
    solver = write_task(tmp_path, text, display=1)
    done = caffe.run("train", f"--solver={solver.name}", cwd=tmp_path)
    assert done.returncode != 0
    assert reason in done.stderr
    assert "Iteration 0" not in done.stderr


def test_who_hears_the_tests_needs_tests(caffe: Caffe, tmp_path: Path) -> None:
    bare = write_solver(tmp_path, BY_TESTS["aslr"], display=1)
    done = caffe.run("train", f"--solver={bare.name}", cwd=tmp_path)
    assert done.returncode != 0
    assert "observes the loss of each test pass, and test_interval is not set; add for example" in done.stderr
    netless = write_solver(tmp_path, BY_TESTS["aslr"], test_interval=5)
    done = caffe.run("train", f"--solver={netless.name}", cwd=tmp_path)
    assert done.returncode != 0
    assert "there is no test net; add for example  test_iter: 100" in done.stderr
    empty = write_solver(tmp_path, BY_TESTS["aslr"], test_interval=5, test_iter=0)
    done = caffe.run("train", f"--solver={empty.name}", cwd=tmp_path)
    assert done.returncode != 0
    assert "test_iter leaves it no batch, got 0; give test_iter the batches of the test set" in done.stderr
    lossless = write_solver(tmp_path, BY_TESTS["aslr"], test_interval=5, test_iter=1)
    net = tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace('name: "loss"', 'name: "loss" include { phase: TRAIN }'))
    done = caffe.run("train", f"--solver={lossless.name}", cwd=tmp_path)
    assert done.returncode != 0
    assert "the test net has none; include the loss layer in phase TEST too" in done.stderr


def test_what_the_log_says(caffe: Caffe, tmp_path: Path) -> None:
    text = 'lr_policy: "aslr" base_lr: 0.0371 max_lr: 1 stepsize: 5'
    done = caffe.run("train", f"--solver={write_task(tmp_path, text).name}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "base_lr 0.0371 is read as 0.04: ASLR walks along rates of one digit" in done.stderr
    for name in ("max_lr", "stepsize"):
        assert f'lr_policy "aslr" does not use {name}' in done.stderr
    limited = 'lr_policy: "tlr" base_lr: 0.001 max_lr: 0.001 lr_policy_param { epoch: 6 }'
    done = caffe.run("train", f"--solver={write_task(tmp_path, limited).name}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the rate was stopped at 0.001") == 1


@pytest.mark.parametrize(
    ("per_tensor", "ruined", "said"),
    [
        ("", "window", ": the dot products of parameter blob 1 are not finite; the rate stays"),
        ("", "rate", ": the dot products are not finite; the rate stays 1e-200"),
        ("per_tensor: true", "window", ": parameter blob 1: the dot products are not finite; the rate"),
        ("per_tensor: true", "rate", ": parameter blob 0: the dot products are not finite; the rate stays 1e-200"),
    ],
)
def test_the_log_names_what_is_not_finite(
    caffe: Caffe, tmp_path: Path, per_tensor: str, ruined: str, said: str
) -> None:
    """A NaN in the window before, of blob 1 of 3 that learn; or a rate by whose square finite dot products overflow."""
    solver = write_task(tmp_path, TLR.format(per_tensor), momentum=0.9, snapshot=21, max_iter=21)
    assert caffe.run("train", f"--solver={solver.name}", cwd=tmp_path).returncode == 0
    path = tmp_path / "snap_iter_21.solverstate"
    state = caffemodel.read_state(path)
    policy = json.loads(state.extra)
    if ruined == "rate":
        policy["rates"] = [1e-200 for _ in policy["rates"]]
    else:
        state.policy_history[4][:] = np.nan
    caffemodel.write_state(path, replace(state, extra=json.dumps(policy).encode()))
    write_task(tmp_path, TLR.format(per_tensor), momentum=0.9, max_iter=25)
    done = caffe.run("train", f"--solver={solver.name}", f"--snapshot={path.name}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "not finite" in line]
    assert said in line
