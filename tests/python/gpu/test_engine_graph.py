"""A training whose passes are one CUDA graph does what the same training does kernel by kernel."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lrpolicy.engines.base import TrainingJob  # noqa: E402
from lrpolicy.engines.torch import TorchEngine  # noqa: E402
from lrpolicy.records import Measurement  # noqa: E402
from lrpolicy.solver import Solver  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that PyTorch can use"),
]

NET = """
layer { name: "images" type: "Data" top: "data" top: "label" transform_param { scale: 0.0039 }
        data_param { source: "train" batch_size: 32 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { moving_average_fraction: 0.9 } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
POLICIES = (
    'lr_policy: "tri2" max_lr: 0.1 stepsize: 5',
    'lr_policy: "tlr" lr_policy_param { source: "gradient" epoch: 6 per_tensor: true }',
)


class Silent:
    def displayed(self, iteration: int, loss: float, rate: float) -> None: ...
    def measured(self, measurement: Measurement) -> None: ...
    def saved(self, path: Path) -> None: ...
    def noted(self, text: str) -> None: ...
    def stopping(self) -> bool:
        return False


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNIST's four files, filled with noise whose brightness is the label."""
    folder, random = tmp_path_factory.mktemp("noise"), np.random.default_rng(1)
    for part, count in (("train", 320), ("t10k", 64)):
        labels = random.integers(10, size=count, dtype=np.uint8)
        images = random.integers(0, 20, size=(count, 12, 12), dtype=np.uint8) + 20 * labels[:, None, None]
        header = struct.pack(">4B3I", 0, 0, 8, 3, *images.shape)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())
    return folder


@pytest.mark.parametrize("policy", POLICIES)
def test_a_graphed_training_is_the_eager_one(
    tmp_path: Path, data: Path, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    (tmp_path / "net.prototxt").write_text(NET)
    fields = f"base_lr: 0.02 momentum: 0.9 weight_decay: 0.001 max_iter: 30 {policy}"
    solver = Solver.parse(f'net: "net.prototxt" {fields}', str(tmp_path / "solver.prototxt"))
    runs = []
    for graphed in (True, False):
        trainer = TorchEngine().trainer(TrainingJob(solver, data=data, device="cuda"), Silent())
        assert trainer.updater.graphed is not None
        if not graphed:
            trainer.updater.graphed = None
        losses: list[float] = []
        update = trainer.updater.update
        monkeypatch.setattr(
            trainer.updater, "update", lambda i, rate, update=update, losses=losses: _kept(update(i, rate), losses)
        )
        outcome = trainer.run()
        assert outcome.test is not None
        blobs = [blob.cpu() for blobs in trainer.weights.by_layer.values() for blob in blobs]
        runs.append((losses, blobs, outcome.test.evaluation.loss))
    (losses, blobs, test), (eager_losses, eager_blobs, eager_test) = runs
    assert len(losses) >= 10 and losses[-1] < losses[0]
    assert losses == eager_losses
    assert all(torch.equal(mine, eager) for mine, eager in zip(blobs, eager_blobs, strict=True))
    assert test == eager_test


def _kept(loss: torch.Tensor, losses: list[float]) -> torch.Tensor:
    losses.append(loss.item())
    return loss


@pytest.mark.parametrize("extra", ["iter_size: 2", 'lr_policy_param { variant: "naive" source: "gradient" eta: 0.1 }'])
def test_what_cannot_be_one_graph_trains_without(tmp_path: Path, data: Path, extra: str) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    policy = "tlr" if "naive" in extra else "fixed"
    fields = f'base_lr: 0.001 lr_policy: "{policy}" max_iter: 4 {extra}'
    solver = Solver.parse(f'net: "net.prototxt" {fields}', str(tmp_path / "solver.prototxt"))
    trainer = TorchEngine().trainer(TrainingJob(solver, data=data, device="cuda"), Silent())
    assert trainer.updater.graphed is None
    assert trainer.run().iterations == 4
