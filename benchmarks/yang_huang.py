"""Yang and Huang's Table 1: four sequences, three strategies and two fixed rates on MNIST, 50 epochs each.

    python benchmarks/yang_huang.py --data FOLDER    (an hour or two of one core; goes on where it was stopped)
    python benchmarks/yang_huang.py --table          (the table and the picture from the results that are there)

The report's text says: 14 settings, r0 = 0.01 with SGD, two benchmarks at a fixed 0.001, the net of its appendix. What
it does not say is taken from the authors' published notebook: batches of 64, momentum 0.9, pixels in [-1, 1], the test
set as validation set, and a softmax in the net under a cross entropy that applies another (their validation losses
end near 1.48, because no loss can fall below 1.4612). Their final accuracy is the mean of the epochs 46 to 49.
`--softmax once` trains the same net without the softmax in it.

Differences: by_oscillate here needs two losses, while theirs compares the first loss with 0 and always advances after
the first epoch; losses and accuracies are means over the examples, theirs over batches, the last of which is short.
With one seed, all settings start from the same weights and see the same batches.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from experiments.mnist import RESULTS, Mnist, Results, batches, mnist
from experiments.pooled_conv import PooledConv
from experiments.yang_huang_report import BESIDE, PAPER, SEED, Setting, write
from torch import Tensor, nn
from torch.nn import functional

from lrpolicy.errors import LrpolicyError
from lrpolicy.stateful import DecaySequence

# Whole strategies one after another, so that a run which is stopped leaves something to compare.
METHODS = ("fixed", "by_epoch", "by_cutoff", "by_oscillate")
ORDER = sorted((*PAPER, BESIDE), key=lambda setting: METHODS.index(setting.method))
KEYS = ("softmax", "method", "name", "seed")
BATCH, MOMENTUM, EPOCHS, R0, FIXED = 64, 0.9, 50, 0.01, 0.001


def net() -> nn.Sequential:
    """Convolution 3x3 with 20 filters, max pooling by 2, ReLU; 3380-128, ReLU; 128-10 (their appendix)."""
    return nn.Sequential(PooledConv(), nn.Linear(3380, 128), nn.ReLU(), nn.Linear(128, 10))


def loss_of(scores: Tensor, labels: Tensor, softmax: str) -> Tensor:
    """The cross entropy, of the scores (`once`) or of their softmax (`twice`, as the authors have it)."""
    return functional.cross_entropy(scores.softmax(1) if softmax == "twice" else scores, labels)


def train(setting: Setting, softmax: str, data: Mnist, seed: int, epochs: int = EPOCHS) -> dict[str, Any]:
    """Train one setting; the losses, accuracies and rates of its epochs."""
    torch.manual_seed(seed)
    model = net()
    schedule = None if setting.method == "fixed" else DecaySequence(setting.name, setting.method, R0)
    state = schedule.init() if schedule else None
    rate = schedule.rate(state) if schedule and state else R0 if setting == BESIDE else FIXED
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam(model.parameters(), rate, fused=True)
        if setting.name == "adam"
        else torch.optim.SGD(model.parameters(), rate, momentum=MOMENTUM, fused=True)
    )
    curves: dict[str, list[float]] = {"train_loss": [], "loss": [], "accuracy": [], "rate": []}
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = rate
        curves["rate"].append(rate)
        curves["train_loss"].append(
            _epoch(model, optimizer, data, softmax, batches(len(data.labels), BATCH, seed, epoch))
        )
        loss, accuracy = _validate(model, data, softmax)
        curves["loss"].append(loss)
        curves["accuracy"].append(accuracy)
        if schedule and state:
            state = schedule.update(state, loss)
            rate = schedule.rate(state)
        print(f"{setting.method} {setting.name} {epoch + 1}: loss {loss:.5f} accuracy {accuracy:.4f}", flush=True)
    return curves


def _epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Mnist, softmax: str, parts: Iterator[Tensor]
) -> float:
    total = torch.zeros(())
    for chosen in parts:
        loss = loss_of(model(data.images[chosen]), data.labels[chosen], softmax)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.detach() * len(chosen)
    return float(total) / len(data.labels)


@torch.no_grad()
def _validate(model: nn.Module, data: Mnist, softmax: str) -> tuple[float, float]:
    scores = torch.cat([model(part) for part in data.test_images.split(1000)])
    right = (scores.argmax(1) == data.test_labels).double().mean()
    return float(loss_of(scores.double(), data.test_labels, softmax)), float(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder with MNIST's four files  [default: $LRPOLICY_DATA/mnist]")
    parser.add_argument("--softmax", choices=["twice", "once"], default="twice")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=RESULTS / "yang_huang.jsonl")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = Results(arguments.out, KEYS)
    plan = [(setting, (arguments.softmax, setting.method, setting.name, arguments.seed)) for setting in ORDER]
    missing = [(s, key) for s, values in plan if not results.find(**(key := dict(zip(KEYS, values, strict=True))))]
    if missing and not arguments.table:
        try:
            data = mnist(arguments.data)
        except LrpolicyError as error:
            parser.error(str(error))
        for setting, key in missing:
            started = time.process_time()
            curves = train(setting, arguments.softmax, data, arguments.seed)
            results.add(key | {"seconds": time.process_time() - started} | curves)
    suffix = "" if arguments.softmax == "twice" else "_softmax_once"
    write(results.rows, arguments.softmax, arguments.out.with_name(f"{arguments.out.stem}{suffix}.md"))


if __name__ == "__main__":
    main()
