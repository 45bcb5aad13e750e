"""Adaptive policies in the torch engine, held against what their papers say, written anew here in NumPy."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_support import Recorder, digits_solver

torch = pytest.importorskip("torch")

from lrpolicy.caffemodel import read_state, write_state  # noqa: E402
from lrpolicy.engines.base import TrainingJob  # noqa: E402
from lrpolicy.engines.torch import TorchEngine  # noqa: E402
from lrpolicy.errors import InputError  # noqa: E402
from lrpolicy.records import TrialOutcome, TrialStatus  # noqa: E402
from lrpolicy.stateful import Aslr  # noqa: E402

HIDDEN = """
layer { name: "hidden" type: "InnerProduct" bottom: "data" top: "hidden"
  param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 12 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "hidden" top: "hidden" }
"""
NORM = """
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" param { lr_mult: 0 } param { lr_mult: 0 }
  param { lr_mult: 0 } }
"""


@dataclass
class Trace:
    """Every update of a training: the rates it was given, and the tensors' gradients and values around it."""

    rates: list[np.ndarray]
    gradients: list[list[np.ndarray]]
    before: list[list[np.ndarray]]
    after: list[list[np.ndarray]]
    losses: list[float]
    outcome: TrialOutcome
    seen: Recorder


def traced(solver: Any, **options: Any) -> Trace:
    """Train while watching the optimizer, the only place where rates meet weights."""
    seen = Recorder()
    trainer = TorchEngine().trainer(TrainingJob(solver, threads=1, **options), seen)
    optimizer = trainer.updater.optimizer
    tensors = [weight.tensor for weight in trainer.weights.learned]
    trace = Trace([], [], [], [], [], None, seen)  # type: ignore[arg-type]
    apply, settle = optimizer.apply, trainer.losses.settle

    def watched(rate: Any, iteration: int) -> None:
        assert iteration == len(trace.rates)
        trace.rates.append(np.broadcast_to(np.asarray(rate, np.float64), (len(tensors),)))
        trace.gradients.append([np.zeros(t.shape) if t.grad is None else values(t.grad) for t in tensors])
        trace.before.append([values(t) for t in tensors])
        apply(rate, iteration)
        trace.after.append([values(t) for t in tensors])

    def settled() -> Any:
        trace.losses.extend(loss.item() for loss in trainer.losses.pending)
        return settle()

    optimizer.apply, trainer.losses.settle = watched, settled  # type: ignore[method-assign]
    trace.outcome = trainer.run()
    return trace


def values(tensor: Any) -> np.ndarray:
    return np.array(tensor.detach().numpy(), np.float64)


def algorithm_2(alpha: float, d: float, n: float, bound: float = 0.25) -> float:
    """Equation 9 of the TLR paper: alpha_(t+1) = alpha_t (1 + min(d / max(4(n - d), 0), c))."""
    if d == 0 or n == 0:
        return alpha
    denominator = max(4 * (n - d), 0)
    ratio = math.inf if denominator == 0 and d > 0 else d / denominator
    return alpha * (1 + min(ratio, bound))


def inner(a: list[np.ndarray], b: list[np.ndarray], which: list[int]) -> float:
    return math.fsum(float(np.dot(a[i].ravel(), b[i].ravel())) for i in which)


def test_tlr_with_the_window_of_one_update_is_algorithm_2(tmp_path: Path) -> None:
    solver = digits_solver(
        tmp_path,
        'lr_policy: "tlr" base_lr: 0.05 max_iter: 40 lr_policy_param { source: "gradient" window: 0.01 }',
    )
    trace = traced(solver)
    alpha, everything, moved = 0.05, [0, 1], False
    for t, gradients in enumerate(trace.gradients):
        if t > 0:
            n = inner(gradients, gradients, everything)
            d = inner(gradients, trace.gradients[t - 1], everything)
            alpha = algorithm_2(alpha, d, n)
            moved = moved or alpha != 0.05
        np.testing.assert_allclose(trace.rates[t], alpha, rtol=2e-6)  # rates reach the weights as float32
    assert moved and trace.outcome.status is TrialStatus.COMPLETED


