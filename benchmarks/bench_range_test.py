"""How often a range test's suggestion is right: our rule against those in use, on tasks with a known answer.

    python benchmarks/bench_range_test.py [--seeds 40] [--out benchmarks/results/range_test.json] [--no-digits]

The answer is known because every fixed rate is trained: a rate is right when its final loss is within 5 % of what the
best fixed rate gained over the worst. Toy tasks are small classifiers in NumPy, many seeds and rates at a time; the
rule's constants were chosen on the tasks listed and on seven drawn at random; twelve more that were drawn afterwards
were not looked at before the rule was fixed. Digits runs through the engine and is in neither summary. Rules that read
one sweep are asked once for each seed; ours takes five seeds at a time, and one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpolicy import solver, zoo
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import RunError
from lrpolicy.executors.local import LocalExecutor
from lrpolicy.policies import Policy
from lrpolicy.range_test import SmithTest, curves
from lrpolicy.range_test.result import drained
from lrpolicy.range_test.sweeping import LossWatch
from lrpolicy.range_test.trainings import train_all
from lrpolicy.sweeps import Sweep

Floats = NDArray[np.float64]
Rule = Callable[[Floats, Floats], float]
LOW, HIGH = 1e-5, 10.0
SWEEPS = (100, 200, 400, 1000)
TOLERANCE = 0.05
GROUP = 5


@dataclass(frozen=True)
class Toy:
    """A teacher's labels, some of them flipped, learned by a ReLU net of these widths.

    Inputs have deviations from 1 for the first to `last_input` for the last.
    """

    name: str
    widths: tuple[int, ...]
    momentum: float
    flipped: float = 0.1
    batch: int = 32
    last_input: float = 1.0
    examples: int = 2000
    data_seed: int = 7
    chosen_on: bool = False

    def data(self) -> tuple[Floats, NDArray[np.int64]]:
        random = np.random.default_rng(self.data_seed)
        inputs, classes = self.widths[0], self.widths[-1]
        x = random.normal(size=(self.examples, inputs)) * np.geomspace(1.0, self.last_input, inputs)
        hidden, out = random.normal(size=(inputs, 24)), random.normal(size=(24, classes))
        y = np.argmax(np.tanh(x @ hidden) @ out, axis=1)
        wrong = random.random(self.examples) < self.flipped
        y[wrong] = random.integers(0, classes, int(wrong.sum()))
        return x, y

    def train(self, rates: Floats, seeds: list[int]) -> Floats:
        """Minibatch losses (trainings, iterations) of SGD with Caffe's momentum; rates have the same shape."""
        x, y = self.data()
        randoms = [np.random.default_rng(seed) for seed in seeds]
        weights = [np.stack([_xavier(random, a, b) for random in randoms]) for a, b in pairwise(self.widths)]
        history = [np.zeros_like(w) for w in weights]
        epochs = rates.shape[1] * self.batch // self.examples + 1
        order = np.stack([np.concatenate([r.permutation(self.examples) for _ in range(epochs)]) for r in randoms])
        losses = np.full(rates.shape, np.nan)
        with np.errstate(all="ignore"):
            for t in range(rates.shape[1]):
                chosen = order[:, t * self.batch : (t + 1) * self.batch]
                losses[:, t], gradients = _loss_and_gradients(weights, x[chosen], y[chosen])
                for place, gradient in enumerate(gradients):
                    history[place] = self.momentum * history[place] + rates[:, t, None, None] * gradient
                    weights[place] = weights[place] - history[place]
        gone = np.logical_or.accumulate(~np.isfinite(losses), axis=1)
        losses[gone] = np.nan
        return losses


def _xavier(random: np.random.Generator, fan_in: int, fan_out: int) -> Floats:
    weights = random.uniform(-1, 1, size=(fan_in + 1, fan_out)) * np.sqrt(3 / fan_in)
    weights[-1] = 0.0  # the bias
    return weights


