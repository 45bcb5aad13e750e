"""Writes policy_known_answers.tsv: the formulas of the LRBench paper's Table I, as printed, in 400 bits.

Nothing here is shared with the package: integer arithmetic for the counts, mpmath for the rest. Columns: lr_policy,
parameters, iteration, the double nearest to the exact rate, and exact minus nearest, so that a reader can tell an error
far below one unit in the last place. `python make_policy_known_answers.py` rewrites the file beside it.
"""

from __future__ import annotations

from pathlib import Path

import mpmath
from mpmath import mpf

TARGET = Path(__file__).with_name("policy_known_answers.tsv")
BITS = 400
NEGLIGIBLE = mpf(10) ** -60  # what is left of a sine where its argument is a multiple of pi

# The last case of each policy has numbers that a float32 field holds exactly: a solver prototxt has the same rates.
CASES: dict[str, list[dict[str, float | int | tuple[int, ...]]]] = {
    "fixed": [{"base_lr": 0.01}, {"base_lr": 0.0078125}],
    "step": [
        {"base_lr": 0.01, "gamma": 0.85, "stepsize": 5000},
        {"base_lr": 0.1, "gamma": 0.99994, "stepsize": 1},
        {"base_lr": 0.1, "min_lr": 0.001, "gamma": 0.1, "stepsize": 100},
        {"base_lr": 0.125, "gamma": 0.8125, "stepsize": 300},
    ],
    "multistep": [
        {"base_lr": 0.1, "gamma": 0.1, "stepvalue": (32000, 48000)},
        {"base_lr": 0.05, "gamma": 0.9, "stepvalue": (100,)},
        {"base_lr": 0.125, "gamma": 0.8125, "stepvalue": (320, 480)},
    ],
    "exp": [
        {"base_lr": 0.01, "gamma": 0.99994},
        {"base_lr": 0.3, "gamma": 0.9999999999},
        {"base_lr": 0.125, "gamma": 0.9990234375},
    ],
    "inv": [
        {"base_lr": 0.01, "gamma": 0.0001, "power": 0.75},
        {"base_lr": 0.1, "gamma": 3.0, "power": 2.5},
        {"base_lr": 0.125, "gamma": 0.0009765625, "power": 0.75},
    ],
    "poly": [
        {"base_lr": 0.001, "power": 1.2, "max_iter": 10000},
        {"base_lr": 0.1, "power": 0.5, "max_iter": 77},
        {"base_lr": 0.125, "power": 1.75, "max_iter": 1000},
    ],
    "tri": [
        {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 2000},
        {"base_lr": 0.06, "max_lr": 0.0, "stepsize": 7},
        {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 2000, "start": 500},
        {"base_lr": 0.0078125, "max_lr": 0.046875, "stepsize": 700},
    ],
    "tri2": [
        {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 2000},
        {"base_lr": 0.0, "max_lr": 0.3, "stepsize": 333333333},
        {"base_lr": 0.0078125, "max_lr": 0.046875, "stepsize": 700},
    ],
    "triexp": [
        {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 2000, "gamma": 0.99994},
        {"base_lr": 0.0, "max_lr": 0.9, "stepsize": 12345, "gamma": 0.9999999},
        {"base_lr": 0.0078125, "max_lr": 0.046875, "stepsize": 700, "gamma": 0.9990234375},
    ],
    "sin": [
        {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 2000},
        {"base_lr": 0.0, "max_lr": 0.1, "stepsize": 999999999989},
        {"base_lr": 0.0078125, "max_lr": 0.046875, "stepsize": 700},
    ],
    "sin2": [
        {"base_lr": 0.06, "max_lr": 0.01, "stepsize": 2000},
        {"base_lr": 0.0, "max_lr": 0.3, "stepsize": 333333333},
        {"base_lr": 0.0078125, "max_lr": 0.046875, "stepsize": 700},
    ],
    "sinexp": [
        {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 2000, "gamma": 0.99994},
        {"base_lr": 0.0, "max_lr": 0.9, "stepsize": 12345, "gamma": 0.9999999},
        {"base_lr": 0.0078125, "max_lr": 0.046875, "stepsize": 700, "gamma": 0.9990234375},
    ],
    "cos": [
        {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 2000},
        {"base_lr": 0.0, "max_lr": 0.1, "stepsize": 1000003},
        {"base_lr": 0.0078125, "max_lr": 0.046875, "stepsize": 700},
    ],
    "sigmoid": [
        {"base_lr": 0.01, "gamma": 0.001, "stepsize": 5000},
        {"base_lr": 0.125, "gamma": 0.0078125, "stepsize": 700},
    ],
}