@pytest.mark.parametrize("per_tensor", [False, True])
def test_tlr_over_windows_of_displacements(per_tensor: bool, tmp_path: Path) -> None:
    own = f"lr_policy_param {{ epoch: 15 per_tensor: {str(per_tensor).lower()} }}"
    fields = f'lr_policy: "tlr" base_lr: 0.02 momentum: 0.5 weight_decay: 0.01 max_iter: 33 iter_size: 2 {own}'
    trace = traced(digits_solver(tmp_path, fields, layers=HIDDEN, scores_from="hidden"))
    lr_mult, window = np.array([1.0, 2.0, 1.0, 1.0]), 5
    alpha, last = np.full(4, 0.02), None
    for t in range(33):
        np.testing.assert_allclose(trace.rates[t], alpha, rtol=2e-6)
        if (t + 1) % window == 0:
            start = trace.before[t + 1 - window]
            moved = [a - b for a, b in zip(start, trace.after[t], strict=True)]
            mean = [m / (window * r * k) for m, r, k in zip(moved, alpha, lr_mult, strict=True)]
            if last is not None:
                groups = [[0], [1], [2], [3]] if per_tensor else [[0, 1, 2, 3]]
                for which in groups:  # each tensor weighs as much as its rate moves the loss: by its lr_mult
                    weighted = [m * math.sqrt(k) for m, k in zip(mean, lr_mult, strict=True)]
                    n = inner(weighted, weighted, which)
                    d = inner(weighted, last, which)
                    alpha[which] = algorithm_2(float(alpha[which[0]]), d, n)
            last = [m * math.sqrt(k) for m, k in zip(mean, lr_mult, strict=True)]
    assert (len(set(alpha)) > 1) == per_tensor and alpha[0] != 0.02


