"""How much a tuning run may cost: iterations, epochs or minutes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lrpolicy.errors import InputError, did_you_mean

UNITS = ("iterations", "epochs", "minutes")


@dataclass(frozen=True)
class Speed:
    """What turns a budget into iterations: those of an epoch, and those that all workers do in a second."""

    epoch: int
    per_second: float = math.nan


_ITERATIONS_OF_ONE: Mapping[str, Callable[[Speed], float]] = MappingProxyType(
    {
        "iterations": lambda speed: 1.0,
        "epochs": lambda speed: speed.epoch,
        "minutes": lambda speed: 60.0 * speed.per_second,
    }
)


@dataclass(frozen=True)
class Budget:
    """An amount of one of `UNITS`. Raises InputError for an amount that is not positive, or another unit."""

    amount: float
    unit: str = "iterations"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise InputError(f'a budget has no unit "{self.unit}"', remedy=did_you_mean(self.unit, UNITS))
        if not 0 < self.amount < math.inf:
            remedy = 'write for example "20000", "30 epochs" or "10 minutes"'
            raise InputError("a budget is a number above 0", got=f"{self.amount:.12g}", remedy=remedy)

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read "20000", "30 epochs" or "10 min": a unit may be shortened. Raises InputError for anything else."""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text, re.ASCII)
        if match is None:
            remedy = 'write for example "20000", "30 epochs" or "10 minutes"'
            raise InputError("a budget is a number of iterations, epochs or minutes", got=f'"{text}"', remedy=remedy)
        unit = match[2].lower()
        return cls(float(match[1]), next((known for known in UNITS if known.startswith(unit)), unit))

    def iterations(self, speed: Speed) -> int:
        """How many iterations it pays for; never more."""
        return math.floor(self.amount * _ITERATIONS_OF_ONE[self.unit](speed))

    @property
    def needs_speed(self) -> bool:
        """Whether it is one of time, which only measured speed turns into iterations."""
        return self.unit == "minutes"

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit.removesuffix('s') if self.amount == 1 else self.unit}"
