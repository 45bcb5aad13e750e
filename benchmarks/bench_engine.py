"""Iterations a second: the torch engine against a hand-written PyTorch loop of the same net, interleaved (goal G13).

    python benchmarks/bench_engine.py [--threads 1] [--rounds 15] [--caffe PATH/TO/caffe]

Both loops do the same: batches are slices of float32 images in memory, the rate changes at every iteration, weights
and biases have their own multipliers. The same net and data (an LMDB written for it) also run in real Caffe, with as
many threads, where there is one.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lrpolicy import solver, zoo
from lrpolicy.datasets import Examples, write_lmdb
from lrpolicy.engines.caffe.binary import Binary
from lrpolicy.engines.torch.feed import Feed, Transform
from lrpolicy.engines.torch.layers import StepRandom
from lrpolicy.engines.torch.net import Definition, TorchNet, Weights
from lrpolicy.engines.torch.optimizers import Optimizer
from lrpolicy.engines.torch.updater import Updater
from lrpolicy.errors import NotAvailableError

CPU = torch.device("cpu")
EXAMPLES = 2000
CAFFE_RUNS = 3


def examples(shape: tuple[int, int, int]) -> Examples:
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (EXAMPLES, *shape), np.uint8)
    return Examples(images, random.integers(0, 10, EXAMPLES), "random")


def engine_loop(name: str, data: Examples, batch_size: int, scale: float) -> Callable[[int], float]:
    read = solver.read(zoo.solver_path(name))
    message = read.train_parameter()
    data_layer = next(layer for layer in message.layer if layer.type == "Data")
    data_layer.data_param.batch_size = batch_size
    definition = Definition.of(read.train_net(), message, {data_layer.name: data.shape})
    weights, random = Weights(definition, 1, CPU), StepRandom(1, CPU)
    feed = Feed.of(data, Transform(scale=scale), batch_size, CPU, training=True)
    updater = Updater(
        TorchNet(definition, weights, random, training=True),
        feed,
        tuple(data_layer.top),
        Optimizer(read, weights.learned),
        random,
        iter_size=1,
    )
    rates = read.policy.rates(range(100_000)).astype(np.float32).tolist()
    return lambda iteration: updater.update(iteration, rates[iteration]).item()


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.ip1, self.ip2 = nn.Linear(800, 500), nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        return self.ip2(F.relu(self.ip1(x.flatten(1)), inplace=True))


class Cnn3(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 32, 5, padding=2), nn.Conv2d(32, 32, 5, padding=2)
        self.conv3, self.ip1 = nn.Conv2d(32, 64, 5, padding=2), nn.Linear(1024, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(F.relu(F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True), inplace=True))
        x = self.norm(F.avg_pool2d(F.relu(self.conv2(x), inplace=True), 3, 2, ceil_mode=True))
        x = F.avg_pool2d(F.relu(self.conv3(x), inplace=True), 3, 2, ceil_mode=True)
        return self.ip1(x.flatten(1))

    @staticmethod
    def norm(x: Tensor) -> Tensor:
        return x * (1 + 5e-5 * F.avg_pool2d(x * x, 3, 1, 1)).pow(-0.75)


class ResNet20(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = [16] * 4 + [32] * 3 + [64] * 3
        self.conv, self.bn = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in pairwise(widths)))
        self.ip = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn(self.conv(x)), inplace=True))
        return self.ip(x.mean((2, 3)))


class Block(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        stride = width // channels
        self.a, self.a_bn = nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.b, self.b_bn = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, 2, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.b_bn(self.b(F.relu(self.a_bn(self.a(x)), inplace=True)))
        return F.relu(y + self.shortcut(x), inplace=True)


def hand_written_loop(model: nn.Module, data: Examples, batch_size: int, scale: float) -> Callable[[int], float]:
    images = torch.from_numpy(data.images).float() * scale
    labels = torch.from_numpy(data.labels)
    groups = [
        {"params": [p for n, p in model.named_parameters() if n.endswith("weight")], "weight_decay": 5e-4},
        {"params": [p for n, p in model.named_parameters() if n.endswith("bias")], "weight_decay": 5e-4},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)

    def update(iteration: int) -> float:
        rate = 0.01 * (1 + 1e-4 * iteration) ** -0.75 * (scale if scale < 1 else 1e-3)
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = rate, 2 * rate
        start = iteration * batch_size % (EXAMPLES - batch_size + 1)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[start : start + batch_size]), labels[start : start + batch_size])
        loss.backward()
        optimizer.step()
        return loss.item()

    return update


def interleaved(loops: list[Callable[[int], float]], rounds: int, count: int) -> list[list[float]]:
    """Seconds for an iteration, for every loop and round; which loop goes first alternates."""
    seconds: list[list[float]] = [[] for _ in loops]
    for index in range(rounds + 1):
        for loop in range(len(loops))[:: 1 if index % 2 else -1]:
            started = time.perf_counter()
            for iteration in range(index * count, (index + 1) * count):
                loops[loop](iteration)
            if index:  # the first round warms up
                seconds[loop].append((time.perf_counter() - started) / count)
    return seconds


def found() -> Path | None:
    """The caffe engine's binary; without one, what is missing is said and the rest goes on."""
    try:
        return Binary.find().path
    except NotAvailableError as error:
        print(f"without Caffe: {error}")
        return None


