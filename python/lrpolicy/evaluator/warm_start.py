"""The evaluator's first question (LRBench paper, section IV): what does the database know of a task like this?

Two things spare work: the range of good rates, and which functions led the ranking of a task like this one.
"""

from __future__ import annotations

from dataclasses import dataclass

from lrpolicy.database import Database, Setting
from lrpolicy.evaluator.evaluator import iterations_per_epoch
from lrpolicy.evaluator.plan import Plan, scan_iterations
from lrpolicy.goals import Goal
from lrpolicy.range_test.fix_scan import LEAST_SHARE
from lrpolicy.recommend import Basis, StoredRange, distance_text, final_tables, stored_range
from lrpolicy.records import Protocol, Task

# A range decides every candidate, so it is taken from nearer tasks than a recommendation is.
NEAR_ENOUGH = 1.0
# With the fixed rate, which everything is compared with: the finals, the dearest stage, then take 5/13 of their cost.
_LEADERS = 4


@dataclass(frozen=True)
class Leaders:
    """The functions that a warm start tries, `fixed` among them, and what told so."""

    functions: tuple[str, ...]
    basis: Basis

    def __str__(self) -> str:
        task = f"{self.basis.task.network.name} on {self.basis.task.dataset.name}"
        return f"{task}, {distance_text(self.basis.parts)}"


def known_range(
    database: Database,
    task: Task,
    setting: Setting,
    plan: Plan,
    protocol: Protocol = Protocol.VALIDATION,
    limit: float = NEAR_ENOUGH,
) -> StoredRange | None:
    """The range that is stored for the nearest task, carried over to the setting; None beyond the limit.

    A scan serves that was measured under the same protocol, and not much shorter than the plan's own would be.
    """
    own = scan_iterations(plan, iterations_per_epoch(task, setting))
    found = stored_range(database, task, setting, trial_iter=own, protocol=protocol)
    return found if found is not None and found.distance <= limit else None


def known_leaders(database: Database, task: Task, setting: Setting, goal: Goal) -> Leaders | None:
    """`fixed` and the four functions that led the nearest ranking under the goal of trainings not much shorter.

    None where no near task has a ranking of more functions than these: nothing could be left out with a reason.
    """
    for basis, policies in final_tables(database, task, setting, goal):
        if basis.distance > NEAR_ENOUGH:
            return None
        if basis.setting.max_iter < LEAST_SHARE * setting.max_iter:
            continue
        ranked = list(dict.fromkeys(policy.name for policy in policies))
        others = [name for name in ranked if name != "fixed"]
        if len(others) > _LEADERS:
            return Leaders(("fixed", *others[:_LEADERS]), basis)
    return None


def origin_text(found: StoredRange) -> str:
    """Where a range comes from, in words."""
    task = f"{found.task.network.name} on {found.task.dataset.name}"
    return f"{found.origin}: " + "; ".join([f"{task}, {distance_text(found.parts)}", *found.assumed])
