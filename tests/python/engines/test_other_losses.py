"""LD compares the loss of a test with the training's: only where these are the same loss, in both engines."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from engine_support import NET, Recorder, digits_solver

from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.caffe import CaffeEngine
from lrpolicy.engines.description import Phases
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.solver import Solver

TORCH = TorchEngine()  # keeps the digits between tests

MEAN = 'type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"'
SECOND = """
layer { name: "ip2" type: "InnerProduct" bottom: "data" top: "ip2" inner_product_param { num_output: 10 } }
layer { name: "aux" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "aux" loss_weight: 0.3
  include { phase: TRAIN } }
"""
SAME = [
    "",
    "loss_weight: 1",
    "loss_param { normalization: FULL }",
    "loss_param { normalize: false }",
]
OTHER = [
    ("loss_weight: 10", "it has loss_weight 10"),
    ("loss_param { normalization: NONE }", "normalization: NONE makes it a sum over the minibatch"),
    ("loss_param { ignore_label: 3 }", "it leaves out the examples with ignore_label 3"),
]


def solver(folder: Path, *, more: str = "", layers: str = "") -> Solver:
    text = NET.format(layers=layers, scores_from="data", classes=10, batch=32, transform="", test_transform="")
    assert text.count(MEAN) == 1
    return digits_solver(
        folder, "base_lr: 1e-5 test_iter: 4 test_interval: 3 display: 3", net=text.replace(MEAN, f"{MEAN} {more}")
    )


def train_losses(engine: TorchEngine | CaffeEngine, of: Solver) -> tuple[list[float], list[float]]:
    """The train losses of the measurements after 3 and 6 iterations, and the losses displayed there."""
    recorder = Recorder()
    outcome = engine.train(TrainingJob(of, max_iter=6, threads=1), recorder)
    assert outcome.best is not None and math.isfinite(outcome.best.evaluation.loss)
    after = [m.train_loss for m in recorder.measurements if m.iteration > 0][:2]
    return after, [loss for _, loss, _ in recorder.displays]


@pytest.mark.parametrize("more", SAME)
def test_a_mean_cross_entropy_is_comparable_however_it_is_written(tmp_path: Path, more: str) -> None:
    plain, written = solver(tmp_path), solver(tmp_path, more=more)
    assert Phases.of(written).other_loss is None
    assert train_losses(TORCH, written) == train_losses(TORCH, plain)


@pytest.mark.parametrize(("more", "reason"), OTHER)
def test_another_loss_is_told_and_leaves_ld_out(tmp_path: Path, more: str, reason: str) -> None:
    other = solver(tmp_path, more=more)
    (note,) = Phases.of(other).notes
    where = f"{tmp_path}/net.prototxt:15: the training loss is no mean cross-entropy, and LD is left out: "
    assert note == where + reason
    measured, displayed = train_losses(TORCH, other)
    assert all(map(math.isnan, measured)) and all(map(math.isfinite, displayed))


def test_a_second_loss_counts_and_is_named(tmp_path: Path) -> None:
    other = solver(tmp_path, layers=SECOND)
    assert "it is the sum of 2 losses" in str(Phases.of(other).other_loss)
    assert all(map(math.isnan, train_losses(TORCH, other)[0]))
    silent = solver(tmp_path, layers=SECOND.replace("0.3", "0"))
    assert Phases.of(silent).other_loss is None
    assert all(map(math.isfinite, train_losses(TORCH, silent)[0]))


def test_a_loss_of_other_scores_or_another_type_is_named(tmp_path: Path) -> None:
    aux = SECOND.replace("TRAIN", "TEST").replace("loss_weight: 0.3", "")
    own = "include { phase: TRAIN }"
    assert Phases.of(solver(tmp_path, layers=aux)).other_loss is None, "the last SoftmaxWithLoss is the one measured"
    last = 'layer { name: "last" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" include { phase: TEST } }'
    net = solver(tmp_path, layers=SECOND[: SECOND.index('layer { name: "aux"')], more=f"{own} }} {last[:-1]}")
    assert "it reads ip and label, where a test reads ip2 and label" in str(Phases.of(net).other_loss)
    distance = 'layer { name: "mse" type: "EuclideanLoss" bottom: "ip" bottom: "ip" include { phase: TRAIN } }'
    net = solver(tmp_path, more=f"include {{ phase: TEST }} }} {distance[:-1]}")
    assert "it is that of a layer of type EuclideanLoss" in str(Phases.of(net).other_loss)


@pytest.mark.parametrize(
    ("more", "factor"), [("", 1), ("loss_weight: 10", 10), ("loss_param { normalization: NONE }", 32)]
)
def test_caffe_leaves_ld_out_alike_and_displays_its_own_loss(
    engine: CaffeEngine, tmp_path: Path, more: str, factor: int
) -> None:
    plain = train_losses(TORCH, solver(tmp_path))[1]
    measured, displayed = train_losses(engine, solver(tmp_path, more=more))
    assert [math.isnan(loss) for loss in measured] == [factor != 1] * 2
    assert displayed[0] > 0.5 * factor * plain[0]
