"""The search space: which policies are worth a trial, given the range of good fixed rates.

The LRBench paper's method (section V): decaying functions start inside the range that FIX tolerates; cyclic ones swing
between a fraction of its lower end and its upper end or a multiple of it; step sizes are multiples of the iterations
of an epoch; gamma is chosen so that the last rate stays useful.

The adaptive policies have candidates too, but no place among the paper's functions: they are tried where they are
named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.policies import ADAPTIVE_POLICIES, POLICIES, Policy, canonical_name
from lrpolicy.stateful import AdaptivePolicy, AnyPolicy

# Rates of the FIX scan, from large to small by factors of ten (LRBench paper, section V-A).
SCAN_RATES = (1.0, 0.1, 0.01, 0.001, 0.0001)

# Half-cycles in a training, the best first. Functions whose height falls need several to differ from those that do not.
_ONE_CYCLE = (2, 6, 4)
_SEVERAL_CYCLES = (4, 6, 10)

# TLR's updates of the rate in a training, at least where that has so many: 60 reach any rate from any other.
_WINDOWS = 60

# The ranges of cyclic functions in the order in which they are worth a trial: what FIX's upper end is multiplied by,
# what its lower end is divided by, and which of the numbers of half-cycles goes with it. A cycle that rises and falls
# stands higher rates than FIX does, often three times as high; ten times diverges on most tasks, so it comes last.
_CYCLES = (
    *((1, 1, 0), (3, 1, 0), (1, 10, 0), (3, 10, 0), (3, 10, 1), (1, 10, 1)),
    *((1, 100, 2), (3, 100, 2), (10, 1, 0), (10, 10, 0), (10, 10, 1), (10, 100, 2)),
)
# A height that falls all the time begins where others may not rise to, as a decay does: there three times comes first.
_FALLING_CYCLES = (_CYCLES[1], _CYCLES[0], *_CYCLES[2:])
# Who begins at the height, as cos does, has nothing that rises to it: there what FIX does not stand comes last.
_HIGH_START_CYCLES = tuple(sorted(_CYCLES, key=lambda cycle: cycle[0]))


@dataclass(frozen=True)
class RateRange:
    """Fixed rates that train well: from `low` to `high`, `best` among them. low <= best <= high, all > 0."""

    low: float
    best: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.best <= self.high < math.inf:
            raise InputError("a rate range needs 0 < low <= best <= high", got=f"{self.low}, {self.best}, {self.high}")

    @property
    def cycle(self) -> tuple[float, float]:
        """The ends of a cycle: the range's own, but where one rate alone is good a third of it and itself.

        The third is Smith's rule of thumb (Cyclical Learning Rates, section 3.3).
        """
        return (self.low if self.low < self.high else self.high / 3, self.high)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}, best {self.best:g}"


@dataclass(frozen=True)
class SearchSpace:
    """The candidates of each function for a training of `max_iter` iterations, `epoch` of them an epoch."""

    range: RateRange
    max_iter: int
    epoch: int

    def candidates(self, name: str, count: int | None = None) -> list[AnyPolicy]:
        """The policies of one function, the most promising first, at most `count` of them, no two equal.

        Raises InputError for a function that has no candidates.
        """
        unique = dict.fromkeys(self._listed(name))
        return list(islice(unique, count))

    def places(self, name: str, count: int | None = None) -> list[int]:
        """Where the policies of `candidates` stand in the function's list: the same place in a space of another length
        holds the same candidate, its steps and gammas fitted to that length.

        Raises InputError as `candidates`.
        """
        listed = self._listed(name)
        return [listed.index(policy) for policy in islice(dict.fromkeys(listed), count)]

    def candidate(self, name: str, place: int) -> AnyPolicy:
        """The policy at a place of the function's list (two places may hold equal ones in a short training)."""
        return self._listed(name)[place]

    def _listed(self, name: str) -> list[AnyPolicy]:
        if name not in _CANDIDATES:
            raise InputError(f'no candidates are known for policy "{name}"', remedy=did_you_mean(name, _CANDIDATES))
        return list(_CANDIDATES[name](self))

    def part(self, count: int) -> int:
        """The iterations of one of `count` equal parts: a multiple of the epoch where the parts still end in time."""
        whole = max(1, round(self.max_iter / count / self.epoch)) * self.epoch
        fits = abs(whole * count - self.max_iter) <= whole / 10
        return whole if fits else max(1, math.ceil(self.max_iter / count))

    def at(self, fractions: Sequence[float]) -> tuple[int, ...]:
        """The iterations at those fractions of the training, strictly increasing."""
        return tuple(sorted({max(1, round(fraction * self.max_iter)) for fraction in fractions}))

    def gamma(self, last: float) -> float:
        """The factor per iteration that leaves `last` of the rate after the whole training."""
        return rounded(last ** (1.0 / self.max_iter), 9)


