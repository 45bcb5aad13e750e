"""Whole trainings on the digits: protocols, determinism, snapshots, divergence, and what wrong input gets."""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path

import numpy as np
import pytest
from engine_support import Recorder, digits_solver
from sklearn.metrics import log_loss

from lrpolicy.caffemodel import read_state, read_weights, write_state
from lrpolicy.datasets import open_dataset, split_validation, write_lmdb
from lrpolicy.engines import load_engine
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.errors import InputError, RunError
from lrpolicy.policies import Policy
from lrpolicy.records import Measurement, Protocol, Split, TrialOutcome, TrialStatus

ENGINE = TorchEngine()  # keeps the digits between tests

# Everything random at once: crops, mirrors, dropout; and statistics, and two batches for each update.
LAYERS = """
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "msra" } }
}
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { moving_average_fraction: 0.9 } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" dropout_param { dropout_ratio: 0.3 } }
"""
CROP = "scale: 0.0625 crop_size: 7"
RANDOM = {"layers": LAYERS, "scores_from": "conv", "transform": f"{CROP} mirror: true", "test_transform": CROP}


def train(job: TrainingJob, recorder: Recorder | None = None) -> tuple[TrialOutcome, Recorder]:
    recorder = recorder or Recorder()
    return ENGINE.train(dataclasses.replace(job, threads=1), recorder), recorder


def timeless(measurements: list[Measurement]) -> list[Measurement]:
    return [dataclasses.replace(measurement, seconds=0) for measurement in measurements]


def test_the_engine_is_found_by_name() -> None:
    assert isinstance(load_engine("torch"), TorchEngine)


def test_describe_tells_net_and_data_without_training(tmp_path: Path) -> None:
    task = ENGINE.describe(TrainingJob(digits_solver(tmp_path)))
    digits = open_dataset("digits")
    assert (task.framework, task.network.name, task.network.weight_count) == ("torch", "net", 650)
    assert task.dataset.train_size + task.dataset.validation_size == len(digits.train)
    assert task.dataset.validation_size == round(len(digits.train) / 10)
    assert (task.dataset.test_size, task.dataset.class_count) == (len(digits.test), 10)
    assert task.dataset.fingerprint == digits.fingerprint


def test_validation_selects_and_the_test_set_is_measured_once(tmp_path: Path) -> None:
    outcome, recorder = train(TrainingJob(digits_solver(tmp_path, "test_iter: 1 test_interval: 5 display: 10")))
    *validation, test = recorder.measurements
    assert [m.iteration for m in validation] == [0, 5, 10, 15, 20]
    assert {m.split for m in validation} == {Split.VALIDATION}
    best = max(validation, key=lambda m: m.evaluation.top1)  # the first one on ties
    assert (outcome.status, outcome.iterations) == (TrialStatus.COMPLETED, 20)
    assert (outcome.best, outcome.test) == (best, test)
    assert (test.split, test.iteration) == (Split.TEST, best.iteration)
    assert test.evaluation.example_count == len(open_dataset("digits").test)
    assert best.evaluation.top1 > 0.3
    assert [iteration for iteration, _, _ in recorder.displays] == [10, 20]


def test_paper_protocol_reports_the_maximum_on_the_test_set(tmp_path: Path) -> None:
    job = TrainingJob(digits_solver(tmp_path), protocol=Protocol.PAPER, test_interval=5)
    outcome, recorder = train(job)
    assert {m.split for m in recorder.measurements} == {Split.TEST}
    assert outcome.best == outcome.test == max(recorder.measurements, key=lambda m: m.evaluation.top1)
    assert ENGINE.describe(job).dataset.validation_size == 0


