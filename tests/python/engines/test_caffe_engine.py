"""The caffe engine on real digits: what it measures, what it leaves, how it ends. Skipped without a patched Caffe."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_support import Recorder, digits_solver

from lrpolicy import sweeps
from lrpolicy.caffemodel import read_state, read_weights
from lrpolicy.datasets import open_dataset, read_lmdb, write_lmdb
from lrpolicy.engines import load_engine
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.caffe import CaffeEngine
from lrpolicy.engines.caffe.served import whole_batches
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.errors import InputError, NotAvailableError, RunError
from lrpolicy.metrics import evaluate
from lrpolicy.policies import Policy
from lrpolicy.records import Evaluation, Protocol, Split, TrialStatus
from support.full_disk import fill, small_disk

TESTS = "test_iter: 4 test_interval: 10 momentum: 0.9"
FIELDS = f"{TESTS} display: 5"


def measured(recorder: Recorder) -> list[tuple[int, Split]]:
    return [(measurement.iteration, measurement.split) for measurement in recorder.measurements]


def linear_probabilities(weights: Path, images: Any) -> Any:
    """Softmax of the linear net of digits_solver, by NumPy in double."""
    weight, bias = (blob.astype(float) for blob in read_weights(weights)["ip"])
    scores = images.reshape(len(images), -1) * 0.0625 @ weight.T + bias
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def same(found: Evaluation, wanted: Evaluation, *names: str) -> bool:
    return all(getattr(found, name) == pytest.approx(getattr(wanted, name), rel=2e-5) for name in names)


def test_all_metrics_are_those_of_caffes_own_weights(engine: CaffeEngine, tmp_path: Path) -> None:
    job = TrainingJob(digits_solver(tmp_path, FIELDS), snapshot_prefix=tmp_path / "linear")
    recorder = Recorder()
    outcome = engine.train(replace(job, max_iter=25), recorder)
    assert (outcome.status, outcome.iterations) == (TrialStatus.COMPLETED, 25)
    assert outcome.best is not None and outcome.test is not None
    selection = [(iteration, Split.VALIDATION) for iteration in (0, 10, 20, 25)]
    assert measured(recorder) == [*selection, (outcome.best.iteration, Split.TEST)]
    assert outcome.best.iteration == 25, "the last weights are the best ones of so short a training"

    test = open_dataset("digits").test
    probabilities = linear_probabilities(tmp_path / "linear_iter_25.caffemodel", test.images)
    wanted = evaluate(probabilities, test.labels)
    assert same(outcome.test.evaluation, wanted, "loss", "top1", "top5", "average_confidence")
    assert same(outcome.test.evaluation, wanted, "confidence_deviation", "confidence_deviation_across_classes")
    assert outcome.test.evaluation.classes_without_hit == wanted.classes_without_hit
    assert outcome.test.evaluation.example_count == 360


def test_caffes_test_passes_agree_with_ours_and_the_rates_with_the_policy(engine: CaffeEngine, tmp_path: Path) -> None:
    solver = digits_solver(tmp_path, f'{FIELDS} lr_policy: "tri2" max_lr: 0.3 stepsize: 7 snapshot: 10')
    job = TrainingJob(solver, protocol=Protocol.PAPER, snapshot_prefix=tmp_path / "linear")
    recorder = Recorder()
    outcome = engine.train(job, recorder)
    test = open_dataset("digits").test
    assert measured(recorder) == [(iteration, Split.TEST) for iteration in (0, 10, 20)]
    for measurement in recorder.measurements[1:]:
        weights = tmp_path / f"linear_iter_{measurement.iteration}.caffemodel"
        wanted = evaluate(linear_probabilities(weights, test.images), test.labels)
        assert same(measurement.evaluation, wanted, "loss", "top1", "top5")
        assert np.isnan(measurement.evaluation.average_confidence)
        rate = np.float32(solver.policy.rate(measurement.iteration - 1))
        assert measurement.rate == pytest.approx(rate, rel=1e-5)
    assert recorder.measurements[0].rate == pytest.approx(0.1)
    assert [iteration for iteration, _, _ in recorder.displays] == [5, 10, 15, 20]
    assert outcome.best == outcome.test
    assert outcome.best is not None and np.isfinite(outcome.best.evaluation.average_confidence)


def test_the_losses_are_those_of_the_torch_engine(engine: CaffeEngine, tmp_path: Path) -> None:
    """From the same weights, on the same examples, with average_loss and iter_size."""
    solver = digits_solver(tmp_path, f"{TESTS} average_loss: 3 iter_size: 2 display: 1")
    first = tmp_path / "first"
    engine.train(TrainingJob(solver, max_iter=1, snapshot_prefix=first), Recorder())
    job = TrainingJob(solver, weights=tmp_path / "first_iter_1.caffemodel", threads=1)
    theirs, ours = Recorder(), Recorder()
    engine.train(job, theirs)
    TorchEngine().train(job, ours)
    np.testing.assert_allclose(theirs.displays, ours.displays, rtol=1e-5)
    for mine, caffes in zip(ours.measurements, theirs.measurements, strict=True):
        assert (mine.iteration, mine.split) == (caffes.iteration, caffes.split)
        np.testing.assert_allclose(mine.train_loss, caffes.train_loss, rtol=1e-5)
        assert same(mine.evaluation, caffes.evaluation, "loss", "top1", "top5")


@pytest.mark.parametrize("snapshot_format", ["BINARYPROTO", "HDF5"])
def test_snapshots_are_where_the_solver_says_and_nothing_else_is_left(
    engine: CaffeEngine, tmp_path: Path, snapshot_format: str
) -> None:
    solver = digits_solver(tmp_path, f"{FIELDS} snapshot: 8 snapshot_format: {snapshot_format}")
    (tmp_path / "out").mkdir()
    recorder = Recorder()
    engine.train(TrainingJob(solver, snapshot_prefix=tmp_path / "out" / "s"), recorder)
    ending = ".h5" if snapshot_format == "HDF5" else ""
    names = [f"s_iter_{n}.{kind}{ending}" for n in (16, 20, 8) for kind in ("caffemodel", "solverstate")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert [path.name for path in recorder.snapshots] == [f"s_iter_{n}.solverstate{ending}" for n in (8, 16, 20)]
    state = read_state(recorder.snapshots[0])
    assert (state.iter, state.learned_net) == (8, str(tmp_path / "out" / f"s_iter_8.caffemodel{ending}"))
    home = [path for path in tmp_path.glob("lrpolicy-caffe-*") if any(path.iterdir())]
    assert [path.suffix for path in home[0].rglob("snapshot*")] == []


def test_an_untrained_net_may_be_the_best(engine: CaffeEngine, tmp_path: Path) -> None:
    """A rate of nearly zero changes no answer: the first measurement wins, whose weights Caffe does not save."""
    recorder = Recorder()
    outcome = engine.train(TrainingJob(digits_solver(tmp_path, f"{FIELDS} base_lr: 1e-12")), recorder)
    assert outcome.best is not None and outcome.test is not None
    assert outcome.best.iteration == outcome.test.iteration == 0
    assert outcome.best.evaluation.top1 == pytest.approx(recorder.measurements[0].evaluation.top1, rel=1e-5)
    assert outcome.best.evaluation.loss == pytest.approx(recorder.measurements[0].evaluation.loss, rel=1e-5)


def test_divergence_is_an_outcome(engine: CaffeEngine, tmp_path: Path) -> None:
    layers = 'layer { name: "square" type: "Power" bottom: "data" top: "square" power_param { power: 2 } }'
    solver = digits_solver(tmp_path, f"{FIELDS} base_lr: 1e38 max_iter: 1000", layers=layers, scores_from="square")
    outcome = engine.train(TrainingJob(solver), Recorder())
    assert outcome.status is TrialStatus.DIVERGED
    assert "is not finite" in outcome.message
    assert outcome.iterations < 1000


def test_a_users_lmdb_is_read_where_it_lies(engine: CaffeEngine, tmp_path: Path) -> None:
    data = open_dataset("digits")
    write_lmdb(tmp_path / "my_train", data.train)
    write_lmdb(tmp_path / "my_test", data.test)
    solver = digits_solver(tmp_path, FIELDS)
    net = (tmp_path / "net.prototxt").read_text().replace("digits_train", "my_train").replace("digits_test", "my_test")
    (tmp_path / "net.prototxt").write_text(net)
    plain = engine.train(TrainingJob(digits_solver(tmp_path, FIELDS), protocol=Protocol.PAPER), Recorder())
    written = len(list(tmp_path.glob("lrpolicy-caffe-*/*/*.lmdb")))
    (tmp_path / "net.prototxt").write_text(net)
    own = CaffeEngine().train(TrainingJob(solver, protocol=Protocol.PAPER), Recorder())
    assert len(list(tmp_path.glob("lrpolicy-caffe-*/*/*.lmdb"))) == written == 2
    assert own.best is not None and plain.best is not None
    assert own.best.evaluation == plain.best.evaluation
    assert len(read_lmdb(tmp_path / "my_train")) == len(data.train)


def test_a_mean_is_subtracted(engine: CaffeEngine, tmp_path: Path) -> None:
    """The validation split has no LMDB of the user's: the mean is computed, written, and means the same to us."""
    transform = 'scale: 0.0625 mean_file: "mean.binaryproto"'
    solver = digits_solver(tmp_path, f"{TESTS} display: 1", transform=transform, test_transform=transform)
    write_lmdb(tmp_path / "digits_train", open_dataset("digits").train)
    write_lmdb(tmp_path / "digits_test", open_dataset("digits").test)
    job = TrainingJob(solver, data=tmp_path, max_iter=1, snapshot_prefix=tmp_path / "m")
    engine.train(job, Recorder())
    job = replace(job, max_iter=15, weights=tmp_path / "m_iter_1.caffemodel", threads=1)
    theirs, ours = Recorder(), Recorder()
    engine.train(job, theirs)
    TorchEngine().train(job, ours)
    np.testing.assert_allclose(theirs.displays, ours.displays, rtol=1e-5)