def paper_functions() -> list[str]:
    """The 13 functions of the LRBench paper's Table I, in its order."""
    return [name for name in POLICIES if name in _CANDIDATES]


def adaptive_functions() -> list[str]:
    """The adaptive policies that have candidates, in the table's order."""
    return [name for name in ADAPTIVE_POLICIES if name in _CANDIDATES]


def functions_named(names: str | Iterable[str], *, adaptive: bool = True) -> list[str]:
    """The functions named: by name, `paper` for its 13, `adaptive` for those that observe the training, or `all`.

    `names` is a list or one text with commas; without `adaptive` only the paper's can be named. Raises InputError for
    an unknown name, and where there is none.
    """
    groups = {"paper": paper_functions()} | ({"adaptive": adaptive_functions()} if adaptive else {})
    groups["all"] = known = [name for group in groups.values() for name in group]
    functions = []
    for name in filter(None, map(str.strip, names.split(",") if isinstance(names, str) else names)):
        try:
            found = groups[name] if name in groups else [canonical_name(name)[0]]
        except InputError:
            found = []
        if not found or not set(found) <= set(known):
            raise InputError(f'"{name}" is no policy that can be tuned', remedy=did_you_mean(name, [*known, *groups]))
        functions += found
    if not functions:
        remedy = "name some as in inv,tri2,sin2, or say paper, adaptive or all"
        got = f'"{names}"' if isinstance(names, str) else names
        raise InputError("a tuning run needs at least one policy", got=got, remedy=remedy)
    return list(dict.fromkeys(functions))


def observes_tests(name: str) -> bool:
    """Whether a policy waits for the loss of test passes."""
    return name in ADAPTIVE_POLICIES and ADAPTIVE_POLICIES[name].feedback == "test loss"


def candidate_count(name: str) -> int:
    """How many candidates a function has in a training that is long enough to tell them apart."""
    return len(SearchSpace(RateRange(0.001, 0.01, 0.1), 1_000_000, 1000).candidates(name))


def rounded(value: float, digits: int = 4) -> float:
    """The value with so many significant digits: rates that a person can read and type."""
    return float(f"{value:.{digits}g}")


def _fixed(space: SearchSpace) -> Iterator[AnyPolicy]:
    found = space.range
    for rate in (found.best, found.high, math.sqrt(found.low * found.best), found.low):
        yield Policy("fixed", base_lr=rounded(rate))


def _decaying(space: SearchSpace, name: str, *variants: Mapping[str, Any]) -> Iterator[AnyPolicy]:
    """Each way to decay from each first rate. A decaying function may begin where FIX could not stay."""
    found = space.range
    for starts in ((found.high, found.best), (math.sqrt(found.low * found.high),)):
        for variant in variants:
            for start in starts:
                yield Policy(name, base_lr=rounded(start), **variant)


def _step(space: SearchSpace) -> Iterator[AnyPolicy]:
    # Ten parts and 0.6 or four and 0.32 end near a hundredth of the first rate, as Table VI's best setting does.
    ten = {"gamma": 0.6, "stepsize": space.part(10)}
    four = {"gamma": 0.32, "stepsize": space.part(4)}
    return _decaying(space, "step", four, ten)


def _multistep(space: SearchSpace) -> Iterator[AnyPolicy]:
    spread = {"gamma": 0.32, "stepvalue": space.at((3 / 7, 5 / 7, 6 / 7, 65 / 70))}  # Table VI's best
    late = {"gamma": 0.1, "stepvalue": space.at((60 / 70, 65 / 70))}  # Caffe's default for CNN3
    return _decaying(space, "multistep", spread, late)


def _exp(space: SearchSpace) -> Iterator[AnyPolicy]:
    return _decaying(space, "exp", {"gamma": space.gamma(0.1)}, {"gamma": space.gamma(0.01)})


def _inv(space: SearchSpace) -> Iterator[AnyPolicy]:
    # Caffe's LeNet has gamma * max_iter = 1 and power 0.75.
    caffe, strong = ({"gamma": rounded(decays / space.max_iter), "power": 0.75} for decays in (1.0, 10.0))
    return _decaying(space, "inv", caffe, strong)


def _poly(space: SearchSpace) -> Iterator[AnyPolicy]:
    paper, square = ({"power": power, "max_iter": space.max_iter} for power in (1.2, 2.0))
    return _decaying(space, "poly", paper, square)