def caffe_rate(caffe: Path, name: str, data: Examples, batch_size: int, scale: float, count: int) -> float:
    """Iterations a second that a Caffe binary prints for the same net on the same data."""
    with tempfile.TemporaryDirectory() as folder:
        write_lmdb(Path(folder) / "data", data)
        read = solver.read(zoo.solver_path(name))
        message = read.train_parameter()
        for layer in message.layer:
            if layer.type == "Data":
                layer.data_param.source, layer.data_param.batch_size = f"{folder}/data", batch_size
                layer.transform_param.Clear()
                layer.transform_param.scale = scale
        fields = {"net", "test_iter", "test_interval", "snapshot", "net_param"}
        for field in fields:
            read.message.ClearField(field)
        read.message.train_net_param.CopyFrom(message)
        read.message.MergeFrom(type(read.message)(max_iter=3 * count + 1, display=count, snapshot_after_train=False))
        path = Path(folder) / "solver.prototxt"
        path.write_text(read.to_text())
        done = subprocess.run([caffe, "train", "--solver", path], capture_output=True, text=True, check=True)
    rates = re.findall(r"\(([\d.e+]+) iter/s", done.stderr)
    return max(float(rate) for rate in rates[1:])  # what stands at iteration 0 measures nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--caffe", type=Path, help="the binary  [default: as the caffe engine finds it]")
    options = parser.parse_args()
    binary = options.caffe or found()
    os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.rounds} rounds; iterations a second")
    print(f"{'net':24}{'engine':>17}{'hand-written':>17}{'ratio':>15}   {'Caffe   ratio' if binary else ''}")
    beside = "   best  of bests" if binary else ""
    print(f"{'':24}{'median  max':>17}{'median  max':>17}{'median  best':>15}{beside}")
    cases: list[tuple[str, type[nn.Module], tuple[int, int, int], int, float, int]] = [
        ("mnist-lenet", LeNet, (1, 28, 28), 8, 1 / 256, 40),
        ("mnist-lenet", LeNet, (1, 28, 28), 64, 1 / 256, 20),
        ("mnist-lenet", LeNet, (1, 28, 28), 100, 1 / 256, 15),
        ("cifar10-cnn3", Cnn3, (3, 32, 32), 100, 1.0, 3),
        ("cifar10-resnet20", ResNet20, (3, 32, 32), 32, 1 / 64, 2),
    ]
    for name, model, shape, batch_size, scale, count in cases:
        data = examples(shape)
        torch.manual_seed(1)
        loops = [
            engine_loop(name, data, batch_size, scale),
            hand_written_loop(model(), data, batch_size, scale),
        ]
        engine, hand = ([1 / s for s in seconds] for seconds in interleaved(loops, options.rounds, count))
        median, best = statistics.median, max
        line = f"{name + f', batch {batch_size}':24}{median(engine):9.1f}{best(engine):8.1f}"
        line += (
            f"{median(hand):9.1f}{best(hand):8.1f}{median(engine) / median(hand):8.3f}{best(engine) / best(hand):7.3f}"
        )
        if binary:
            caffe = max(caffe_rate(binary, name, data, batch_size, scale, count) for _ in range(CAFFE_RUNS))
            line += f"   {caffe:5.1f}{best(engine) / caffe:8.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
