"""`lrpolicy recommend` and what its task is made from: no engine, no training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrpolicy import zoo
from lrpolicy.cli import run
from lrpolicy.database import RunState, connect
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.description import describe
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.net import read as read_net
from lrpolicy.records import Evaluation, Measurement, Protocol, Split, TrialOutcome, TrialSpec, TrialStatus
from lrpolicy.solver import read

DATA = os.environ.get("LRPOLICY_DATA")
POLICIES = {
    "tri": {"lr_policy": "tri", "base_lr": 0.001, "max_lr": 0.01, "stepsize": 100},
    "fixed": {"lr_policy": "fixed", "base_lr": 0.01},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with results for the digits solver, its server kept running."""
    home = tmp_path_factory.mktemp("recommend") / "home"
    previous = os.environ.get("LRPOLICY_HOME")
    os.environ["LRPOLICY_HOME"] = str(home)
    with connect() as results:
        fill(results)
        yield home
    os.environ.pop("LRPOLICY_HOME") if previous is None else os.environ.update(LRPOLICY_HOME=previous)


def fill(results: object) -> None:
    solver = read(zoo.find("digits"))
    message = solver.message
    number = results.start_run(describe(solver), {})
    for top1, policy in zip((0.97, 0.95), POLICIES.values(), strict=True):
        for seed in range(2):
            spec = TrialSpec(
                policy, seed, 300, solver.batch_size, 50, "SGD", message.momentum, message.weight_decay, stage="final"
            )
            trial = results.plan_trial(number, spec)
            seen = Evaluation(0.2, top1 + seed / 100, 1.0, 0.9, 0.1, 0.1, 0, 144)
            best, test = Measurement(300, Split.VALIDATION, 0.01, 0.1, seen, 2.0), None
            results.finish_trial(trial, TrialOutcome(TrialStatus.COMPLETED, 300, 2.0, best, test))
    results.finish_run(number, RunState.COMPLETED)


@pytest.fixture(autouse=True)
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LRPOLICY_DATA", raising=False)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert run(["recommend", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_same_task_is_answered_from_what_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    told = answer(capsys, "digits")
    first, second = told["recommendations"]
    assert (first["measured_policy"], second["measured_policy"]["lr_policy"]) == (POLICIES["tri"], "fixed")
    assert (first["top1"], first["seeds"]) == (pytest.approx(0.975), 2)
    longer = read(zoo.find("digits")).message.max_iter / 300
    assert first["policy"] == POLICIES["tri"] | {"stepsize": round(100 * longer)}
    assert set(first["distance_parts"]) == {"iterations"} and "iterations" in first["assumed"][0]
    assert told["range"] is None


def test_a_person_reads_a_table_and_what_it_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recommend", "digits", "--goal", "iterations", "--target", "0.96", "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert "97.50 ± 0.71" in out and "to target" in out and "fixed" not in out
    assert (
        "1: final trials of 1 run, digits on digits, measured on the validation split every 50 iterations: SGD" in out
    )
    assert "taken for granted: lengths keep their share" in out


def test_a_net_alone_will_do_and_then_nothing_is_carried_over(capsys: pytest.CaptureFixture[str]) -> None:
    net = zoo.find("digits").with_name("digits_train_test.prototxt")
    first = answer(capsys, str(net))["recommendations"][0]
    assert first["policy"] == first["measured_policy"] == POLICIES["tri"]
    assert (first["distance"], first["assumed"]) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nosuch"], "nosuch: no such solver; known: "),
        (["absent.prototxt"], "absent.prototxt: there is no such solver file"),
        (["digits", "--goal", "iterations"], 'goal "iterations" needs a target'),
        (["digits", "--goal", "iterations", "--target", "1.5"], "a target is a Top-1 above 0 and at most 1, got 1.5"),
        (["digits", "--goal", "iterations", "--target", "0.999"], "did not reach the target with every seed"),
        (["digits", "--data", "nowhere"], "nowhere: no such folder"),
        (["digits", "--top", "0"], "--top"),
        (["digits", "--dsn", "no dsn"], "DSN"),
    ],
)
def test_wrong_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert run(["recommend", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and told in captured.err and captured.err.count("\n") == 1


def test_no_engine_is_loaded() -> None:
    program = (
        "import sys; from lrpolicy.cli import run; status = run(['recommend', 'digits', '--json']);"
        "print(status, 'torch' in sys.modules, 'matplotlib' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "0 False False\n"


def small_mnist(folder: Path) -> Path:
    """Forty images in MNIST's four files."""
    folder.mkdir()
    for prefix, count in (("train", 30), ("t10k", 10)):
        pixels = bytes(n * 7 % 256 for n in range(count * 28 * 28))
        header = b"".join(number.to_bytes(4, "big") for number in (0x803, count, 28, 28))
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + pixels)
        labels = bytes(n % 10 for n in range(count))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(
            (0x801).to_bytes(4, "big") + count.to_bytes(4, "big") + labels
        )
    return folder


@pytest.mark.parametrize("protocol", list(Protocol))
@pytest.mark.parametrize("name", ["digits", "mnist-lenet"])
def test_the_description_equals_the_torch_engines(tmp_path: Path, name: str, protocol: Protocol) -> None:
    data = small_mnist(tmp_path / "mnist") if name == "mnist-lenet" else None
    solver = read(zoo.find(name))
    described = describe(solver, data, protocol)
    assert described == TorchEngine().describe(TrainingJob(solver, data=data, protocol=protocol))
    assert describe(read_net(solver.net_path), data, protocol) == described
    assert describe(solver, data, protocol, "keras").framework == "keras"


@pytest.mark.skipif(DATA is None, reason="LRPOLICY_DATA names no folder with cifar10/")
@pytest.mark.parametrize("name", ["cifar10-cnn3", "cifar10-resnet20"])
def test_the_description_of_real_data_equals_the_torch_engines(name: str) -> None:
    solver, data = read(zoo.find(name)), Path(str(DATA), "cifar10")
    assert describe(solver, data) == TorchEngine().describe(TrainingJob(solver, data=data))
