"""What the experiments' scripts compute besides their trainings, against PyTorch, NumPy and the papers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

from experiments.mnist import Results, batches, mnist
from experiments.pooled_conv import PooledConv
from experiments.yang_huang_report import PAPER, final_accuracy, table1_convergence, write
from tlr_mnist import Learned, plan

from lrpolicy.errors import InputError
from lrpolicy.stateful import Tlr


@pytest.mark.slow
def test_the_pooled_convolution_is_pytorchs() -> None:
    torch.manual_seed(3)
    layer, images = PooledConv(), torch.randn(7, 1, 28, 28)
    images[:, :, :9] = -1.0  # equal values in a pool, as at the border of a digit
    theirs = functional.relu(functional.max_pool2d(functional.conv2d(images, layer.weight, layer.bias), 2))
    theirs = theirs.permute(0, 2, 3, 1).flatten(1)
    ours, weights = layer(images), torch.randn(7, 3380)
    torch.testing.assert_close(ours, theirs)
    parameters = [layer.weight, layer.bias]
    pairs = (torch.autograd.grad((result * weights).sum(), parameters) for result in (ours, theirs))
    for mine, other in zip(*pairs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("images", [torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 28, 28).double()])
def test_the_pooled_convolution_refuses_what_it_would_read_past(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"images must be \(n, 1, 28, 28\) float32, got \(2, 1, "):
        PooledConv()(images)


def test_other_data_than_mnist_is_refused() -> None:
    with pytest.raises(InputError, match="digits: images must be MNIST's, of 1 x 28 x 28, got 1 x 8 x 8"):
        mnist(Path("digits"))


@pytest.mark.parametrize("source", ["displacement", "gradient"])
def test_what_a_net_feeds_tlr_with_is_the_papers_window(source: str) -> None:
    """Algorithm 2 over windows of 4 updates in NumPy, momentum outside the rate as in PyTorch."""
    curvatures = np.array([1.0, 3.0, 10.0])
    tensors = [torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)]
    tensors.append(torch.tensor([0.5], dtype=torch.float64, requires_grad=True))
    learned = Learned(Tlr(0.01, source=source, epoch_iterations=12, lr_mult=(1.0, 1.0)), tensors)
    optimizer = torch.optim.SGD(tensors, 0.01, momentum=0.8)
    w, velocity, rate, before, total = np.array([1.0, -2.0, 0.5]), np.zeros(3), 0.01, np.zeros(3), np.zeros(3)
    anchor = w
    for t in range(60):
        loss = 0.5 * (torch.tensor(curvatures) * torch.cat(tensors) ** 2).sum() + math.sin(t) * tensors[0][0]
        optimizer.zero_grad()
        loss.backward()
        learned.after_backward(t)
        optimizer.param_groups[0]["lr"] = learned.rate(0)
        optimizer.step()
        learned.after_step(t)

        g = curvatures * w + [math.sin(t), 0, 0]
        total = total + g
        if source == "gradient" and t % 4 == 3:
            rate, before, total = rate * factor(total, before), total, np.zeros(3)
        velocity = 0.8 * velocity + g
        w = w - rate * velocity
        if source == "displacement" and t % 4 == 3:
            moved = (anchor - w) / rate
            rate, before, anchor = rate * factor(moved, before), moved, w
        assert learned.rate(0) == pytest.approx(rate, rel=1e-9)
    assert rate != pytest.approx(0.01, rel=0.1)


def factor(g: np.ndarray, before: np.ndarray) -> float:
    d, n = g @ before, g @ g
    return 1 + (min(d / (4 * (n - d)), 0.25) if n > d else 0.25) if d else 1


def test_an_epoch_has_every_example_once_in_an_order_of_its_own() -> None:
    first, again, second = (torch.cat(list(batches(1000, 64, 1, epoch))) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert sorted(second.tolist()) == list(range(1000))
    assert [len(part) for part in batches(100, 64, 1, 0)] == [64, 36]


def test_results_go_on_where_they_stopped(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    Results(path, ("a", "b")).add({"a": 1, "b": "x", "loss": 0.5})
    results = Results(path, ("a", "b"))
    assert results.find(a=1, b="x") == {"a": 1, "b": "x", "loss": 0.5}
    assert results.find(a=1, b="y") is None


def test_the_plan_has_the_papers_twelve_cells_on_both_sides_first() -> None:
    cells = list(plan(20))
    assert len(cells) == len({str(cell.key()) for cell in cells})
    for name in ("efficient", "sgd"):
        assert len({(cell.batch, cell.start) for cell in cells[:24] if cell.method.name == name}) == 12


def test_table_1s_numbers_are_read_as_the_authors_curves_have_them() -> None:
    """Within 5 images of the best, two less than the epoch's number; accuracy is the mean of the epochs 46 to 49."""
    curve = [0.9, 0.95, 0.9699, 0.97, 0.9705, *[0.97] * 40, 0.96, 0.97, 0.97, 0.96, 0.99]
    assert final_accuracy(curve) == pytest.approx(0.965)
    assert table1_convergence(curve[:45]) == 2
    assert table1_convergence(curve) == 48
    assert len({(setting.method, setting.name) for setting in PAPER}) == 14


def test_a_table_says_what_is_not_trained(tmp_path: Path) -> None:
    curves = {"accuracy": [0.9] * 45 + [0.98] * 5, "rate": [0.01] * 2 + [0.005] * 48}
    row = {"softmax": "twice", "method": "by_cutoff", "name": "seq1", "seed": 1} | curves
    write([row, row | {"seed": 2, "accuracy": [0.97] * 50}, row | {"softmax": "once"}], "twice", tmp_path / "table.md")
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert "| by_cutoff seq1 | 0.98290 | 0.98000 | -0.00290 | 32 | 44 | 5 | 1 | 0.005 |" in lines
    assert sum("not trained" in line for line in lines) == 14
    assert "- Trained: 1 of 14 settings, 50 epochs, seed 1." in lines
    assert "| by_cutoff seq1 | 2 | 0.97000 | -0.01000 | -1 |" in lines
    assert (tmp_path / "table.png").stat().st_size > 10_000
