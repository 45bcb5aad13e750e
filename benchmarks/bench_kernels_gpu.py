"""The CUDA kernels beside cuBLAS, PyTorch and a device-to-device copy (goals G1, G2, G3 and G9's launch; G10).

Contenders take turns on the same buffers in one process; each time is that of one call or one replay, by CUDA events,
after a write that empties the L2 cache; minimum and median. `swap` is dot_pair without the roll, where the caller
exchanges g and g' instead. Without a GPU it says so and ends with 0.

    python benchmarks/bench_kernels_gpu.py [--rounds 50] [--elements 100000000] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bench_kernels import resnet32, resnet50

from lrpolicy.errors import NotAvailableError, RunError
from lrpolicy.stateful import Tlr

try:
    from lrpolicy import cuda

    DEVICES = cuda.devices()
    if not torch.cuda.is_available():
        raise NotAvailableError("PyTorch sees no GPU")
except (NotAvailableError, RunError) as error:
    print(f"bench_kernels_gpu: skipped, {error}")
    sys.exit(0)

Run = Callable[[], object]
LENET = [500, 20, 25000, 50, 400000, 500, 5000, 10]
Times = dict[str, dict[str, float]]


def stream() -> int:
    return int(torch.cuda.current_stream().cuda_stream)


def graphed(run: Run) -> Run:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def measure(contenders: dict[str, Run], rounds: int, flush: bool = True) -> Times:
    """Microseconds by name."""
    waste = torch.empty(1 << 26, device="cuda")  # 256 MB
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 3):
        for name, run in contenders.items():
            if flush:
                waste.fill_(turn)
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(20_000)  # the host is ahead of the device
            begin.record()
            run()
            end.record()
            end.synchronize()
            if turn >= 3:
                times[name].append(begin.elapsed_time(end) * 1000)
    return {name: {"min": min(each), "median": statistics.median(each)} for name, each in times.items()}


class Lists:
    """g, g' and the places of the sums for tensors of these sizes."""

    def __init__(self, counts: list[int]) -> None:
        self.counts = counts
        self.g, self.previous = ([torch.randn(n, device="cuda") for n in counts] for _ in range(2))
        self.ours, self.theirs = cuda.TensorList(self.g), cuda.TensorList(self.previous)
        sums = [torch.empty(len(counts), dtype=torch.float64, device="cuda") for _ in range(2)]
        self.sums = [cuda.TensorList([each]) for each in sums]
        self.rates = cuda.TensorList([torch.empty(len(counts), device="cuda")])
        schedule = Tlr(0.01, lr_mult=[1.0] * len(counts))
        self.tlr = cuda.TlrOnDevice(schedule, schedule.init())
        self.plan = cuda.Plan(counts)

    def dot_pair(self, roll: bool) -> None:
        self.plan.dot_pair(
            self.ours, self.theirs, *self.sums, roll=roll, tlr=self.tlr, rates=self.rates, stream=stream()
        )

    def by_cublas(self, roll: bool) -> None:
        for g, previous in zip(self.g, self.previous, strict=True):
            torch.dot(g, previous)
            torch.linalg.vector_norm(g)
            if roll:
                previous.copy_(g)

    def by_foreach(self, roll: bool) -> None:
        torch._foreach_norm(self.g)
        [product.sum() for product in torch._foreach_mul(self.g, self.previous)]
        if roll:
            torch._foreach_copy_(self.previous, self.g)

    def by_flat(self, flat: tuple[Any, Any, Any], roll: bool) -> None:
        """Everything copied into one buffer, then one segmented sum for each."""
        g, previous, lengths = flat
        torch.cat([t.view(-1) for t in self.g], out=g)
        torch.segment_reduce(g * g, "sum", lengths=lengths)
        torch.segment_reduce(g * previous, "sum", lengths=lengths)
        if roll:
            previous.copy_(g)

    def contenders(self) -> dict[str, Run]:
        flat = torch.cat(self.g), torch.cat(self.previous), torch.tensor(self.counts, device="cuda")
        made: dict[str, Run] = {}
        for roll in (True, False):
            kind = "roll" if roll else "swap"
            made[f"lrpolicy {kind}"] = lambda roll=roll: self.dot_pair(roll)
            made[f"PyTorch foreach {kind}"] = lambda roll=roll: self.by_foreach(roll)
            made[f"PyTorch flat {kind}"] = lambda roll=roll: self.by_flat(flat, roll)
        return made


def one_tensor(elements: int, rounds: int) -> dict[str, Any]:
    """G1: the rate of moving bytes beside a copy's, and the time beside cuBLAS' dot and nrm2, and a copy."""
    lists = Lists([elements])
    source, target = torch.empty(elements, device="cuda"), torch.empty(elements, device="cuda")
    contenders: dict[str, Run] = {
        "copy": lambda: target.copy_(source),
        "lrpolicy roll": lambda: lists.dot_pair(True),
        "lrpolicy swap": lambda: lists.dot_pair(False),
        "cuBLAS dot + nrm2 + copy": lambda: lists.by_cublas(True),
    }
    times = measure(contenders, rounds)
    ours, copy = times["lrpolicy roll"], times["copy"]
    ratios = {
        # a roll moves 12 bytes for each element, a copy 8
        "rate of bytes beside a copy's (goal 0.92)": {k: 12 / ours[k] / (8 / copy[k]) for k in ours},
        "cuBLAS / roll (goal 1.55)": beside(times, "cuBLAS dot + nrm2 + copy", "lrpolicy roll"),
        "cuBLAS / swap (goal 2.3)": beside(times, "cuBLAS dot + nrm2 + copy", "lrpolicy swap"),
    }
    return {"microseconds": times, "ratios": ratios}


