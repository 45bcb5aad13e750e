"""Single numbers computed as Caffe computes them: in the type of the net's weights, Caffe's Dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Scalars:
    """Arithmetic that rounds its operands and its result to one type, float32 or float64."""

    round: type[np.floating[Any]]

    @classmethod
    def of(cls, dtype: torch.dtype) -> Scalars:
        """That of PyTorch's float32 or float64."""
        return cls(np.float64 if dtype == torch.float64 else np.float32)

    def product(self, left: float, right: float) -> float:
        """left * right."""
        return float(self.round(left) * self.round(right))

    def complement(self, fraction: float) -> float:
        """1 - fraction."""
        return float(self.round(1) - self.round(fraction))

    def inverse(self, count: int) -> float:
        """1 / count, with which Caffe multiplies what it has added up."""
        return float(self.round(1) / self.round(count))


FLOAT32 = Scalars(np.float32)