def _loss_and_gradients(weights: list[Floats], x: Floats, y: NDArray[np.int64]) -> tuple[Floats, list[Floats]]:
    values = [x]
    for place, w in enumerate(weights):
        z = values[-1] @ w[:, :-1] + w[:, -1:]
        values.append(z if place + 1 == len(weights) else np.maximum(z, 0))
    z = values.pop()
    z = z - z.max(axis=2, keepdims=True)
    e = np.exp(z)
    at_label = y[:, :, None]
    loss = (np.log(e.sum(axis=2)) - np.take_along_axis(z, at_label, 2)[:, :, 0]).mean(axis=1)
    error = e / e.sum(axis=2, keepdims=True)
    np.put_along_axis(error, at_label, np.take_along_axis(error, at_label, 2) - 1, 2)
    error /= y.shape[1]
    gradients = []
    for w, value in zip(reversed(weights), reversed(values), strict=True):
        gradients.append(np.concatenate([value.transpose(0, 2, 1) @ error, error.sum(axis=1, keepdims=True)], axis=1))
        error = (error @ w[:, :-1].transpose(0, 2, 1)) * (value > 0)
    return loss, gradients[::-1]


TOYS = (
    Toy("softmax", (10, 4), 0.0, chosen_on=True),
    Toy("mlp", (10, 32, 4), 0.0, chosen_on=True),
    Toy("mlp-momentum", (10, 32, 4), 0.9, chosen_on=True),
    Toy("deep-momentum", (10, 32, 32, 32, 4), 0.9, flipped=0.05, chosen_on=True),
    Toy("small-inputs", (10, 32, 4), 0.9, last_input=0.03, chosen_on=True),
    Toy("large-inputs", (10, 32, 4), 0.9, last_input=30.0, chosen_on=True),
    Toy("softmax-momentum", (16, 10), 0.9, data_seed=11, chosen_on=True),
    Toy("wide", (20, 64, 10), 0.9, data_seed=12, batch=16, chosen_on=True),
    Toy("deep", (12, 32, 32, 6), 0.0, data_seed=13, chosen_on=True),
    Toy("noisy-labels", (10, 32, 4), 0.9, flipped=0.3, data_seed=14, chosen_on=True),
    Toy("tiny-batch", (10, 32, 4), 0.5, batch=8, data_seed=15, chosen_on=True),
    Toy("mixed-inputs", (20, 48, 5), 0.9, last_input=5.0, data_seed=16, batch=64, chosen_on=True),
)


def drawn(seed: int, count: int, *, chosen_on: bool) -> list[Toy]:
    """Tasks drawn at random, the same ones for the same seed."""
    random = np.random.default_rng(seed)
    toys = []
    for place in range(count):
        hidden = [int(random.integers(16, 65))] * int(random.integers(0, 4))
        toys.append(
            Toy(
                f"drawn-{seed}-{place + 1}",
                (int(random.integers(6, 25)), *hidden, int(random.integers(2, 11))),
                momentum=float(random.choice([0.0, 0.5, 0.9, 0.9, 0.95])),
                flipped=float(random.choice([0.0, 0.05, 0.1, 0.2])),
                batch=int(random.choice([16, 32, 64])),
                last_input=float(random.choice([0.1, 1.0, 1.0, 5.0])),
                data_seed=1000 + place if chosen_on else 2000 + place,
                chosen_on=chosen_on,
            )
        )
    return toys


def until_explosion(losses: Floats) -> Floats:
    """The losses as a sweep would have seen them: NaN after the watch has stopped it."""
    watch, seen = LossWatch(), losses.copy()
    for place, loss in enumerate(losses):
        watch.see(float(loss))
        if watch.exploded:
            seen[place + 1 :] = np.nan
            break
    return seen


def _averaged(losses: Floats, keep: float, corrected: bool) -> Floats:
    mean, result = 0.0 if corrected else float(losses[0]), []
    for place, loss in enumerate(losses):
        mean = keep * mean + (1 - keep) * loss
        result.append(mean / (1 - keep ** (place + 1)) if corrected else mean)
    return np.array(result)


def steepest_98(rates: Floats, losses: Floats) -> float:
    """The steepest descent of the running mean with memory 0.98, as Lightning's finder looks for it."""
    mean = _averaged(losses[np.isfinite(losses)], 0.98, corrected=True)[10:-1]
    return float(rates[10 + np.gradient(mean).argmin()])


