"""Training functions for tests of `lrpolicy.tune`: what they report is decided by the schedule and the seed."""

from __future__ import annotations

import math
from typing import Any

from support.fake_engine import accuracy


def pretend(schedule: Any, trial: Any) -> None:
    """Reports twice; a mean rate above 0.5 diverges."""
    rates = schedule.rates(range(trial.max_iter))
    for iteration in (trial.max_iter // 2, trial.max_iter):
        trial.report(iteration, math.inf if rates.max() > 0.5 else 1.0, split="train")
        top1 = accuracy(float(rates.mean()), trial.seed) - (0.1 if iteration < trial.max_iter else 0.0)
        trial.report(iteration, 1.0 - top1, top1)
    trial.report(trial.max_iter, 1.0, top1 - 0.01, split="test")
