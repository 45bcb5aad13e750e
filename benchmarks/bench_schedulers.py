"""Schedulers of torch.optim: what a step costs, and what TLR and ASLR cost a training (goals G7 and G4).

    python benchmarks/bench_schedulers.py [--rounds 30] [--windows 5] [--threads 1] [--net TEXT] [--json FILE]

Contenders run in turn, round after round, in one process; minimum and median are printed. Of an epoch a third is run,
one window of TLR, and measured in seconds of the processor, which other programs disturb less. What a scheduler costs
is told in two ways: against SGD in the same round, and as the time spent inside the scheduler's own calls.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import timeit
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, lr_scheduler

from lrpolicy.integrations import torch as ours_torch
from lrpolicy.integrations.torch import ASLR, TLR, PolicyLR
from lrpolicy.integrations.torch.groups import split_groups

Times = dict[str, list[float]]
TRI2 = {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 2000}


def groups_of(count: int, *, tensors: bool = False, shared: bool = False) -> SGD:
    rate = torch.tensor(0.01)
    rates = [rate if shared else rate.clone() for _ in range(count)] if tensors else [0.01] * count
    return SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates])


def ours(optimizer: SGD, policies: int = 1) -> Any:
    policy = PolicyLR(optimizer, "tri2", **TRI2).policies
    return PolicyLR(optimizer, policy * policies)


def cyclic(optimizer: SGD) -> Any:
    return lr_scheduler.CyclicLR(optimizer, 0.01, 0.06, step_size_up=2000, mode="triangular2", cycle_momentum=False)


def cosine(optimizer: SGD) -> Any:
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=2000)


class Nothing:
    """The floor: what calling any method costs."""

    def step(self, epoch: int | None = None) -> None:
        pass


def bench_steps(rounds: int) -> Times:
    """Seconds of one scheduler.step(), from its third call on."""
    schedulers: dict[str, tuple[Any, int]] = {
        "an empty method": (Nothing(), 20_000),
        "1 group: PolicyLR": (ours(groups_of(1)), 20_000),
        "1 group: CyclicLR": (cyclic(groups_of(1)), 2000),
        "1 group: CosineAnnealingLR": (cosine(groups_of(1)), 2000),
        "1 group, tensor: PolicyLR": (ours(groups_of(1, tensors=True)), 2000),
        "1 group, tensor: CyclicLR": (cyclic(groups_of(1, tensors=True)), 1000),
        "100 groups: PolicyLR": (ours(groups_of(100)), 2000),
        "100 groups: PolicyLR, 100 policies": (ours(groups_of(100), 100), 1000),
        "100 groups: CyclicLR": (cyclic(groups_of(100)), 200),
        "100 groups, one tensor: PolicyLR": (ours(groups_of(100, tensors=True, shared=True)), 200),
        "100 groups, tensors: PolicyLR": (ours(groups_of(100, tensors=True)), 200),
        "100 groups, tensors: CyclicLR": (cyclic(groups_of(100, tensors=True)), 50),
        "100 groups, tensors: CosineAnnealingLR": (cosine(groups_of(100, tensors=True)), 50),
    }
    for scheduler, _ in schedulers.values():
        scheduler.step()
        scheduler.step()
    times: Times = {name: [] for name in schedulers}
    for _ in range(rounds):
        for name, (scheduler, number) in schedulers.items():
            times[name].append(timeit.timeit(scheduler.step, number=number) / number)
    return times


def bench_updates(rounds: int) -> Times:
    """Seconds of one optimizer.step() of four tiny tensors, with what each scheduler adds to it; no window ends."""

    def update(scheduler: Callable[[SGD], object] | None) -> Callable[[], object]:
        tensors = [torch.zeros(4, requires_grad=True) for _ in range(4)]
        for tensor in tensors:
            tensor.grad = torch.zeros(4)
        optimizer = SGD(tensors, lr=0.01, momentum=0.9)
        if scheduler is not None:
            scheduler(optimizer)
        return lambda: optimizer.step()  # noqa: PLW0108  (a patched step does not keep its optimizer alive)

    contenders: dict[str, Callable[[], object]] = {
        "no scheduler": update(None),
        "CyclicLR": update(cyclic),
        "PolicyLR": update(ours),
        "TLR": update(lambda optimizer: TLR(optimizer, 10**9)),
        "TLR, a rate for each tensor": update(lambda optimizer: TLR(optimizer, 10**9, per_tensor=True)),
        "ASLR": update(ASLR),
    }
    times: Times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            times[name].append(timeit.timeit(run, number=500) / 500)
    return times


def nets() -> dict[str, tuple[nn.Module, Tensor, int]]:
    """A net, a batch for it, and how many batches an epoch has: MNIST's, and a third of CIFAR-10's."""
    torch.manual_seed(1)
    mlp = nn.Sequential(nn.Linear(784, 1000), nn.ReLU(), nn.Linear(1000, 10))
    cnn = nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(32 * 64, 10),
    )  # fmt: skip
    return {
        "MLP 784-1000-10, batch 128": (mlp, torch.randn(128, 784), 469),
        "CNN of two convolutions, batch 64": (cnn, torch.randn(64, 3, 32, 32), 260),
    }


class Clock:
    """Seconds spent inside calls. By the wall: asking for the processor's time may cost more than what is measured."""

    def __init__(self) -> None:
        self.spent = 0.0

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.spent += time.perf_counter() - begin

        return timed


def timed_tlr(clock: Clock, **options: Any) -> Callable[[SGD, int], TLR]:
    """TLR with its hooks on a clock."""

    class Timed(TLR):
        def _register(self) -> None:
            self.optimizer.register_step_pre_hook(clock.timed(self._before))
            self.optimizer.register_step_post_hook(clock.timed(self._after))

    return lambda optimizer, epoch: Timed(optimizer, epoch, **options)


