"""lrpolicy finds, compares and runs learning-rate policies.

>>> from lrpolicy import Policy
>>> Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=2000).rate(2000)
0.06
"""

from __future__ import annotations

import importlib
from typing import Any

from lrpolicy.errors import InputError, InterruptedRun, LrpolicyError, NotAvailableError, RunError
from lrpolicy.policies import PARAMETERS, POLICIES, Policy

__version__ = "0.1.0"
__all__ = [
    "PARAMETERS",
    "POLICIES",
    "InputError",
    "InterruptedRun",
    "LrpolicyError",
    "NotAvailableError",
    "Policy",
    "RunError",
    "tune",
]


def __getattr__(name: str) -> Any:
    """`lrpolicy.tune` is loaded when it is asked for: it needs the database and more."""
    if name == "tune":
        return importlib.import_module("lrpolicy.tuning").tune
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