def resnet50_list(rounds: int) -> dict[str, Any]:
    """G2: ResNet-50's 161 tensors beside the better of PyTorch's compositions."""
    times = measure(Lists(resnet50()).contenders(), rounds)
    ratios = {}
    for kind, goal in (("roll", "2.2, and at most 85 us"), ("swap", "3, and at most 60 us")):
        best = min((f"PyTorch {way} {kind}" for way in ("foreach", "flat")), key=lambda name: times[name]["median"])
        ratios[f"{best} / lrpolicy (goal {goal})"] = beside(times, best, f"lrpolicy {kind}")
    return {"microseconds": times, "ratios": ratios}


def small_list(counts: list[int], rounds: int) -> dict[str, Any]:
    """G3: inside a CUDA graph, beside a kernel that only starts as many blocks (fills one number in each)."""
    lists = Lists(counts)
    pieces = sum(max(1, -(-n // 4096)) for n in counts)
    tiny = torch.empty(pieces * 1024, device="cuda")  # PyTorch's fill has 1024 or fewer elements to a block
    contenders = {
        "lrpolicy roll": graphed(lambda: lists.dot_pair(True)),
        "lrpolicy roll, no alpha": graphed(
            lambda: lists.plan.dot_pair(lists.ours, lists.theirs, *lists.sums, roll=True, stream=stream())
        ),
        "fill of as many blocks": graphed(lambda: tiny.fill_(1)),
    }
    times = measure(contenders, rounds, flush=False)
    goal = {f"{name} / fill (goal 1.5)": beside(times, name, "fill of as many blocks") for name in list(contenders)[:2]}
    return {"microseconds": times, "ratios": goal}


def draws_list(rounds: int) -> dict[str, Any]:
    """G9: momentum_step with ASLR's draws inside beside the same step without; a launch of its own for comparison."""
    counts = resnet50()
    lists = [cuda.TensorList([torch.zeros(n, device="cuda") for n in counts]) for _ in range(3)]
    numbers = [cuda.TensorList([torch.zeros(len(counts), device="cuda")]) for _ in range(2)]
    out = torch.empty(len(counts), dtype=torch.float64, device="cuda")
    draws, plan = cuda.Draws(0.01, 1), cuda.Plan(counts)
    contenders: dict[str, Run] = {
        "step": lambda: plan.momentum_step(*lists, *numbers, 0.9, stream=stream()),
        "step that draws": lambda: plan.momentum_step(*lists, *numbers, 0.9, draws=draws, stream=stream()),
        "draw_rates": lambda: cuda.draw_rates(draws, out, stream=stream()),
    }
    times = measure(contenders, rounds)
    return {
        "microseconds": times,
        "ratios": {"drawing / not (goal: no launch)": beside(times, "step that draws", "step")},
    }


def device_rates(rounds: int) -> dict[str, Any]:
    """G10: ASLR's rates for 100 groups on the device, at most 5 us, in a graph."""
    out, draws = torch.empty(100, dtype=torch.float64, device="cuda"), cuda.Draws(0.01, 1)
    times = measure({"draw_rates, 100 groups": graphed(lambda: cuda.draw_rates(draws, out, stream=stream()))}, rounds)
    return {"microseconds": times, "ratios": {}}


def beside(times: Times, above: str, below: str) -> dict[str, float]:
    return {key: times[above][key] / times[below][key] for key in ("min", "median")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--elements", type=int, default=100_000_000)
    parser.add_argument("--output", type=Path, help="a JSON file for the numbers")
    options = parser.parse_args()
    results: dict[str, Any] = {"device": DEVICES[0], "torch": torch.__version__, "rounds": options.rounds}
    print(results)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        f"G1, one tensor of {options.elements}": lambda: one_tensor(options.elements, options.rounds),
        "G2, ResNet-50's 161": lambda: resnet50_list(options.rounds),
        "G3, ResNet-32's 95": lambda: small_list(resnet32(), options.rounds),
        "G3, LeNet's 8": lambda: small_list(LENET, options.rounds),
        "G9, draws": lambda: draws_list(options.rounds),
        "G10, device rates": lambda: device_rates(options.rounds),
    }
    for name, part in parts.items():
        results[name] = part()
        print(f"\n{name}{'min':>40}{'median':>12}")
        for what, each in results[name]["microseconds"].items():
            print(f"  {what:<46}{each['min']:10.2f}{each['median']:12.2f} us")
        for what, each in results[name]["ratios"].items():
            print(f"  {what:<60}{each['min']:8.2f}{each['median']:8.2f}")
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