def steepest_05(rates: Floats, losses: Floats) -> float:
    """The steepest descent of the running mean with weight 0.05, as torch-lr-finder looks for it."""
    mean = _averaged(losses[np.isfinite(losses)], 0.95, corrected=False)[10:-5]
    return float(rates[10 + np.gradient(mean).argmin()])


def tenth_of_minimum(rates: Floats, losses: Floats) -> float:
    """A tenth of the rate with the lowest smoothed loss, the oldest rule of thumb."""
    return float(rates[np.nanargmin(curves.smoothed(losses))]) / 10


SINGLE: dict[str, Rule] = {
    "steepest, mean 0.98 (Lightning)": steepest_98,
    "steepest, weight 0.05 (torch-lr-finder)": steepest_05,
    "minimum / 10": tenth_of_minimum,
    "valley": curves.valley,
}


def ours(rates: Floats, sweeps: Floats, momentum: float) -> float:
    """Our suggestion from (seeds, iterations); NaN where the rule says that there is none."""
    median = curves.median_over_seeds(np.array([curves.smoothed(losses) for losses in sweeps]))
    lag = curves.momentum_lag(momentum)
    try:
        return curves.find_ends(rates, median, curves.standard_error(sweeps), lag).suggestion
    except RunError:
        return float("nan")


def suggestions(rates: Floats, sweeps: Floats, momentum: float) -> dict[str, list[float]]:
    """What each rule says, for every seed (or group of seeds) in turn."""
    found = {name: [rule(rates, losses) for losses in sweeps] for name, rule in SINGLE.items()}
    groups = [sweeps[at : at + GROUP] for at in range(0, len(sweeps) - GROUP + 1, GROUP)]
    found["valley, median of 5 seeds"] = [
        float(np.exp(np.median(np.log([curves.valley(rates, losses) for losses in group])))) for group in groups
    ]
    found["ours, 1 seed"] = [ours(rates, losses[None], momentum) for losses in sweeps]
    found["ours, 5 seeds"] = [ours(rates, group, momentum) for group in groups]
    return found


def judged(found: dict[str, list[float]], grid: Floats, final: Floats) -> dict[str, Any]:
    """For each rule: the share of right suggestions, and where they lie."""
    finite = np.minimum(final, np.sort(final[np.isfinite(final)])[-1])
    # What was gained: from chance, which the smallest rates show, or from where half of the rates end.
    limit = finite.min() + TOLERANCE * (max(finite[0], np.median(finite)) - finite.min())
    best = float(grid[finite.argmin()])
    inside = np.interp(np.log(grid), np.log(grid), finite) <= limit
    result: dict[str, Any] = {"best fixed rate": best, "right from": grid[inside].min(), "right to": grid[inside].max()}
    for name, rates in found.items():
        known = np.array([rate for rate in rates if np.isfinite(rate)])
        right = np.interp(np.log(known), np.log(grid), finite) <= limit
        result[name] = {
            "right": float(right.sum() / len(rates)),
            "median over best": float(np.median(known) / best),
            "lowest": float(known.min()),
            "highest": float(known.max()),
        }
    return result


def bench_toy(toy: Toy, seeds: int) -> dict[str, Any]:
    grid = np.geomspace(1e-4, HIGH, 26)
    trained = [100_000 + seed for seed in range(4)]
    losses = toy.train(np.repeat(grid, len(trained))[:, None] * np.ones(400), trained * len(grid))
    ends = np.where(np.isfinite(losses[:, -1]), losses[:, -60:].mean(axis=1), np.inf).reshape(len(grid), -1)
    chance = np.log(toy.widths[-1])
    final = np.minimum(ends, 2 * chance).mean(axis=1)
    rows = {}
    for length in SWEEPS:
        rates = Sweep(LOW, HIGH, length).rates(range(length))
        sweeps = toy.train(np.tile(rates, (seeds, 1)), list(range(seeds)))
        seen = np.array([until_explosion(losses) for losses in sweeps])
        rows[str(length)] = judged(suggestions(rates, seen, toy.momentum), grid, final)
    return {"chosen on": toy.chosen_on, "grid": grid.tolist(), "final loss": final.tolist(), "sweeps": rows}


