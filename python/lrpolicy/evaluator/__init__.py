"""The LR policy evaluator (LRBench paper, section IV): finds the range, tries candidates, measures the best again.

Three stages, each a set of independent trials. *range*: short trials with fixed rates find where training works.
*search*: candidates of every function, one seed each, shrunk to a few short rungs (`halving`, or what Optuna asks for:
`optuna_search`) or in full (the grid).
*final*: the best candidate of each function with fresh seeds, so that what selected a policy is not what ranks it.
A budget is divided over them (`plan`). Whatever happens is stored before anyone hears of it (`stages`).
"""

from __future__ import annotations

from lrpolicy.evaluator.budget import Budget
from lrpolicy.evaluator.evaluator import Evaluator, Planned, Step, iterations_per_epoch, setting_of
from lrpolicy.evaluator.halving import NotPromoted
from lrpolicy.evaluator.plan import SEARCHES, Layout, Plan, Rung, expected
from lrpolicy.evaluator.stages import StageStarted
from lrpolicy.evaluator.warm_start import Leaders, known_leaders, known_range, origin_text

__all__ = [
    "SEARCHES",
    "Budget",
    "Evaluator",
    "Layout",
    "Leaders",
    "NotPromoted",
    "Plan",
    "Planned",
    "Rung",
    "StageStarted",
    "Step",
    "expected",
    "iterations_per_epoch",
    "known_leaders",
    "known_range",
    "origin_text",
    "setting_of",
]