def paper_rate(name: str, parameters: dict[str, float | int | tuple[int, ...]], t: int) -> mpf:
    """|k0 - k1| * g(t) + min(k0, k1), with base_lr before `start` and min_lr as the floor."""
    t -= parameters.get("start", 0)
    k0, k1 = mpf(parameters["base_lr"]), mpf(parameters.get("max_lr", 0))
    if t < 0:
        return k0
    rate = abs(k0 - k1) * paper_g(name, parameters, t) + min(k0, k1)
    return max(rate, mpf(parameters.get("min_lr", 0)))


def paper_g(name: str, parameters: dict[str, float | int | tuple[int, ...]], t: int) -> mpf:
    """g(t) of Table I; poly stops at max_iter."""
    step = parameters.get("stepsize") or parameters.get("max_iter") or 1
    gamma, power = mpf(parameters.get("gamma", 1)), mpf(parameters.get("power", 0))
    wave = snap(abs(mpmath.sin(mpmath.pi * t / (2 * step))))
    triangle = 2 / mpmath.pi * mpmath.asin(wave)
    cycles = t // (2 * step)
    formulas = {
        "fixed": lambda: mpf(1),
        "step": lambda: gamma ** (t // step),
        "multistep": lambda: gamma ** sum(boundary <= t for boundary in parameters["stepvalue"]),
        "exp": lambda: gamma**t,
        "inv": lambda: (1 + t * gamma) ** -power,
        "poly": lambda: (1 - mpf(min(t, step)) / step) ** power,
        "tri": lambda: triangle,
        "tri2": lambda: triangle / mpf(2) ** cycles,
        "triexp": lambda: triangle * gamma**t,
        "sin": lambda: wave,
        "sin2": lambda: wave / mpf(2) ** cycles,
        "sinexp": lambda: wave * gamma**t,
        "cos": lambda: snap((1 + mpmath.cos(mpmath.pi * 2 * t / step)) / 2),
        "sigmoid": lambda: 1 / (1 + mpmath.exp(-gamma * (t - step))),
    }
    return formulas[name]()


def snap(x: mpf) -> mpf:
    """Exactly zero where the argument was a multiple of pi, whose last bits mpmath has to round."""
    return mpf(0) if abs(x) < NEGLIGIBLE else x


def interesting_counts(parameters: dict[str, float | int | tuple[int, ...]]) -> list[int]:
    """First, before, at and after each boundary, inside, last, past the end, 1e9 and 1e12."""
    boundaries = parameters.get("stepvalue") or (parameters.get("stepsize") or parameters.get("max_iter") or 10000,)
    counts = {0, 1, 2, 10**9, 10**12}
    for length in (*boundaries, 2 * boundaries[-1], 4 * boundaries[-1]):
        counts |= {length - 1, length, length + 1, length // 2, length // 3}
    counts |= {count + parameters.get("start", 0) for count in counts}
    return sorted(count for count in counts if 0 <= count <= 10**12)


def table() -> str:
    """The file's whole text."""
    lines = ["lr_policy\tparameters\titeration\tnearest\texact_minus_nearest"]
    with mpmath.workprec(BITS):
        for name, parameter_sets in CASES.items():
            for parameters in parameter_sets:
                text = " ".join(f"{key}={as_text(value)}" for key, value in parameters.items())
                for t in interesting_counts(parameters):
                    exact = paper_rate(name, parameters, t)
                    if exact != 0 and exact < mpf(10) ** -290:
                        continue  # too near the end of the doubles' range to speak of a relative error
                    nearest = float(exact)
                    lines.append(f"{name}\t{text}\t{t}\t{nearest!r}\t{float(exact - mpf(nearest))!r}")
    return "\n".join(lines) + "\n"


def as_text(value: float | int | tuple[int, ...]) -> str:
    """A value as the file holds it: lists with commas."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else repr(value)


if __name__ == "__main__":
    TARGET.write_text(table(), encoding="utf-8")