def bench_digits(seeds: int) -> dict[str, Any]:
    """The same through the engine: the digits net, fixed rates trained for ten epochs, judged by validation loss."""
    grid, found_seeds = np.geomspace(1e-3, 1.0, 13), (101, 102, 103)
    job = TrainingJob(solver.read(zoo.find("digits")), threads=1, max_iter=210, test_interval=0)
    with LocalExecutor(2) as executor:
        jobs = [
            TrainingJob(**{**vars(job), "schedule": Policy("fixed", base_lr=float(rate)), "seed": seed})
            for rate in grid
            for seed in found_seeds
        ]
        trainings = drained(train_all(executor, "torch", "fixed rates", jobs))
        ends = [t.measurements[-1].evaluation.loss if t.measurements else np.inf for t in trainings]
        final = np.minimum(np.array(ends).reshape(len(grid), -1), 2 * np.log(10)).mean(axis=1)
        rows = {}
        for length in SWEEPS[:2]:
            test = SmithTest(job, Sweep(LOW, HIGH, length), executor, tuple(range(seeds)))
            result = test.run()
            sweeps = np.array([curve.values for curve in result.curves])
            rows[str(length)] = judged(suggestions(np.array(result.median.rates), sweeps, 0.9), grid, final)
    return {"chosen on": None, "grid": grid.tolist(), "final loss": final.tolist(), "sweeps": rows}


def show(name: str, task: dict[str, Any]) -> None:
    for length, row in task["sweeps"].items():
        right = f"right {row['right from']:.2g} to {row['right to']:.2g}"
        print(f"{name}, {length} iterations: best {row['best fixed rate']:.3g}, {right}")
        for rule, said in row.items():
            if isinstance(said, dict):
                span = f"{said['lowest']:.1e} to {said['highest']:.1e}"
                print(f"    {rule:42s}{100 * said['right']:5.0f} %   x {said['median over best']:<7.2f} {span}")


def summary(tasks: dict[str, dict[str, Any]], chosen_on: bool) -> dict[str, dict[str, float]]:
    """Mean and worst share of right suggestions over tasks and sweep lengths."""
    rows = [row for task in tasks.values() if task["chosen on"] is chosen_on for row in task["sweeps"].values()]
    rules = [rule for rule, said in rows[0].items() if isinstance(said, dict)]
    shares = {rule: [row[rule]["right"] for row in rows] for rule in rules}
    return {rule: {"mean": float(np.mean(share)), "worst": min(share)} for rule, share in shares.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40, help="sweeps for each toy task, a multiple of 5")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "range_test.json")
    parser.add_argument("--no-digits", action="store_true", help="leave the engine out")
    options = parser.parse_args()
    started, tasks = time.monotonic(), {}
    for toy in (*TOYS, *drawn(2026, 7, chosen_on=True), *drawn(2027, 12, chosen_on=False)):
        tasks[toy.name] = bench_toy(toy, options.seeds)
        show(toy.name, tasks[toy.name])
    if not options.no_digits:
        tasks["digits"] = bench_digits(min(20, options.seeds))
        show("digits", tasks["digits"])
    summaries = {"chosen on": summary(tasks, True), "not looked at before": summary(tasks, False)}
    for name, rules in summaries.items():
        print(f"\n{name}:")
        for rule, share in rules.items():
            print(f"    {rule:42s}right {100 * share['mean']:3.0f} %, on the worst task {100 * share['worst']:3.0f} %")
    seconds = round(time.monotonic() - started, 1)
    options.out.parent.mkdir(exist_ok=True)
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, NumPy {np.__version__}"
    result = {"machine": machine, "seeds": options.seeds, "tolerance": TOLERANCE, "seconds": seconds}
    result |= {"summary": summaries, "tasks": tasks}
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n{seconds} s; {options.out}")


if __name__ == "__main__":
    main()
