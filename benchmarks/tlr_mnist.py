"""TLR's claims on MNIST: does the rate that one starts from matter? (TLR paper, Figures 1, 2 and 10)

    python benchmarks/tlr_mnist.py --data FOLDER    (half an hour of one core; goes on where it was stopped)
    python benchmarks/tlr_mnist.py --table          (the tables and the pictures from the results that are there)

A perceptron with one hidden layer of 1000, batches of 64 to 512, starting rates of 0.001 to 0.1, momentum 0.8, weight
decay 5e-4, as the paper has it; fewer epochs than its 80. Momentum is PyTorch's: the rate multiplies the velocity and
is not inside it. All methods start from the same weights and see the same batches. The displacement between two updates
of the rate then holds momentum and weight decay; it is divided by the rate alone, so that against mean gradients it is
about 1 / (1 - momentum) = 5 times as long, which cancels in the rule: both sums grow by the same factor.

`hypergradient` (Baydin and others, 2018) updates the rate in every iteration, with the raw gradients of the last two.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from experiments.mnist import RESULTS, Mnist, Results, batches, mnist
from experiments.tlr_report import SEED, SHORT, write
from torch import Tensor
from torch.nn import functional

from lrpolicy.errors import LrpolicyError
from lrpolicy.stateful import Tlr, TlrWindow

BATCHES, STARTS, ETAS = (64, 128, 256, 512), (0.001, 0.01, 0.1), (1e-3, 1e-4, 1e-5)
HIDDEN, MOMENTUM, DECAY = 1000, 0.8, 5e-4
LAST_SHARE = 0.01
KEYS = ("method", "batch", "base_lr", "epochs", "seed")


@dataclass(frozen=True)
class Method:
    """A way to choose the rate: its name in the results, and the arguments of `Tlr` where it is one.

    `decays` lets a rate fall exponentially to LAST_SHARE of itself; `unit` puts pixels into [0, 1] instead of [-1, 1].
    """

    name: str
    tlr: dict[str, Any] | None = None
    decays: bool = False
    momentum: float = MOMENTUM
    unit: bool = False


@dataclass(frozen=True)
class Cell:
    """One training of the plan."""

    method: Method
    batch: int
    start: float
    epochs: int
    seed: int = SEED

    def key(self) -> dict[str, Any]:
        """What finds its row in the results."""
        return dict(zip(KEYS, (self.method.name, self.batch, self.start, self.epochs, self.seed), strict=True))


DISPLACEMENT = {"source": "displacement"}
SGD = Method("sgd")
EXPONENTIAL = Method("sgd, exponential decay", decays=True)
EFFICIENT = Method("efficient", DISPLACEMENT)
HYPER = tuple(Method(f"hypergradient, eta {e:g}", {"variant": "hypergradient", "eta": e, "window": 1.0}) for e in ETAS)
VARIATIONS = (
    Method("efficient, source gradient", {"source": "gradient"}),
    Method("efficient, max_lr 0.2", DISPLACEMENT | {"max_lr": 0.2}),
    Method("efficient, pixels in [0, 1]", DISPLACEMENT, unit=True),
    Method("efficient, p 1", DISPLACEMENT | {"window": 1.0}),
    Method("efficient, momentum 0", DISPLACEMENT, momentum=0.0),
    Method("efficient, c 0.1", DISPLACEMENT | {"bound": 0.1}),
    Method("efficient, p 0.1", DISPLACEMENT | {"window": 0.1}),
    Method("efficient, per tensor", DISPLACEMENT | {"per_tensor": True}),
    Method("newton", DISPLACEMENT | {"variant": "newton"}),
)


def plan(epochs: int) -> Iterator[Cell]:
    """Every training: the claim's two sides, what becomes of the cell that fails, hypergradient, a decaying rate."""
    for start in STARTS:
        for batch in reversed(BATCHES):
            yield from (Cell(EFFICIENT, batch, start, epochs), Cell(SGD, batch, start, epochs))
    yield from (Cell(EFFICIENT, 512, 0.1, epochs, seed) for seed in (2, 3))
    yield from (Cell(method, 512, 0.01, epochs) for method in HYPER)
    yield from (Cell(SGD, 512, rate, SHORT) for rate in (0.2, 0.25))
    yield from (Cell(method, 512, 0.1, SHORT) for method in VARIATIONS)
    yield from (Cell(method, 128, 0.01, epochs) for method in HYPER)
    yield from (Cell(EXPONENTIAL, batch, start, epochs) for start in STARTS for batch in reversed(BATCHES))