def test_measurements_equal_sklearn_on_the_saved_weights(tmp_path: Path) -> None:
    job = TrainingJob(digits_solver(tmp_path), max_iter=8, snapshot_prefix=tmp_path / "run")
    outcome, _ = train(job)
    weight, bias = read_weights(tmp_path / "run_iter_8.caffemodel")["ip"]
    digits = open_dataset("digits")
    for measurement, examples in ((outcome.best, split_validation(digits.train)[1]), (outcome.test, digits.test)):
        assert measurement is not None
        scores = examples.images.reshape(len(examples), 64) * np.float32(0.0625) @ weight.T + bias
        odds = np.exp(scores.astype(float) - scores.max(1, keepdims=True))
        probabilities = odds / odds.sum(1, keepdims=True)
        top1 = (scores.argmax(1) == examples.labels).mean()
        assert measurement.evaluation.top1 == pytest.approx(top1, abs=1e-12)
        assert measurement.evaluation.loss == pytest.approx(log_loss(examples.labels, probabilities), rel=1e-5)


@pytest.mark.parametrize("interval", [4, 8, 48])
def test_train_loss_is_that_of_the_last_updates_however_often_it_is_measured(interval: int, tmp_path: Path) -> None:
    each = digits_solver(tmp_path, f"display: 1 test_iter: 1 test_interval: {interval} average_loss: 1")
    _, recorder = train(TrainingJob(each, max_iter=48))
    losses = [loss for _, loss, _ in recorder.displays]
    first, *measured = [m for m in recorder.measurements if m.split is Split.VALIDATION]
    assert math.isnan(first.train_loss)
    assert [m.iteration for m in measured] == list(range(interval, 49, interval))
    for m in measured:
        assert m.train_loss == pytest.approx(np.mean(losses[max(0, m.iteration - 20) : m.iteration]))


def test_displayed_losses_are_smoothed_over_average_loss(tmp_path: Path) -> None:
    losses = [loss for _, loss, _ in train(TrainingJob(digits_solver(tmp_path, "display: 1"), max_iter=8))[1].displays]
    smooth = digits_solver(tmp_path, "display: 1 average_loss: 3")
    _, recorder = train(TrainingJob(smooth, max_iter=8))
    wanted = [np.mean(losses[max(0, i - 2) : i + 1]) for i in range(8)]
    assert [loss for _, loss, _ in recorder.displays] == pytest.approx(wanted)


def test_the_jobs_own_schedule_replaces_the_solvers(tmp_path: Path) -> None:
    schedule = Policy("tri", base_lr=0.01, max_lr=0.06, stepsize=5)
    _, recorder = train(TrainingJob(digits_solver(tmp_path, "display: 1"), schedule=schedule, max_iter=6))
    assert [rate for _, _, rate in recorder.displays] == np.float32(schedule.rates(range(6))).tolist()


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path: Path) -> None:
    job = TrainingJob(digits_solver(tmp_path, "iter_size: 2", **RANDOM), test_interval=5, max_iter=10)  # type: ignore[arg-type]
    first, again = train(job)[1], train(job)[1]
    other = train(dataclasses.replace(job, seed=2))[1]
    assert timeless(first.measurements) == timeless(again.measurements)
    assert first.measurements[-1].evaluation != other.measurements[-1].evaluation


@pytest.mark.parametrize("fields", ['type: "Adam" momentum: 0.9 base_lr: 0.01', "momentum: 0.9 snapshot_format: HDF5"])
def test_a_resumed_training_goes_on_bit_for_bit(tmp_path: Path, fields: str) -> None:
    solver = digits_solver(tmp_path, f"{fields} iter_size: 2 snapshot: 10 average_loss: 4 display: 3", **RANDOM)  # type: ignore[arg-type]
    job = TrainingJob(solver, test_interval=6, seed=5, snapshot_prefix=tmp_path / "whole")
    _, whole = train(job)
    middle, end = whole.snapshots
    job = dataclasses.replace(job, resume=middle, snapshot_prefix=tmp_path / "resumed")
    _, resumed = train(job)
    assert timeless(resumed.measurements[:-1]) == timeless(whole.measurements[2:-1])
    assert resumed.displays == whole.displays[3:]
    (resumed_end,) = resumed.snapshots
    for ours, theirs in zip(read_state(resumed_end).history, read_state(end).history, strict=True):
        assert np.array_equal(ours, theirs)
    ours, theirs = (read_weights(read_state(path).learned_net) for path in (resumed_end, end))
    for name, blobs in theirs.items():
        for mine, blob in zip(ours[name], blobs, strict=True):
            assert np.array_equal(mine, blob)


