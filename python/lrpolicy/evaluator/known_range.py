"""The evaluator's first question (LRBench paper, section IV): does the database know a range for a task like this?"""

from __future__ import annotations

from lrpolicy.database import Database, Setting
from lrpolicy.recommend import StoredRange, distance_text, stored_range
from lrpolicy.records import Task

# A range decides every candidate, so it is taken from nearer tasks than a recommendation is.
NEAR_ENOUGH = 1.0


def known_range(database: Database, task: Task, setting: Setting, limit: float = NEAR_ENOUGH) -> StoredRange | None:
    """The range that is stored for the nearest task, carried over to the setting; None beyond the limit."""
    found = stored_range(database, task, setting)
    return found if found is not None and found.distance <= limit else None


def origin_text(found: StoredRange) -> str:
    """Where a range comes from, in words."""
    task = f"{found.task.network.name} on {found.task.dataset.name}"
    return f"{found.source}: " + "; ".join([f"{task}, {distance_text(found.parts)}", *found.assumed])