def _ranges(
    space: SearchSpace, halves: Sequence[int], cycles: Sequence[tuple[int, int, int]] = _CYCLES
) -> Iterator[tuple[int, float, float, int]]:
    """(how many times FIX's upper end, low, high, half-cycles in the training) of the cyclic functions."""
    low, high = space.range.cycle
    for multiple, divisor, place in cycles:
        yield multiple, rounded(low / divisor), rounded(multiple * high), halves[place]


def _cyclic(name: str, halves: Sequence[int]) -> Callable[[SearchSpace], Iterator[AnyPolicy]]:
    """Candidates that end a cycle with the training."""

    def candidates(space: SearchSpace) -> Iterator[AnyPolicy]:
        for _, low, high, count in _ranges(space, halves):
            yield Policy(name, base_lr=low, max_lr=high, stepsize=space.part(count))

    return candidates


def _falling(
    name: str, halves: Sequence[int], slow: float, fast: float
) -> Callable[[SearchSpace], Iterator[AnyPolicy]]:
    """Candidates that end a cycle with the training, and fall to the shares `slow` or `fast` of their height by then.

    A higher cycle falls faster: every range comes with the share that fits it first, then every one with the other.
    """

    def candidates(space: SearchSpace) -> Iterator[AnyPolicy]:
        for of_low, of_high in ((slow, fast), (fast, slow)):
            for multiple, low, high, count in _ranges(space, halves, _FALLING_CYCLES):
                gamma = space.gamma(of_low if multiple == 1 else of_high)
                yield Policy(name, base_lr=low, max_lr=high, stepsize=space.part(count), gamma=gamma)

    return candidates


def _cos(space: SearchSpace) -> Iterator[AnyPolicy]:
    # Table I's COS has period l and starts at the upper end: it ends low after an odd number of half-periods.
    for _, low, high, count in _ranges(space, (1, 5, 3), _HIGH_START_CYCLES):
        yield Policy("cos", base_lr=low, max_lr=high, stepsize=2 * space.part(count))


def _tlr(space: SearchSpace) -> Iterator[AnyPolicy]:
    # It should find its rate from anywhere: so from the best one and from far below, for all tensors and for each.
    # The paper's third of an epoch, or less where the training would have but a few windows.
    window = space.max_iter / _WINDOWS / space.epoch
    own: dict[str, Any] = {"epoch": space.epoch} | ({"window": rounded(window)} if window < 1 / 3 else {})
    for source in ("gradient", "displacement"):
        for start in (space.range.best, space.range.low):
            for rates in ({}, {"per_tensor": True}):
                yield AdaptivePolicy("tlr", base_lr=rounded(start), source=source, **rates, **own)


def _aslr(space: SearchSpace) -> Iterator[AnyPolicy]:
    for start in _starts(space):
        yield AdaptivePolicy("aslr", base_lr=rounded(start, 1))


def _sequence(name: str) -> Callable[[SearchSpace], Iterator[AnyPolicy]]:
    """Candidates of a sequence: each strategy from each first rate."""

    def candidates(space: SearchSpace) -> Iterator[AnyPolicy]:
        for start in _starts(space):
            for strategy in ("by_epoch", "by_oscillate", "by_cutoff"):
                yield AdaptivePolicy(name, base_lr=rounded(start), strategy=strategy)

    return candidates


def _plateau(space: SearchSpace) -> Iterator[AnyPolicy]:
    # As often as the candidates of multistep fall, after a twentieth and a tenth of the training without a new minimum.
    falls = ((0.32, 4 * (space.part(20),)), (0.1, 2 * (space.part(10),)))
    for start in _starts(space):
        for gamma, winsize in falls:
            yield AdaptivePolicy("plateau", base_lr=rounded(start), gamma=gamma, plateau_winsize=winsize)


def _starts(space: SearchSpace) -> tuple[float, ...]:
    found = space.range
    return found.high, found.best, math.sqrt(found.low * found.high)


_CANDIDATES: dict[str, Callable[[SearchSpace], Iterator[AnyPolicy]]] = {
    "fixed": _fixed,
    "step": _step,
    "multistep": _multistep,
    "exp": _exp,
    "inv": _inv,
    "poly": _poly,
    "tri": _cyclic("tri", _ONE_CYCLE),
    "tri2": _cyclic("tri2", _SEVERAL_CYCLES),
    "triexp": _falling("triexp", _SEVERAL_CYCLES, 0.3, 0.1),
    "sin": _cyclic("sin", _ONE_CYCLE),
    "sin2": _cyclic("sin2", _SEVERAL_CYCLES),
    "sinexp": _falling("sinexp", _SEVERAL_CYCLES, 0.3, 0.1),
    "cos": _cos,
    "tlr": _tlr,
    "aslr": _aslr,
    **{name: _sequence(name) for name in ("seq1", "seq2", "seq3", "seq4")},
    "plateau": _plateau,
}
