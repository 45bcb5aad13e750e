"""lrpolicy finds, compares and runs learning-rate policies.

>>> from lrpolicy import Policy
>>> Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=2000).rate(2000)
0.06
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # typing's own; loading it would take as long as all the rest
if TYPE_CHECKING:
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
_HOMES = {"PARAMETERS": "policies", "POLICIES": "policies", "Policy": "policies", "tune": "tuning"}


def __getattr__(name: str) -> Any:
    """What the package offers is loaded when it is asked for, so that the command line can hear signals before."""
    if name in ("errors", "policies"):
        return importlib.import_module(f"lrpolicy.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"lrpolicy.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
