"""The range test: which rates are good for a task, found by a few short trainings.

Two methods. `SmithTest` trains while the rate rises from low to high and reads the interval off the curves (Smith's
cyclical learning rates). `FixTest` trains with constant rates, powers of ten and then finer, for a few epoch budgets
(LRBench paper, section V-A). Both give a `RangeTestResult`; `confirm` then trains inside and outside its interval.

    with LocalExecutor(2) as executor:
        found = SmithTest(TrainingJob(solver), Sweep(1e-5, 10.0, 200), executor).run()
    found.suggestion.value, found.low.value, found.high.value

Nothing has to be restored, because nothing is touched: every training has weights and an optimizer of its own, fresh or
from the job's `weights`; it saves no snapshot, and draws from generators of its own, so that files and the caller's
random states (NumPy's, PyTorch's) are as before.
"""

from __future__ import annotations

from lrpolicy.range_test.bootstrap import Estimate
from lrpolicy.range_test.confirmation import Confirmation, Control, confirm
from lrpolicy.range_test.fix import FixTest
from lrpolicy.range_test.fix_scan import coarse_rates, finer_rates, fix_range
from lrpolicy.range_test.result import RangeTestResult, SeedCurve
from lrpolicy.range_test.smith import SmithTest

__all__ = [
    "Confirmation",
    "Control",
    "Estimate",
    "FixTest",
    "RangeTestResult",
    "SeedCurve",
    "SmithTest",
    "coarse_rates",
    "confirm",
    "finer_rates",
    "fix_range",
]
