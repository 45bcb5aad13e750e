"""Policies against what a user would write without them (goals G7 and G8 of the project).

Every contender runs in turn, round after round, in one process; minimum and median are printed, ratios are of medians.

    python benchmarks/bench_policies.py [--rounds 30] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import timeit
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lrpolicy import POLICIES, Policy

COUNT = 1_000_000
PARAMETERS = {
    "base_lr": 0.01, "max_lr": 0.06, "gamma": 0.99994, "power": 0.75, "stepsize": 2000,
    "stepvalue": (1000, 2000, 500_000), "max_iter": COUNT,
}  # fmt: skip
Times = dict[str, list[float]]


def policy_of(name: str) -> Policy:
    return Policy(name, **{key: PARAMETERS[key] for key in POLICIES[name].parameters})


def numpy_formulas() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Table I as one writes it in NumPy; t is a float array."""
    steps, wave = 2000, lambda t: np.abs(np.sin(np.pi * t / 4000))
    triangle = lambda t: 1 - np.abs(t % 4000 / steps - 1)  # noqa: E731
    decay, halving = lambda t: 0.99994**t, lambda t: 0.5 ** (t // 4000)
    boundaries = np.array(PARAMETERS["stepvalue"])
    g = {
        "fixed": np.ones_like,
        "step": lambda t: 0.99994 ** (t // steps),
        "multistep": lambda t: 0.99994 ** np.searchsorted(boundaries, t, side="right"),
        "exp": decay,
        "inv": lambda t: (1 + 0.99994 * t) ** -0.75,
        "poly": lambda t: (1 - t / COUNT) ** 0.75,
        "tri": triangle,
        "tri2": lambda t: halving(t) * triangle(t),
        "triexp": lambda t: decay(t) * triangle(t),
        "sin": wave,
        "sin2": lambda t: halving(t) * wave(t),
        "sinexp": lambda t: decay(t) * wave(t),
        "cos": lambda t: (1 + np.cos(np.pi * 2 * t / steps)) / 2,
        "sigmoid": lambda t: 1 / (1 + np.exp(-0.99994 * (t - steps))),
    }
    cyclic = {name for name, info in POLICIES.items() if info.family == "cyclic"}
    return {
        name: (lambda t, f=f: 0.05 * f(t) + 0.01) if name in cyclic else (lambda t, f=f: 0.01 * f(t))
        for name, f in g.items()
    }


def interleaved(contenders: dict[str, Callable[[], object]], rounds: int, *, again: bool = False) -> Times:
    """Seconds of each contender in each round; the first round warms up and is dropped.

    With `again` each runs twice and the second run counts: its memory is in the cache, as far as it fits there.
    """
    times: Times = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, run in contenders.items():
            if again:
                run()
            begin = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begin)
    return {name: values[1:] for name, values in times.items()}


def bench_ranges(rounds: int) -> Times:
    t = np.arange(COUNT, dtype=np.float64)
    buffer = np.empty(COUNT)
    contenders: dict[str, Callable[[], object]] = {"fill 8 MB, one thread": lambda: buffer.fill(0.5)}
    formulas = numpy_formulas()
    for name in POLICIES:
        policy, formula = policy_of(name), formulas[name]
        contenders[f"{name} lrpolicy"] = lambda policy=policy: policy.rates(range(COUNT), out=buffer)
        contenders[f"{name} fresh memory"] = lambda policy=policy: policy.rates(range(COUNT))
        contenders[f"{name} numpy"] = lambda formula=formula: formula(t)
    return interleaved(contenders, rounds)


def bench_cached(rounds: int) -> Times:
    """The same into memory that was filled just before, beside a copy of as many bytes."""
    buffer, source, singles = np.empty(COUNT), np.ones(COUNT), np.empty(COUNT, np.float32)
    contenders: dict[str, Callable[[], object]] = {"copy 8 MB, one thread": lambda: np.copyto(buffer, source)}
    for name in POLICIES:
        policy = policy_of(name)
        contenders[f"{name} again"] = lambda policy=policy: policy.rates(range(COUNT), out=buffer)
        contenders[f"{name} float32"] = lambda policy=policy: policy.rates(range(COUNT), out=singles)
    return interleaved(contenders, rounds, again=True)


def bench_singles(rounds: int) -> Times:
    """Seconds of one `policy.rate(t)`, the attribute look-up and the loop of timeit included."""
    number = 20_000
    timers = {
        f"{name} rate": timeit.Timer("policy.rate(12345)", globals={"policy": policy_of(name)}) for name in POLICIES
    }
    times: Times = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(timer.timeit(number) / number)
    return times | bench_pytorch(rounds)


def bench_pytorch(rounds: int) -> Times:
    """Seconds of one CyclicLR.step() for one group; empty without PyTorch."""
    try:
        import torch
    except ImportError:
        return {}
    warnings.simplefilter("ignore")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    scheduler = torch.optim.lr_scheduler.CyclicLR(
        optimizer, base_lr=0.01, max_lr=0.06, step_size_up=2000, cycle_momentum=False
    )
    number = 2000
    return {"PyTorch CyclicLR.step()": [timeit.timeit(scheduler.step, number=number) / number for _ in range(rounds)]}


def show(title: str, times: Times, unit: str, scale: float) -> None:
    print(f"\n{title}\n{'':28}{'min':>10}{'median':>10}  {unit}")
    for name, values in times.items():
        line = f"{name:28}{min(values) * scale:10.3f}{statistics.median(values) * scale:10.3f}"
        rival = times.get(name.replace("lrpolicy", "numpy")) if name.endswith(" lrpolicy") else None
        print(line + (f"   {statistics.median(rival) / statistics.median(values):.1f}x numpy" if rival else ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write every time, in seconds, to this file")
    options = parser.parse_args()
    ranges, cached = bench_ranges(options.rounds), bench_cached(options.rounds)
    singles = bench_singles(options.rounds)
    show(f"{COUNT:,} rates in one call", ranges, "ms", 1e3)
    show("the same into memory that was filled just before", cached, "ms", 1e3)
    ours = {name: values for name, values in ranges.items() if name.endswith(" lrpolicy") and "sigmoid" not in name}
    print(f"all 13 together: {sum(map(min, ours.values())) * 1e3:.2f} ms (sum of minima)")
    show("one rate from Python", singles, "ns", 1e9)
    if options.json:
        record = {"machine": platform.processor() or platform.machine(), "seconds": {**ranges, **cached, **singles}}
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