def test_divergence_is_an_outcome_with_the_iteration_and_the_last_finite_loss(tmp_path: Path) -> None:
    outcome, recorder = train(TrainingJob(digits_solver(tmp_path, "base_lr: 1e38 momentum: 0.9"), test_interval=2))
    assert outcome.status is TrialStatus.DIVERGED
    assert outcome.iterations < 20
    assert "not finite" in outcome.message
    assert all(math.isfinite(m.evaluation.loss) for m in recorder.measurements)


def test_a_deep_untrained_batch_norm_is_no_divergence(tmp_path: Path) -> None:
    # 20 of them multiply by 1/sqrt(eps) each while their statistics are zero: the first scores overflow, as in Caffe.
    layer = 'layer {{ name: "bn{0}" type: "BatchNorm" bottom: "{1}" top: "b{0}" }}'
    layers = "".join(layer.format(depth, f"b{depth - 1}" if depth else "data") for depth in range(20))
    solver = digits_solver(tmp_path, layers=layers, scores_from="b19")
    outcome, recorder = train(TrainingJob(solver, test_interval=10))
    assert outcome.status is TrialStatus.COMPLETED
    assert [m.iteration for m in recorder.measurements if m.split is Split.VALIDATION] == [10, 20]


def test_a_huge_but_finite_loss_is_no_divergence(tmp_path: Path) -> None:
    outcome, _ = train(TrainingJob(digits_solver(tmp_path, "base_lr: 1e6"), test_interval=5))
    assert outcome.status is TrialStatus.COMPLETED


def test_an_observer_stops_a_training_and_finds_a_snapshot(tmp_path: Path) -> None:
    recorder = Recorder(stop=lambda: len(recorder.measurements) >= 2)
    job = TrainingJob(digits_solver(tmp_path), test_interval=5, max_iter=1000, snapshot_prefix=tmp_path / "run")
    outcome, _ = train(job, recorder)
    assert outcome.status is TrialStatus.INTERRUPTED
    assert read_state(recorder.snapshots[-1]).iter == outcome.iterations
    assert outcome.test is None


def test_frozen_weights_and_weights_from_a_file(tmp_path: Path) -> None:
    frozen = LAYERS.replace("convolution_param", "param { lr_mult: 0 } param { lr_mult: 0 } convolution_param")
    options = {**RANDOM, "layers": frozen}
    solver = digits_solver(tmp_path, "weight_decay: 0.1", **options)  # type: ignore[arg-type]
    job = TrainingJob(solver, max_iter=3, snapshot_prefix=tmp_path / "first")
    train(job)
    job = dataclasses.replace(
        job, seed=9, snapshot_prefix=tmp_path / "second", weights=tmp_path / "first_iter_3.caffemodel"
    )
    train(job)
    first, second = (read_weights(tmp_path / f"{name}_iter_3.caffemodel") for name in ("first", "second"))
    assert np.array_equal(first["conv"][0], second["conv"][0])
    assert not np.array_equal(first["ip"][0], second["ip"][0])


@pytest.mark.parametrize("fields", ["", "clip_gradients: 35"])
def test_a_net_in_which_nothing_learns_is_trained_as_caffe_does(tmp_path: Path, fields: str) -> None:
    solver = digits_solver(tmp_path, fields)
    net = tmp_path / "net.prototxt"
    frozen = "param { lr_mult: 0 } param { lr_mult: 0 }"
    text = net.read_text().replace("inner_product_param", f"{frozen} inner_product_param")
    net.write_text(text.replace("convolution_param", f"{frozen} convolution_param"))
    outcome, recorder = train(TrainingJob(solver, test_interval=5, max_iter=10))
    assert outcome.status is TrialStatus.COMPLETED
    losses = {m.evaluation.loss for m in recorder.measurements if m.split is Split.VALIDATION}
    assert len(losses) == 1  # one at 0, 5 and 10 iterations: no weight has moved


