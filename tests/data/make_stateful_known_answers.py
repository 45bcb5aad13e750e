"""Writes the answer sheets of the state machines, from the papers and with nothing of the package.

sequence_known_answers.tsv (mpmath), aslr_walk_known_answers.tsv (decimal), aslr_draw_known_answers.tsv (fractions),
tlr_known_answers.tsv (Python's doubles in the documented order of operations, so that readers compare bits).
`python make_stateful_known_answers.py` rewrites the files beside it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import mpmath

HERE = Path(__file__).parent
M32 = 2**32 - 1


def sequences() -> Iterator[str]:
    """r_n = q(n) * r_0 of the Yang-Huang report, where training begins with r_0."""
    yield "sequence\tbase_lr\tadvances\tnearest"
    counts = (0, 1, 2, 3, 8, 9, 10, 11, 19, 20, 21, 50, 99, 100, 101, 1000, 5000)
    for name in ("seq1", "seq2", "seq3", "seq4"):
        for base_lr in (0.01, 0.3):
            yield from (f"{name}\t{base_lr!r}\t{k}\t{float(mpmath.mpf(base_lr) * q(name, k))!r}" for k in counts)


def q(name: str, advances: int) -> mpmath.mpf:
    """The factor after so many advances: the lists of seq1 and seq2 begin with n = 2."""
    if advances == 0:
        return mpmath.mpf(1)
    n = advances + 1 if name in {"seq1", "seq2"} else advances
    formulas = {
        "seq1": lambda: mpmath.mpf(1) / n,
        "seq2": lambda: 1 / mpmath.sqrt(n),
        "seq3": lambda: (mpmath.mpf(9) / 10) ** n,
        "seq4": lambda: (1 - mpmath.mpf((n - 1) % 10) / 10) / ((n - 1) // 10 + 1),
    }
    return formulas[name]()


def aslr_walks() -> Iterator[str]:
    """Algorithm 1 in decimal arithmetic; min_cost begins without a value, and what is not finite is no improvement."""
    yield "base_lr\tepoch\tcost\tcenter\tsearch_direction\tsearch_range\tsearch_steps"
    generator = random.Random(20)
    noisy = [round(2 / (1 + 0.2 * epoch) + generator.gauss(0, 0.15), 3) for epoch in range(60)]
    spoiled = [math.nan, math.inf, 0.7, math.nan, 0.7, 0.9, -math.inf, 0.6, 0.61, 0.62, math.nan, 0.63]
    for base_lr, costs in (
        ("0.1", [1.0, *[2.0] * 500]),
        ("0.3", noisy),
        ("0.01", noisy),
        ("0.0001", spoiled),
        ("9", [1.0] + [1.5] * 40),
        ("0.1", [2.0, 1.0, 1.0, 1.0]),
    ):
        for epoch, (cost, *state) in enumerate(aslr_walk(Decimal(base_lr), costs), 1):
            yield "\t".join([base_lr, str(epoch), repr(cost), *map(str, state)])


def aslr_walk(center: Decimal, costs: Sequence[float]) -> Iterator[tuple[float, Decimal, int, int, int]]:
    """The state after each epoch: cost, c, search_direction, search_range, search_steps."""
    min_cost, direction, search_range, steps = None, 1, 1, 0
    for cost in costs:
        if math.isfinite(cost) and (min_cost is None or cost <= min_cost):
            min_cost, direction, search_range, steps = cost, 1, 1, 0
        else:
            s = Decimal(1).scaleb(center.adjusted())
            center = center * Decimal("0.9") if center + direction * s == 0 else center + direction * s
            steps += 1
            if steps == search_range:
                search_range, steps, direction = search_range + 1, 0, -direction
        center = center.normalize()
        yield cost, center, direction, search_range, steps


def philox(counter: Sequence[int], key: Sequence[int]) -> tuple[int, ...]:
    """Philox4x32-10, from its publication."""
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(10):
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (right >> 32) ^ b ^ k0, right & M32, (left >> 32) ^ d ^ k1, left & M32
        k0, k1 = (k0 + 0x9E3779B9) & M32, (k1 + 0xBB67AE85) & M32
    return a, b, c, d


def aslr_draws() -> Iterator[str]:
    """U(c - s/2, c + s/2): word number tensor mod 4 of block tensor // 4, plus one half, in units of 2^-32."""
    yield "base_lr\tseed\titeration\ttensor\trate"
    for text in ("0.1", "0.05", "9e-07", "3"):
        center = Decimal(text)
        width = Fraction(10) ** center.adjusted()
        for seed in (0, 1, 2**64 - 1):
            for iteration in (0, 1, 2**32 + 5, 2**50):
                for tensor in (0, 1, 2, 3, 4, 160):
                    words = philox((tensor // 4, iteration & M32, iteration >> 32, 0), (seed & M32, seed >> 32))
                    u = Fraction(2 * words[tensor % 4] + 1, 2**33)
                    rate = Fraction(center) + (u - Fraction(1, 2)) * width
                    yield f"{text}\t{seed}\t{iteration}\t{tensor}\t{float(rate)!r}"


def tlr_traces() -> Iterator[str]:
    """Random dot products through every variant, source and granularity."""
    yield "variant\tsource\tsettings\twindow\tupdates\tgg\tgp\trates\tevents"
    generator = random.Random(9)
    for variant, eta in (
        ("efficient", None),
        ("newton", None),
        ("naive", 0.01),
        ("fixed_eta", 0.02),
        ("hypergradient", 0.003),
    ):
        for source in ("gradient", "displacement"):
            for per_tensor in (False, True):
                yield from tlr_trace(generator, variant, source, eta, per_tensor)
    for source in ("gradient", "displacement"):
        for per_tensor in (False, True):
            yield from tlr_trace(generator, "efficient", source, None, per_tensor, 0.095)


def tlr_trace(
    generator: random.Random, variant: str, source: str, eta: float | None, per_tensor: bool, below: float = 0.0
) -> Iterator[str]:
    """One case of eleven windows; the fifth has a dot product that is not a number."""
    multipliers = [1.0, 2.0, 0.0, 0.5]
    floor = 0.001 if eta is not None else 2.0**-1022
    settings = (
        f"base_lr=0.1 bound=0.25 min_lr={0.001 if eta is not None else 0.0} max_lr=0.4 per_tensor={int(per_tensor)}"
    )
    settings += f" eta={eta}" if eta is not None else ""
    settings += f" restart_below={below}" if below else ""
    alphas = [TlrOracle(variant, source, eta, floor, 0.4, below) for _ in (multipliers if per_tensor else [0])]
    for window in range(11):
        updates = generator.choice((1, 1, 3))
        gg = [generator.lognormvariate(0, 1) * updates**2 for _ in multipliers]
        gp = [generator.uniform(-1, 1) * x for x in gg]
        gp[1] = math.nan if window == 4 else gp[1]
        scale = [m if source == "gradient" else 1 / m if m else 0.0 for m in multipliers]
        ggs = [g * m if source == "gradient" else g / m for g, m in zip(gg, multipliers, strict=True) if m]
        gps = [g * m if source == "gradient" else g / m for g, m in zip(gp, multipliers, strict=True) if m]
        if window == 0 and variant != "naive":
            gps = [0.0 for _ in gps]
        if per_tensor:
            learning = [alpha for alpha, m in zip(alphas, scale, strict=True) if m]
            for alpha, n, d in zip(learning, ggs, gps, strict=True):
                alpha.update(n, d, updates)
        else:
            alphas[0].update(sum_in_order(ggs), sum_in_order(gps), updates)
        columns = [gg, gp, [alpha.rate for alpha in alphas], [alpha.events for alpha in alphas]]
        lists = "\t".join(",".join(map(repr, column)) for column in columns)
        yield f"{variant}\t{source}\t{settings}\t{window}\t{updates}\t{lists}"


def sum_in_order(values: Sequence[float]) -> float:
    """Plain double additions (Python's own sum compensates)."""
    total = 0.0
    for value in values:
        total += value
    return total


class TlrOracle:
    """One rate, with the papers' formulas in doubles."""

    def __init__(self, variant: str, source: str, eta: float | None, least: float, most: float, below: float) -> None:
        self.variant, self.source, self.eta = variant, source, eta
        self.least, self.most, self.below = least, most, below
        self.rate, self.scale, self.m, self.first, self.events = 0.1, 0.0, 0.0, 0.0, 0

    def update(self, gg: float, gp: float, updates: int) -> None:
        """Algorithm 2, its relatives, and the limits."""
        scale = updates * self.rate if self.source == "displacement" else float(updates)
        before = scale if self.variant == "naive" else self.scale
        n = gg / scale / scale
        d = gp / scale / before if before else 0.0
        self.scale, self.events = scale, 0
        if not (math.isfinite(n) and math.isfinite(d)):
            self.events = 1
        else:
            wanted = self.step(n, d)
            self.rate = min(max(wanted, self.least), self.most)
            self.events = 2 if self.rate != wanted else 0
            if self.rate < self.below:
                self.rate, self.events = 0.1, 8
        self.m = n if math.isfinite(n) else 0.0

    def step(self, n: float, d: float) -> float:
        """The rate before limits, bound 1/4."""
        if self.eta is not None:
            return self.rate + self.eta * d
        length = n if self.variant == "efficient" else self.m
        if d == 0 or length == 0:
            return self.rate
        curvature = 4 * (n - d) if self.variant == "efficient" else self.m - d
        if curvature <= 0:
            return self.rate * 1.25
        if self.variant == "efficient":
            return self.rate * (1 + min(d / curvature, 0.25))
        return self.rate * min(self.m / curvature, 1.25)


if __name__ == "__main__":
    with mpmath.workdps(60):
        for name, lines in (
            ("sequence", sequences()),
            ("aslr_walk", aslr_walks()),
            ("aslr_draw", aslr_draws()),
            ("tlr", tlr_traces()),
        ):
            (HERE / f"{name}_known_answers.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