def timed_aslr(clock: Clock) -> Callable[[SGD, int], ASLR]:
    class Timed(ASLR):
        def _register(self) -> None:
            self.optimizer.register_step_pre_hook(clock.timed(self._before))
            self.optimizer.register_step_post_hook(clock.timed(self._after))

    return lambda optimizer, epoch: Timed(optimizer, 1)


def contenders(clock: Clock) -> dict[str, tuple[Callable[..., SGD], Callable[[SGD, int], Any]]]:
    """An optimizer, and what is done to it; behind a colon, which one is not PyTorch's by default."""

    def nothing(optimizer: SGD, epoch: int) -> None:
        pass

    def split(optimizer: SGD, epoch: int) -> None:
        split_groups(optimizer)

    return {
        "SGD": (SGD, nothing),
        "SGD again": (SGD, nothing),
        "SGD, a group for each tensor": (SGD, split),
        "TLR": (SGD, timed_tlr(clock)),
        "TLR, a rate for each tensor": (SGD, timed_tlr(clock, per_tensor=True)),
        "TLR, source gradient": (SGD, timed_tlr(clock, source="gradient")),
        "ASLR": (SGD, timed_aslr(clock)),
        "fused: SGD": (partial(SGD, fused=True), nothing),
        "fused: SGD, a group for each tensor": (partial(SGD, fused=True), split),
        "ours: SGD": (ours_torch.SGD, nothing),
        "ours: TLR, a rate for each tensor": (ours_torch.SGD, timed_tlr(clock, per_tensor=True)),
        "ours: TLR, source gradient": (ours_torch.SGD, timed_tlr(clock, source="gradient")),
        "ours: ASLR": (ours_torch.SGD, timed_aslr(clock)),
    }


def windows(net: nn.Module, batch: Tensor, epoch: int, rounds: int) -> tuple[Times, Times]:
    """Seconds of a third of an epoch, and the part of them inside the scheduler, with each scheduler in turn.

    The second window is measured: the first has no window before to be compared with.
    """
    labels, clock, third = torch.randint(0, 10, (len(batch),)), Clock(), epoch // 3
    start = [p.detach().clone() for p in net.parameters()]
    runs = contenders(clock)
    times: Times = {name: [] for name in runs}
    shares: Times = {name: [] for name in runs}

    def update(optimizer: SGD) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(batch), labels).backward()
        optimizer.step()

    for number in range(rounds):
        names = list(runs)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            for p, was in zip(net.parameters(), start, strict=True):
                p.data.copy_(was)
            make, schedule = runs[name]
            optimizer = make(net.parameters(), lr=1e-6, momentum=0.9)
            scheduler = schedule(optimizer, epoch)
            update(optimizer)
            if isinstance(scheduler, TLR):
                scheduler._learn()
            clock.spent, begin, wall = 0.0, time.process_time(), time.perf_counter()
            for _ in range(third):
                update(optimizer)
            times[name].append(time.process_time() - begin)
            shares[name].append(clock.spent / (time.perf_counter() - wall - clock.spent))
    return times, shares


def show(title: str, times: Times, unit: str, scale: float, ratio: Callable[[str, Times], str]) -> None:
    print(f"\n{title}\n{'':40}{'min':>11}{'median':>11}  {unit}")
    for name, values in times.items():
        print(f"{name:40}{min(values) * scale:11.3f}{statistics.median(values) * scale:11.3f}   {ratio(name, times)}")


def against_cyclic(name: str, times: Times) -> str:
    rival = times.get(name.partition(": ")[0] + ": CyclicLR")
    if rival is None or ": PolicyLR" not in name:
        return ""
    by_min, by_median = min(rival) / min(times[name]), statistics.median(rival) / statistics.median(times[name])
    return f"{by_min:.1f}x CyclicLR by minima, {by_median:.1f}x by medians"


def within_rounds(times: Times, shares: Times) -> Callable[[str, Times], str]:
    def ratio(name: str, _: Times) -> str:
        against = ""
        for plain in dict.fromkeys(("SGD", f"{name.partition(': ')[0]}: SGD" if ": " in name else "SGD")):
            ratios = [mine / its for mine, its in zip(times[name], times[plain], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            against += f"{middle:.4f} of {plain} within rounds ({low:.4f} to {high:.4f}); "
        against = against[:-2]
        return f"{against}; inside: {1 + min(shares[name]):.5f}, median {1 + statistics.median(shares[name]):.5f}"

    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--windows", type=int, default=5, help="thirds of an epoch, of each kind for each net")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--net", default="", help="only the nets whose name has this in it, and no single steps")
    parser.add_argument("--json", type=Path, help="write every time, in seconds, to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ["LRPOLICY_THREADS"] = str(options.threads)  # for our kernels
    warnings.simplefilter("ignore")
    record: dict[str, Times] = {}
    if not options.net:
        record = {"steps": bench_steps(options.rounds), "updates": bench_updates(options.rounds)}
        show("one scheduler.step()", record["steps"], "us", 1e6, against_cyclic)
        show("one optimizer.step() of four tensors", record["updates"], "us", 1e6, lambda name, times: "")
    for name, (net, batch, epoch) in nets().items():
        if options.net not in name:
            continue
        record[name], shares = windows(net, batch, epoch, options.windows)
        record[f"{name}: inside"] = shares
        title = f"{epoch // 3} updates, a third of an epoch: {name}"
        show(title, record[name], "ms of processor time", 1e3, within_rounds(record[name], shares))
    if options.json:
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