@dataclass
class Learned:
    """Feeds a `Tlr` from the tensors of a net, and keeps what it remembers between two updates of the rate."""

    schedule: Tlr
    tensors: Sequence[Tensor]
    events: int = 0
    window: list[Tensor] = field(init=False)
    before: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.schedule.init()
        self.displacement = self.schedule.source == "displacement"
        self.window = [
            tensor.detach().clone() if self.displacement else torch.zeros_like(tensor) for tensor in self.tensors
        ]
        self.before = [torch.zeros_like(tensor) for tensor in self.tensors]

    def rate(self, tensor: int) -> float:
        """The rate of a tensor now."""
        return self.schedule.rate(self.state, tensor=tensor)

    @torch.no_grad()
    def after_backward(self, t: int) -> None:
        """Add the gradients up, and update the rate with which this iteration's step is made."""
        if not self.displacement:
            self.window = [total + tensor.grad for total, tensor in zip(self.window, self.tensors, strict=True)]
            if self.schedule.is_due(t):
                self._observe(self.window)
                self.window = [torch.zeros_like(tensor) for tensor in self.tensors]

    @torch.no_grad()
    def after_step(self, t: int) -> None:
        """Update the rate of the next step from how far the weights have come."""
        if self.displacement and self.schedule.is_due(t):
            now = [tensor.detach().clone() for tensor in self.tensors]
            self._observe([start - end for start, end in zip(self.window, now, strict=True)])
            self.window = now

    def _observe(self, sums: list[Tensor]) -> None:
        window = TlrWindow([_dot(a, a) for a in sums], [_dot(a, b) for a, b in zip(sums, self.before, strict=True)])
        self.state = self.schedule.update(self.state, window)
        self.before = sums
        self.events += sum(bits != 0 for bits in self.state.events)


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.flatten().double(), b.flatten().double()))


def train(cell: Cell, data: Mnist) -> dict[str, Any]:
    """Train the perceptron; losses, accuracies and rates of its epochs, and how it ended."""
    method, batch, start = cell.method, cell.batch, cell.start
    torch.manual_seed(cell.seed)
    if method.unit:
        data = replace(data, images=data.images / 2 + 0.5, test_images=data.test_images / 2 + 0.5)
    layers = [torch.nn.Linear(784, HIDDEN), torch.nn.Linear(HIDDEN, 10)]
    tensors = [tensor for layer in layers for tensor in layer.parameters()]
    groups = [{"params": [tensor]} for tensor in tensors]
    optimizer = torch.optim.SGD(groups, start, momentum=method.momentum, weight_decay=DECAY, fused=True)
    steps = math.ceil(len(data.labels) / batch)
    learned = None
    if method.tlr:
        arguments = {"epoch_iterations": 1 if "eta" in method.tlr else steps, "lr_mult": (1.0,) * len(tensors)}
        learned = Learned(Tlr(start, **arguments, **method.tlr), tensors)
    images, curves, t = data.images.flatten(1), {"train_loss": [], "test_loss": [], "accuracy": [], "rate": []}, 0
    for epoch in range(cell.epochs):
        total = torch.zeros(())
        for chosen in batches(len(data.labels), batch, cell.seed, epoch):
            scores = _forward(tensors, images[chosen])
            loss = functional.cross_entropy(scores, data.labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            if method.decays:
                _set(optimizer, [start * LAST_SHARE ** (t / (steps * cell.epochs))] * len(tensors))
            if learned:
                learned.after_backward(t)
                _set(optimizer, [learned.rate(index) for index in range(len(tensors))])
            optimizer.step()
            if learned:
                learned.after_step(t)
            total += loss.detach() * len(chosen)
            t += 1
        curves["train_loss"].append(float(total) / len(data.labels))
        test_loss, accuracy = _evaluate(tensors, data.test_images, data.test_labels)
        curves["test_loss"].append(test_loss)
        curves["accuracy"].append(accuracy)
        curves["rate"].append([group["lr"] for group in optimizer.param_groups])
        if not math.isfinite(curves["train_loss"][-1]):
            break
    final_loss, final_accuracy = _evaluate(tensors, data.images, data.labels)
    final = {"final_train_loss": final_loss, "final_train_accuracy": final_accuracy}
    return curves | final | {"events": learned.events if learned else 0}


def _forward(tensors: Sequence[Tensor], images: Tensor) -> Tensor:
    return functional.linear(functional.relu(functional.linear(images, *tensors[:2])), *tensors[2:])


def _set(optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


@torch.no_grad()
def _evaluate(tensors: Sequence[Tensor], images: Tensor, labels: Tensor) -> tuple[float, float]:
    scores = torch.cat([_forward(tensors, part.flatten(1)) for part in images.split(2000)])
    return float(functional.cross_entropy(scores.double(), labels)), float((scores.argmax(1) == labels).double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder with MNIST's four files  [default: $LRPOLICY_DATA/mnist]")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=RESULTS / "tlr_mnist.jsonl")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = Results(arguments.out, KEYS)
    missing = [cell for cell in plan(arguments.epochs) if not results.find(**cell.key())]
    if missing and not arguments.table:
        try:
            data = mnist(arguments.data)
        except LrpolicyError as error:
            parser.error(str(error))
        for cell in missing:
            started, key = time.process_time(), cell.key()
            row = train(cell, data)
            results.add(key | {"seconds": time.process_time() - started} | row)
            print(key, row["final_train_loss"], row["accuracy"][-1], row["rate"][-1], flush=True)
    write(results.rows, arguments.epochs, arguments.out.with_suffix(".md"))


if __name__ == "__main__":
    main()
