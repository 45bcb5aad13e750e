"""A range test's result as the database keeps it."""

from __future__ import annotations

from lrpolicy.database import Setting
from lrpolicy.database.stored import StoredRangeTest, Uncertain
from lrpolicy.range_test.bootstrap import Estimate
from lrpolicy.range_test.confirmation import Confirmation
from lrpolicy.range_test.result import RangeTestResult


def stored_result(result: RangeTestResult, confirmation: Confirmation | None, setting: Setting) -> StoredRangeTest:
    """The interval, the suggestion and their uncertainty; `setting.max_iter` is the length of one training."""
    return StoredRangeTest(
        setting=setting,
        method=result.method,
        judged_by=result.judged_by,
        low=_uncertain(result.low),
        suggestion=_uncertain(result.suggestion),
        high=_uncertain(result.high),
        held=None if confirmation is None else confirmation.held,
        seeds=tuple(curve.seed for curve in result.curves),
        iterations=result.iterations,
    )


def _uncertain(found: Estimate) -> Uncertain:
    return Uncertain(found.value, found.low, found.high)