def test_a_missing_mean_is_computed_from_the_training_split_with_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    transform = 'mean_file: "absent.binaryproto"'
    solver = digits_solver(tmp_path, transform=transform, test_transform=transform)
    with caplog.at_level(logging.INFO):
        trainer = TorchEngine().trainer(TrainingJob(solver, data=Path("digits")), Recorder())
    kept, _ = split_validation(open_dataset("digits").train)
    images, _ = trainer.updater.feed.batch(0)
    np.testing.assert_allclose(images, kept.images[:32] - kept.images.mean(0, keepdims=True), atol=1e-4)
    assert 'mean_file "absent.binaryproto" does not exist: the mean of digits' in caplog.text
    with pytest.raises(InputError, match=r"net.prototxt:4: mean_file .* does not exist; pass --data"):
        TorchEngine().trainer(TrainingJob(solver), Recorder())


def test_a_test_phase_that_reads_the_training_data_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a solver with a train_net alone, for example: its TEST phase is the same net."""
    write_lmdb(tmp_path / "one_lmdb", open_dataset("digits").train.take(np.arange(200)))
    write_lmdb(tmp_path / "other_lmdb", open_dataset("digits").test)
    text = (digits_solver(tmp_path).net_path or Path()).read_text()
    for test, noted in (("one", True), ("other", False)):
        net = text.replace("digits_train", "one_lmdb").replace("digits_test", f"{test}_lmdb")
        caplog.clear()
        with caplog.at_level(logging.INFO):
            TorchEngine().describe(TrainingJob(digits_solver(tmp_path, net=net)))
        note = f"net.prototxt:6: the TEST phase reads the training data, {tmp_path / 'one_lmdb'}"
        assert (note in caplog.text) == noted


WRONG_NETS = [
    ({"classes": 5}, 'the data has 10 classes: the scores "ip" need one number for each, got 5'),
    ({"scores_from": "dta"}, 'bottom "dta" is made by no layer above.*did you mean "data"'),
    ({"transform": "crop_size: 9"}, "crop_size 9 does not fit"),
    (
        {"transform": "mean_value: 1 mean_value: 2"},
        "mean_value must be given once, or once for each of 1 channels, got 2",
    ),
    ({"layers": 'layer { name: "more" type: "Data" top: "a" top: "b" }'}, "exactly one data layer, got digits, more"),
    (
        {"layers": 'layer { name: "p" type: "PReLU" bottom: "data" top: "p" loss_weight: 1 loss_weight: 2 }'},
        "loss_weight",
    ),
]


@pytest.mark.parametrize("options,message", WRONG_NETS)
def test_what_a_wrong_net_gets(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(TrainingJob(digits_solver(tmp_path, **options)))  # type: ignore[arg-type]


def test_a_net_without_a_data_layer_is_told_which_are_read(tmp_path: Path) -> None:
    solver, net = digits_solver(tmp_path), tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace('type: "Data"', 'type: "DummyData"'))
    rule = r'exactly one data layer, got "digits" \(DummyData\); take one of .* Data, HDF5Data, ImageData, MemoryData'
    with pytest.raises(InputError, match=rule):
        train(TrainingJob(solver))


def test_a_net_without_a_classifier_is_told_what_is_needed(tmp_path: Path) -> None:
    solver = digits_solver(tmp_path)
    net = (tmp_path / "net.prototxt").read_text().replace('"SoftmaxWithLoss"', '"EuclideanLoss"')
    (tmp_path / "net.prototxt").write_text(net.replace("num_output: 10", "num_output: 1"))
    with pytest.raises(InputError, match="not a classifier with a SoftmaxWithLoss layer"):
        train(TrainingJob(solver))


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"device": "tpu"}, 'device "tpu" is unknown'),
        ({"device": "meta"}, "runs on cpu or cuda"),
        ({"device": "cuda:99"}, 'device "cuda:99" is not there'),
        ({"weights": Path("absent.caffemodel")}, "absent.caffemodel: cannot be read"),
        ({"resume": Path("absent.solverstate")}, "absent.solverstate: cannot be read"),
        ({"data": Path("/nowhere")}, "/nowhere: no such folder"),
        ({"snapshot_prefix": Path("/tmp/\udcff/run")}, "Caffe's files name paths in UTF-8 only; rename it"),
    ],
)
def test_what_a_wrong_job_gets(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(dataclasses.replace(TrainingJob(digits_solver(tmp_path)), **changes))  # type: ignore[arg-type]


def test_a_leveldb_is_read_from_data_only(tmp_path: Path) -> None:
    net = (digits_solver(tmp_path).net_path or Path()).read_text()
    job = TrainingJob(digits_solver(tmp_path, net=net.replace('"digits_test"', '"digits_test"\nbackend: LEVELDB')))
    with pytest.raises(InputError, match=r"net.prototxt:9: a LevelDB is not read; pass --data .* set backend: LMDB"):
        train(job)
    assert train(dataclasses.replace(job, data=Path("digits"), max_iter=1))[0].status is TrialStatus.COMPLETED


def test_what_a_snapshot_that_does_not_fit_gets(tmp_path: Path) -> None:
    job = TrainingJob(digits_solver(tmp_path), max_iter=4, snapshot_prefix=tmp_path / "run")
    _, recorder = train(job)
    (state,) = recorder.snapshots
    job = dataclasses.replace(job, resume=state, max_iter=8)
    with pytest.raises(InputError, match="the snapshot was made with seed 1, got 2"):
        train(dataclasses.replace(job, seed=2))
    left = r"nothing is left to train up to max_iter \(4\), got a snapshot of iteration 4; give a larger max_iter"
    with pytest.raises(InputError, match=left):
        train(dataclasses.replace(job, max_iter=4))
    with pytest.raises(InputError, match="weights and resume exclude each other"):
        train(dataclasses.replace(job, weights=tmp_path / "run_iter_4.caffemodel"))
    adam = digits_solver(tmp_path, 'type: "Adam"')
    with pytest.raises(InputError, match="a solver of type Adam has 4 history blobs for this net, got 2"):
        train(dataclasses.replace(job, solver=adam))
    write_state(state, dataclasses.replace(read_state(state), extra=b"{"))
    with pytest.raises(InputError, match="own part of the snapshot is damaged"):
        train(job)
    state.write_bytes(state.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"this is no .solverstate, or it is truncated"):
        train(job)
    with pytest.raises((InputError, RunError), match="no such folder"):
        train(dataclasses.replace(job, resume=None, snapshot_prefix=tmp_path / "absent" / "run"))


def test_a_state_that_caffe_wrote_is_resumed_without_our_part(tmp_path: Path) -> None:
    job = TrainingJob(digits_solver(tmp_path, "momentum: 0.9"), max_iter=4, snapshot_prefix=tmp_path / "run")
    _, recorder = train(job)
    (state,) = recorder.snapshots
    write_state(state, dataclasses.replace(read_state(state), extra=b""))
    (tmp_path / "moved").mkdir()
    for path in (state, state.with_suffix(".caffemodel")):
        path.rename(tmp_path / "moved" / path.name)
    moved = tmp_path / "moved" / state.name
    outcome, _ = train(TrainingJob(job.solver, max_iter=6, resume=moved, seed=3))
    assert (outcome.status, outcome.iterations) == (TrialStatus.COMPLETED, 6)
