"""`lrpolicy train` on real digits: what it prints, what it leaves, and how it stops and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch.nn import functional

from lrpolicy import zoo
from lrpolicy.caffemodel import read_weights
from lrpolicy.cli import run
from lrpolicy.cli import train as train_command
from lrpolicy.cli.common import data_folder
from lrpolicy.datasets import open_dataset
from lrpolicy.prototxt import files
from lrpolicy.records import TrialOutcome, TrialStatus
from support.full_disk import full_disk


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(capsys, *arguments):
    assert run(["train", "digits", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_reported_metrics_are_what_pytorch_and_scikit_learn_compute(folder, capsys):
    result = train(capsys, "--max-iter", "90", "--test-interval", "90")
    test = result["outcome"]["test"]["evaluation"]
    assert [(m["split"], m["iteration"]) for m in result["measurements"]] == [
        ("validation", 0),
        ("validation", 90),
        ("test", 90),
    ]
    weights = read_weights(folder / "digits_iter_90.caffemodel")
    blobs = {name: [torch.from_numpy(blob) for blob in layer] for name, layer in weights.items()}
    examples = open_dataset("digits").test
    x = torch.from_numpy(examples.images).float() * 0.0625
    x = functional.relu(functional.max_pool2d(functional.conv2d(x, *blobs["conv1"]), 2))
    x = functional.relu(functional.conv2d(x, *blobs["conv2"]))
    scores = functional.linear(functional.relu(functional.linear(x.flatten(1), *blobs["ip1"])), *blobs["ip2"])
    probabilities, labels = torch.softmax(scores.double(), 1).numpy(), examples.labels

    assert test["example_count"] == len(labels) == 360
    assert test["top1"] == pytest.approx(metrics.accuracy_score(labels, probabilities.argmax(1)))
    assert test["top5"] == pytest.approx(metrics.top_k_accuracy_score(labels, probabilities, k=5))
    assert test["loss"] == pytest.approx(metrics.log_loss(labels, probabilities), rel=1e-5)
    hits = probabilities.argmax(1) == labels
    confidences = probabilities[np.arange(len(labels)), labels]
    assert test["average_confidence"] == pytest.approx(confidences[hits].mean(), rel=1e-5)
    assert test["confidence_deviation"] == pytest.approx(confidences[hits].std(), rel=1e-4)
    by_class = [confidences[hits & (labels == label)].mean() for label in range(10) if (hits & (labels == label)).any()]
    assert test["confidence_deviation_across_classes"] == pytest.approx(np.std(by_class), rel=1e-4)
    assert test["classes_without_hit"] == 10 - len(by_class)


def test_going_on_from_a_snapshot_equals_never_having_stopped(folder, capsys):
    train(capsys, "--max-iter", "40", "--snapshot-prefix", "whole")
    train(capsys, "--max-iter", "25", "--snapshot-prefix", "part")
    train(capsys, "--max-iter", "40", "--snapshot-prefix", "part", "--resume", "part_iter_25.solverstate")
    assert (folder / "part_iter_40.caffemodel").read_bytes() == (folder / "whole_iter_40.caffemodel").read_bytes()


def test_a_loss_that_is_not_comparable_is_noted_once_and_left_out(folder, capsys):
    net = zoo.solver_path("digits").with_name("digits_train_test.prototxt").read_text()
    (folder / "net.prototxt").write_text(net.replace('top: "loss"', 'top: "loss" loss_weight: 10'))
    (folder / "s.prototxt").write_text('net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 2')
    assert run(["train", "s.prototxt"]) == 0
    screen = capsys.readouterr()
    assert screen.err.count("it has loss_weight 10") == 1
    assert "Iteration 2, " in screen.err and ", train loss" not in screen.err
    assert run(["train", "digits", "--max-iter", "2"]) == 0
    screen = capsys.readouterr()
    assert "note: " not in screen.err and ", train loss" in screen.err


def test_a_resumed_trainings_best_is_said_to_be_of_what_follows(folder, capsys):
    first = train(capsys, "--max-iter", "60", "--test-interval", "30", "--snapshot-prefix", "x")
    assert first["since"] == 0
    state = "x_iter_60.solverstate"
    again = train(capsys, "--max-iter", "62", "--resume", state, "--snapshot-prefix", "x")
    assert again["since"] == 60 and [m["iteration"] for m in again["measurements"]] == [62, 62]
    assert run(["train", "digits", "--max-iter", "61", "--resume", state]) == 0
    said = capsys.readouterr().out
    assert "at iteration 61 (of those measured since iteration 60, where it resumed); test" in said
    assert "completed after 61 iterations\n" in said  # how many of them the seconds are of is not known


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM]])
def test_signals_save_and_say_how_to_go_on(folder, signals):
    command = [sys.executable, "-m", "lrpolicy", "train", "digits", "--max-iter", "1000000", "--test-interval", "20"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "Iteration 20" in process.stderr.readline() + process.stderr.readline()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.01)
        last = process.stderr.read().splitlines()[-1]
        assert process.wait(30) == 128 + signals[0]
    snapshot = last.split("--resume ")[-1]
    assert last.startswith("interrupted after ")
    iteration = int(snapshot.removesuffix(".solverstate").rsplit("_", 1)[-1])
    arguments = ["--max-iter", str(iteration + 5), "--resume", snapshot]
    assert run(["train", "digits", *arguments]) == 0


def test_a_second_ctrl_c_while_the_engine_is_freed_changes_nothing(folder, capsys, monkeypatch):
    """Python would print what a finalizer raises, and an engine would leave its folder."""

    class Engine:
        def train(self, job, observer):
            signal.raise_signal(signal.SIGINT)
            assert observer.stopping()
            return TrialOutcome(TrialStatus.INTERRUPTED, iterations=3, seconds=0.1)

        def __del__(self):
            signal.raise_signal(signal.SIGINT)
            put_away.append(self)

    put_away = []
    monkeypatch.setattr(train_command, "load_engine", lambda _: Engine())
    assert run(["train", "digits"]) == 130
    assert capsys.readouterr().err == "interrupted after 3 iterations; nothing was saved\n"
    assert len(put_away) == 1


def test_a_training_that_diverges_fails_with_its_reason(folder, capsys):
    solver = folder / "hot.prototxt"
    solver.write_text(
        'net: "digits_train_test.prototxt" base_lr: 1e10 lr_policy: "fixed" max_iter: 50 test_iter: 1 test_interval: 10'
    )
    net = folder / "digits_train_test.prototxt"
    from lrpolicy import zoo

    net.write_bytes((zoo.solver_path("digits").parent / net.name).read_bytes())
    assert run(["train", str(solver)]) == 1
    captured = capsys.readouterr()
    assert "the training diverged: " in captured.err
    assert "not finite" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--resume", "missing.solverstate"], "missing.solverstate"),
        (["--device", "tpu"], 'device "tpu" is unknown'),
        (["--seed", "9" * 25], "--seed"),
        (["--snapshot-prefix", "nowhere/x"], "nowhere: no such folder for the snapshots; make it, or give"),
        (["--engine", "tork"], 'engine "tork" is unknown; known: caffe, torch; did you mean "torch"?'),
    ],
)
def test_wrong_options(folder, capsys, arguments, message):
    assert run(["train", "digits", "--max-iter", "5", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write to")
def test_a_folder_that_takes_no_snapshot_is_refused_before_the_training(folder, capsys):
    assert run(["train", "digits", "--max-iter", "5", "--snapshot-prefix", "/proc/self/x"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("/proc/self: cannot be written: ")
    assert "Iteration" not in shown


@pytest.mark.parametrize("file", ["caffemodel", "solverstate"])
def test_a_snapshot_without_room_leaves_neither_file_and_the_outcome_is_printed(folder, capsys, monkeypatch, file):
    whole = files.write_bytes

    def write(path, content):
        with full_disk(1 << 12 if path.suffix == f".{file}" else 1 << 30):
            whole(path, content)

    monkeypatch.setattr(files, "write_bytes", write)
    old = folder / "digits_iter_20.caffemodel"
    old.write_text("of another training")
    assert run(["train", "digits", "--max-iter", "20", "--test-interval", "10", "--json"]) == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    failure = f"digits_iter_20.{file}: cannot be written: File too large; make room there, or give another place"
    assert captured.err == f"the training failed: {failure}\n"
    assert (result["outcome"]["status"], result["outcome"]["message"], result["snapshot"]) == ("failed", failure, None)
    assert result["outcome"]["iterations"] == 20
    assert [(m["split"], m["iteration"]) for m in result["measurements"]][:3] == [
        ("validation", i) for i in (0, 10, 20)
    ]
    assert result["outcome"]["test"]["evaluation"]["example_count"] == 360
    assert [path.name for path in folder.iterdir()] == [old.name]
    assert old.read_text() == "of another training"


def test_an_interruption_without_room_for_its_snapshot_says_so(folder, capsys, monkeypatch):
    whole = files.write_bytes

    def write(path, content):
        with full_disk(1 << 12):
            whole(path, content)

    def stop(screen, _iteration, _loss, _rate):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(files, "write_bytes", write)
    monkeypatch.setattr("lrpolicy.cli.train._Screen.displayed", stop)
    assert run(["train", "digits", "--max-iter", "1000000", "--test-interval", "10"]) == 143
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("interrupted after ") and last.endswith("; nothing was saved")
    assert ".caffemodel: cannot be written: File too large" in last
    assert not list(folder.iterdir())


def test_before_the_first_iteration_there_is_no_train_loss(folder, capsys):
    assert run(["train", "digits", "--max-iter", "2"]) == 0
    first, last = capsys.readouterr().err.splitlines()[:2]
    assert first.startswith("Iteration 0, ") and "train loss" not in first
    assert last.startswith("Iteration 2, ") and "train loss" in last


def test_a_truncated_snapshot_is_refused(folder, capsys):
    train(capsys, "--max-iter", "3")
    state = folder / "digits_iter_3.solverstate"
    state.write_bytes(state.read_bytes()[:-100])
    assert run(["train", "digits", "--resume", str(state)]) == 2
    assert str(state) in capsys.readouterr().err


def test_lrpolicy_data_serves_the_shipped_set_ups(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv("LRPOLICY_DATA", str(tmp_path))
    assert data_folder("mnist-lenet", None) == tmp_path / "mnist"
    assert data_folder("mnist-lenet", tmp_path) == tmp_path / "mnist"
    assert data_folder("mnist-lenet", tmp_path / "mnist") == tmp_path / "mnist"
    assert data_folder("my_solver.prototxt", tmp_path) == tmp_path
    assert data_folder("cifar10-cnn3", None) is None  # no such folder there
    assert data_folder("my_solver.prototxt", None) is None