class Watcher(Recorder):
    """Calls `at_iteration` once, when that many updates are done."""

    def __init__(self, iteration: int, act: Callable[[], None]) -> None:
        super().__init__()
        self._iteration, self._act, self.done = iteration, act, False

    def displayed(self, iteration: int, loss: float, rate: float) -> None:
        super().displayed(iteration, loss, rate)
        if not self.done and iteration >= self._iteration:
            self.done = True
            self._act()

    def stopping(self) -> bool:
        return False


class Stopper(Watcher):
    def __init__(self, iteration: int) -> None:
        super().__init__(iteration, lambda: None)

    def stopping(self) -> bool:
        return self.done


def caffes_of(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                status = (folder / "stat").read_text().rpartition(")")[2].split()
                line = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if int(status[1]) == parent and status[0] != "Z" and line[0].endswith(b"caffe"):
                found.append(int(folder.name))
    return found


def test_stopping_saves_and_ends_the_child(engine: CaffeEngine, tmp_path: Path) -> None:
    solver = digits_solver(tmp_path, f"{FIELDS} max_iter: 10000000")
    recorder = Stopper(35)
    outcome = engine.train(TrainingJob(solver, snapshot_prefix=tmp_path / "s"), recorder)
    assert outcome.status is TrialStatus.INTERRUPTED
    assert caffes_of(os.getpid()) == []
    assert read_state(recorder.snapshots[-1]).iter == outcome.iterations >= 35
    assert outcome.test is None

    recorder = Stopper(35)
    outcome = engine.train(TrainingJob(solver), recorder)
    assert (outcome.status, recorder.snapshots) == (TrialStatus.INTERRUPTED, [])
    assert caffes_of(os.getpid()) == []


@pytest.mark.parametrize(
    ("number", "end"),
    [
        (signal.SIGKILL, "caffe was ended by signal SIGKILL"),
        (signal.SIGINT, "caffe stopped before its end, as it does on SIGINT"),  # with exit status 0
    ],
)
def test_a_killed_caffe_is_one_clear_error(engine: CaffeEngine, tmp_path: Path, number: int, end: str) -> None:
    solver = digits_solver(tmp_path, f"{FIELDS} max_iter: 10000000")
    recorder = Watcher(20, lambda: os.kill(caffes_of(os.getpid())[0], number))
    with pytest.raises(RunError, match=rf"^{end} \(after \d+ of 10000000 iterations\)$"):
        engine.train(TrainingJob(solver), recorder)
    assert [iteration for iteration, _ in measured(recorder)][:2] == [0, 10]


def test_what_caffe_dies_of_is_said(engine: CaffeEngine, tmp_path: Path) -> None:
    solver = digits_solver(tmp_path, FIELDS)
    with pytest.raises(RunError, match=r"^caffe stopped: Cannot use GPU in CPU-only Caffe: check mode. \(\w+.*:\d+\)"):
        engine.train(TrainingJob(solver, device="cuda:1"), Recorder())


def test_an_exception_of_the_observer_ends_the_child(engine: CaffeEngine, tmp_path: Path) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    solver = digits_solver(tmp_path, f"{FIELDS} max_iter: 10000000")
    with pytest.raises(KeyboardInterrupt):
        engine.train(TrainingJob(solver), Watcher(10, fail))
    assert caffes_of(os.getpid()) == []


def test_a_temporary_folder_whose_name_caffe_cannot_read_is_refused(
    engine: CaffeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "\udcff"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(InputError, match="name paths in UTF-8 only"):
        CaffeEngine().train(TrainingJob(digits_solver(tmp_path, FIELDS)), Recorder())


def test_a_disk_that_fills_while_caffe_saves_is_named(
    engine: CaffeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 64):
        monkeypatch.setattr("tempfile.tempdir", str(disk))
        job = TrainingJob(digits_solver(tmp_path, FIELDS), test_interval=200, max_iter=100_000)  # not soon at its end
        full = rf"caffe .*; {disk}/lrpolicy-caffe-\w+ has no room left: set TMPDIR to a folder that has$"
        with pytest.raises(RunError, match=full):
            engine.train(job, Watcher(10, lambda: fill(disk)))


def test_examples_that_no_batch_divides(engine: CaffeEngine, tmp_path: Path) -> None:
    """359 test examples, a prime: while training some count twice, which is said; the last word counts each once."""
    data = open_dataset("digits")
    write_lmdb(tmp_path / "digits_train", data.train)
    write_lmdb(tmp_path / "digits_test", data.test.take(np.arange(359)))
    recorder = Recorder()
    job = TrainingJob(digits_solver(tmp_path, FIELDS), data=tmp_path, protocol=Protocol.PAPER)
    outcome = engine.train(job, recorder)
    assert recorder.notes == [
        "no batch near the net's own divides the 359 examples of the test split: while training, 41 of them count twice"
    ]
    assert outcome.test is not None
    assert outcome.test.evaluation.example_count == 359
    assert round(outcome.test.evaluation.top1 * 359, 9).is_integer()


def test_whole_batches() -> None:
    assert [whole_batches(144, 100), whole_batches(360, 100), whole_batches(359, 100), whole_batches(5, 9)] == [
        *(72, 90, 1, 5)
    ]


def test_the_task_is_that_of_the_torch_engine_in_another_framework(engine: CaffeEngine, tmp_path: Path) -> None:
    job = TrainingJob(digits_solver(tmp_path, FIELDS))
    assert engine.describe(job) == replace(TorchEngine().describe(job), framework="caffe")


def test_wrong_input(engine: CaffeEngine, tmp_path: Path) -> None:
    named = digits_solver(tmp_path, f'{FIELDS} weights: "gone.caffemodel"')
    job = TrainingJob(digits_solver(tmp_path, FIELDS))
    for wrong, message in [
        (replace(job, schedule=sweeps.Sweep(0.1, 1.0, 20)), "policies that a solver prototxt can name, got a Sweep"),
        (replace(job, device="tpu"), 'device "tpu" is unknown; take cpu, cuda or cuda:N'),
        (replace(job, weights=tmp_path / "none.caffemodel"), "none.caffemodel: cannot be read: No such file"),
        (TrainingJob(named), "gone.caffemodel: cannot be read: No such file"),
        (replace(job, resume=tmp_path / "none.solverstate"), "none.solverstate: cannot be read"),
        (replace(job, snapshot_prefix=tmp_path / "no" / "s"), "no such folder for the snapshots"),
    ]:
        with pytest.raises(InputError, match=message):
            engine.train(wrong, Recorder())


def test_a_policy_that_the_binary_does_not_know(
    engine: CaffeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_binary", replace(engine._binary, policies=("fixed", "tri")))
    job = TrainingJob(digits_solver(tmp_path, FIELDS), schedule=Policy("tri2", base_lr=0.1, max_lr=0.2, stepsize=5))
    with pytest.raises(InputError, match='does not know lr_policy "tri2"; known: fixed, tri; did you mean "tri"'):
        engine.train(job, Recorder())


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("none", ""),
        ("no Caffe", ""),
        ("not patched", " (a Caffe without the patch)"),
        ("not a program", " ({}: cannot be run: Exec format error)"),
        ("broken", " (caffe ended with exit status 127; its last words: libglog.so.0: cannot open)"),
        ("killed", " (caffe was ended by signal SIGKILL)"),
        ("a folder", ""),
    ],
)
def test_no_patched_binary(kind: str, failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {
        "no Caffe": "echo usage",
        "not patched": "echo 'F20261128 06:48:59.689680 11219 io.cpp:39] File not found: none'; kill -ABRT $$",
        "broken": "echo libglog.so.0: cannot open; exit 127",
        "killed": "kill -9 $$",
    }
    binary = tmp_path / "caffe"
    if kind == "a folder":
        binary.mkdir()
    elif kind != "none":
        binary.write_text(f"#!/bin/sh\n{scripts[kind]}\n" if kind in scripts else "nothing")
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("LRPOLICY_CAFFE", str(binary))
    with pytest.raises(NotAvailableError) as caught:
        load_engine("caffe")
    assert str(caught.value) == (
        f'engine "caffe" is not available: no patched caffe binary at {binary}{failure.format(binary)}; '
        "see caffe_patch/README.md"
    )


def test_an_installed_package_names_what_it_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrpolicy.engines.caffe.binary._CHECKOUT", tmp_path)
    monkeypatch.setenv("LRPOLICY_CAFFE", "/nowhere/caffe")
    remedy = "at /nowhere/caffe; make caffe, in lrpolicy's source distribution, builds one: name it in LRPOLICY_CAFFE"
    with pytest.raises(NotAvailableError, match=remedy):
        load_engine("caffe")


def test_nothing_is_left_behind(caffe_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRPOLICY_CAFFE", str(caffe_binary))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    engine = CaffeEngine()
    engine.train(TrainingJob(digits_solver(tmp_path, FIELDS)), Recorder())
    assert list(tmp_path.glob("lrpolicy-caffe-*"))
    del engine
    assert not list(tmp_path.glob("lrpolicy-caffe-*"))


def test_two_layers_of_one_name_are_refused_before_caffe_mixes_their_weights(
    engine: CaffeEngine, tmp_path: Path
) -> None:
    first = 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 64 } }'
    job = TrainingJob(digits_solver(tmp_path, FIELDS, layers=first, scores_from="a"))
    for each in (engine, TorchEngine()):
        with pytest.raises(
            InputError, match=r'net.prototxt:11: two layers of the TRAIN phase are named "ip", the other'
        ):
            each.train(job, Recorder())