def test_tlr_takes_the_epoch_from_the_data(tmp_path: Path) -> None:
    trace = traced(digits_solver(tmp_path, 'lr_policy: "tlr" base_lr: 0.02 max_iter: 45 iter_size: 2'))
    changes = [t for t in range(1, 45) if trace.rates[t][0] != trace.rates[t - 1][0]]
    batches = math.ceil((1437 - 144) / 64)  # the digits' training images less the validation tenth
    assert changes[0] == 2 * (batches // 3)


def test_tlr_naive_adds_the_product_with_a_second_gradient(tmp_path: Path) -> None:
    own = 'lr_policy_param { variant: "naive" source: "gradient" window: 0.01 eta: 0.02 }'
    solver = digits_solver(tmp_path, f'lr_policy: "tlr" base_lr: 0.05 max_iter: 12 {own}')
    trace = traced(solver)
    images, labels = digits_batches(solver, 12)
    alpha = 0.05
    for t, (weight, bias) in enumerate(trace.before):
        g = softmax_gradient(weight, bias, images[t], labels[t])
        np.testing.assert_allclose(trace.gradients[t][0], g[0], atol=1e-6)
        h = softmax_gradient(weight - alpha * g[0], bias - alpha * g[1], images[t], labels[t])
        alpha = max(alpha + 0.02 * inner(h, g, [0, 1]), 0)
        np.testing.assert_allclose(trace.rates[t], alpha, rtol=1e-5)
    assert alpha != 0.05


def digits_batches(solver: Any, count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    feed = TorchEngine().trainer(TrainingJob(solver, threads=1), Recorder()).updater.feed
    batches = [feed.batch(t) for t in range(count)]
    return [values(x).reshape(len(x), -1) for x, _ in batches], [y.numpy() for _, y in batches]


def softmax_gradient(weight: np.ndarray, bias: np.ndarray, images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    scores = images @ weight.T + bias
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(labels)), labels.ravel().astype(int)] -= 1
    return [shares.T @ images / len(labels), shares.sum(axis=0) / len(labels)]


def test_naive_leaves_batch_norm_statistics_alone(tmp_path: Path) -> None:
    tlr = 'lr_policy: "tlr" base_lr: 0.05 max_iter: 1 lr_policy_param {{ variant: "{}" eta: 1e-30 source: "gradient" }}'
    after = [
        traced(digits_solver(tmp_path, tlr.format(variant), layers=NORM, scores_from="bn")).after[0]
        for variant in ("naive", "fixed_eta")
    ]
    assert all(np.array_equal(a, b) for a, b in zip(*after, strict=True))


def test_aslr_draws_for_every_iteration_and_tensor_and_walks_after_test_passes(tmp_path: Path) -> None:
    fields = 'lr_policy: "aslr" base_lr: 0.5 max_iter: 60 test_interval: 4 lr_policy_param { seed: 5 }'
    trace = traced(digits_solver(tmp_path, fields, layers=NORM, scores_from="bn"))
    costs = [m.evaluation.loss for m in trace.seen.measurements if m.split == "validation" and m.iteration > 0]
    assert len(costs) == 15 and len(trace.rates[0]) == 5  # BatchNorm's three, frozen, are counted
    digit, least, direction, reach, steps = 5, math.inf, 1, 1, 0  # the paper's Algorithm 1, for centres of one digit
    for t in range(60):
        if t > 0 and t % 4 == 0:
            cost = costs[t // 4 - 1]
            if cost <= least:
                least, direction, reach, steps = cost, 1, 1, 0
            else:
                digit, steps = digit + direction, steps + 1
                if steps == reach:
                    reach, direction, steps = reach + 1, -direction, 0
            assert 1 < digit < 9
        low, high = digit / 10 - 0.05, digit / 10 + 0.05
        assert np.all((trace.rates[t] >= low) & (trace.rates[t] <= high))
        state = replace(Aslr(0.5, seed=5).init(), digit=digit)
        expected = Aslr(0.5, seed=5).rates(state, t, 5).astype(np.float32)  # known answers: tests/data
        assert np.array_equal(trace.rates[t], expected)
    assert digit != 5 or reach > 1, "the costs of this training never grew: nothing was searched"
    assert trace.seen.measurements[1].rate == 0.5  # the centre


def test_seq3_by_epoch_is_its_closed_form(tmp_path: Path) -> None:
    fields = 'lr_policy: "seq3" base_lr: 0.1 max_iter: 50 test_interval: 7 test_initialization: true'
    trace = traced(digits_solver(tmp_path, fields))
    expected = [np.float32(np.float32(0.1).astype(float) * 0.9 ** (t // 7)) for t in range(50)]
    np.testing.assert_allclose([r[0] for r in trace.rates], expected, rtol=6e-8)


@pytest.mark.parametrize("strategy", ["by_cutoff", "by_oscillate"])
def test_sequences_follow_the_validation_loss(strategy: str, tmp_path: Path) -> None:
    fields = (
        f'lr_policy: "seq1" base_lr: 0.3 max_iter: 400 test_interval: 5 lr_policy_param {{ strategy: "{strategy}" }}'
    )
    trace = traced(digits_solver(tmp_path, fields, layers=HIDDEN, scores_from="hidden"))
    losses = [m.evaluation.loss for m in trace.seen.measurements if m.split == "validation" and m.iteration > 0]
    n, cutoff, last = 1, 0.0, None
    for t in range(0, 400, 5):
        if t > 0:
            loss = losses[t // 5 - 1]
            if last is None:
                cutoff = 0.01 * loss
            elif (abs(loss - last) < cutoff) if strategy == "by_cutoff" else loss > last:
                n, cutoff = n + 1, cutoff * 0.2
            last = loss
        np.testing.assert_allclose(trace.rates[t], 0.3 / n, rtol=1e-7)
    assert n > 1


def test_plateau_is_pytorchs_reduce_lr_on_plateau(tmp_path: Path) -> None:
    winsize = " ".join(["plateau_winsize: 4"] * 30)
    fields = (
        f'lr_policy: "plateau" base_lr: 0.5 gamma: 0.8 max_iter: 100 average_loss: 3 lr_policy_param {{ {winsize} }}'
    )
    trace = traced(digits_solver(tmp_path, fields, batch=8))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.8, patience=3, threshold=0)
    for t in range(100):
        theirs.step(float(np.mean(trace.losses[max(0, t - 2) : t + 1])))
        np.testing.assert_allclose(trace.rates[t], optimizer.param_groups[0]["lr"], rtol=1e-6)
    assert 1 < len({r[0] for r in trace.rates}) <= 31


TLR = 'lr_policy: "tlr" base_lr: 0.02 lr_policy_param { epoch: 30 %s }'
POLICIES = {
    "tlr": TLR % "",
    "tlr per tensor": TLR % 'per_tensor: true source: "gradient"',
    "tlr naive": TLR % 'variant: "naive" eta: 0.01 source: "gradient"',
    "tlr newton": TLR % 'variant: "newton"',
    "aslr": 'lr_policy: "aslr" base_lr: 0.3',
    "seq4": 'lr_policy: "seq4" base_lr: 0.2 lr_policy_param { strategy: "by_oscillate" }',
    "plateau": 'lr_policy: "plateau" base_lr: 0.5 gamma: 0.8 lr_policy_param { plateau_winsize: 3 plateau_winsize: 3 }',
}


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("name", POLICIES)
def test_a_resumed_training_goes_on_bit_for_bit(name: str, form: str, tmp_path: Path) -> None:
    fields = f"{POLICIES[name]} max_iter: 60 test_interval: 12 momentum: 0.9 average_loss: 4 snapshot_format: {form}"
    solver = digits_solver(tmp_path, fields, layers=NORM + HIDDEN, scores_from="hidden")
    whole = traced(solver)
    job = TrainingJob(solver, threads=1, snapshot_prefix=tmp_path / "half")
    stops = Recorder()
    trainer = TorchEngine().trainer(replace(job, max_iter=37), stops)  # in the middle of a window and of an epoch
    trainer.run()
    rest = Recorder()
    resumed = TorchEngine().trainer(replace(job, resume=stops.snapshots[-1]), rest)
    given: list[Any] = []
    apply = resumed.updater.optimizer.apply
    resumed.updater.optimizer.apply = lambda rate, t: (given.append(rate), apply(rate, t))[1]  # type: ignore[method-assign,func-returns-value]
    resumed.run()
    assert np.array_equal([np.broadcast_to(r, whole.rates[0].shape) for r in given], whole.rates[37:])
    later = [(m.iteration, m.split, m.rate, m.evaluation) for m in rest.measurements if m.split == "validation"]
    assert later == [
        (m.iteration, m.split, m.rate, m.evaluation)
        for m in whole.seen.measurements
        if m.split == "validation" and m.iteration > 37
    ]
    state = read_state(stops.snapshots[-1])
    learning = 4 if name.startswith("tlr") else 0
    assert len(state.policy_history) == 2 * learning


def test_a_snapshot_of_caffes_is_tested_before_it_goes_on(tmp_path: Path) -> None:
    """Caffe saves at iteration 24 before the test pass that is due there, and keeps nothing but the policy's state."""
    solver = digits_solver(tmp_path, 'lr_policy: "seq3" base_lr: 0.1 max_iter: 40 test_interval: 12 momentum: 0.9')
    whole = traced(solver)
    stops = Recorder()
    job = TrainingJob(solver, threads=1, snapshot_prefix=tmp_path / "half")
    TorchEngine().train(replace(job, max_iter=24), stops)
    ours = read_state(stops.snapshots[-1])
    policy = {name: value for name, value in json.loads(ours.extra).items() if name != "engine"}
    assert policy["advances"] == 2
    extra = json.dumps(policy | {"advances": 1}).encode()
    write_state(tmp_path / "caffe.solverstate", replace(ours, extra=extra))
    rest = Recorder()
    TorchEngine().train(replace(job, resume=tmp_path / "caffe.solverstate"), rest)
    validation = [(m.iteration, m.rate) for m in rest.measurements if m.split == "validation"]
    assert [iteration for iteration, _ in validation] == [24, 36, 40]
    expected = [(m.iteration, m.rate) for m in whole.seen.measurements if m.split == "validation" and m.iteration > 24]
    assert validation[1:] == expected


def test_the_state_of_another_policy_is_refused(tmp_path: Path) -> None:
    def snapshot(fields: str) -> Path:
        solver = digits_solver(tmp_path, f"{fields} max_iter: 4 test_interval: 2")
        seen = Recorder()
        TorchEngine().train(TrainingJob(solver, threads=1, snapshot_prefix=tmp_path / "s"), seen)
        return seen.snapshots[-1]

    def resume(fields: str, path: Path) -> None:
        solver = digits_solver(tmp_path, f"{fields} max_iter: 8 test_interval: 2")
        TorchEngine().train(TrainingJob(solver, threads=1, resume=path), Recorder())

    path = snapshot(POLICIES["seq4"])
    with pytest.raises(InputError, match=r"s_iter_4.solverstate: this is no state of schedule aslr, got schedule sequ"):
        resume(POLICIES["aslr"], path)
    with pytest.raises(InputError, match=r"s_iter_4.solverstate: the snapshot was made with lr_policy seq4, got seq3"):
        resume('lr_policy: "seq3" base_lr: 0.2', path)
    path = snapshot('lr_policy: "fixed" base_lr: 0.1')
    with pytest.raises(InputError, match=r"the snapshot has no state of tlr: it was made with another policy; start"):
        resume(POLICIES["tlr"], path)
    path = snapshot(POLICIES["tlr"])
    state = read_state(path)
    with pytest.raises(InputError, match=r"s_iter_4.solverstate: the snapshot was made with source \w+, got \w+; res"):
        resume(TLR % 'source: "gradient"', path)
    assert b'"source": "displacement", ' in state.extra
    write_state(path, replace(state, extra=state.extra.replace(b'"source": "displacement", ', b"")))
    resume(POLICIES["tlr"], path)  # as a snapshot of before it was kept
    with pytest.raises(InputError, match=r"s_iter_4.solverstate: this state has 1 rates|another list of tensors"):
        resume(POLICIES["tlr per tensor"], path)


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_every_solver_type_takes_a_rate_for_each_tensor(kind: str, tmp_path: Path) -> None:
    momentum = "momentum: 0.9" if kind in ("Nesterov", "AdaDelta", "Adam") else ""
    plain = f'type: "{kind}" {momentum} max_iter: 8 lr_policy: "fixed" base_lr: 0.01'
    whole = traced(digits_solver(tmp_path, plain, layers=HIDDEN, scores_from="hidden"))
    tlr = plain.replace('"fixed"', '"tlr"') + " lr_policy_param { per_tensor: true epoch: 1000 }"
    each = traced(digits_solver(tmp_path, tlr, layers=HIDDEN, scores_from="hidden"))
    for a, b in zip(whole.after[-1], each.after[-1], strict=True):  # before the first window ends all rates are one
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_what_tlr_meets_reaches_the_user_once(tmp_path: Path) -> None:
    fields = (
        'lr_policy: "tlr" base_lr: 0.01 max_lr: 0.0101 max_iter: 30 lr_policy_param { source: "gradient" epoch: 6 }'
    )
    trace = traced(digits_solver(tmp_path, fields))
    assert trace.seen.notes == ["tlr, window 2: the rate was stopped at 0.0101"]
    assert trace.outcome.message.startswith("windows with a rate stopped at its limit: ")


def test_a_training_that_diverges_is_a_result(tmp_path: Path) -> None:
    trace = traced(
        digits_solver(tmp_path, 'lr_policy: "tlr" base_lr: 1e30 max_iter: 30', layers=HIDDEN, scores_from="hidden")
    )
    assert trace.outcome.status is TrialStatus.DIVERGED
    assert "is not finite" in trace.outcome.message
