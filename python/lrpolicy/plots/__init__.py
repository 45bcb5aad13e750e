"""Pictures of schedules and of what training with them measured.

Reading a schedule never changes it: every function here asks `rates()` and nothing else.
"""

from __future__ import annotations

from lrpolicy.plots.curves import Curve, plot_curves
from lrpolicy.plots.front import Candidate, plot_front
from lrpolicy.plots.range_test import RangePicture, plot_range
from lrpolicy.plots.rate_scan import plot_rate_scan
from lrpolicy.plots.schedules import plot_schedules
from lrpolicy.plots.terminal import terminal_plot

__all__ = [
    "Candidate",
    "Curve",
    "RangePicture",
    "plot_curves",
    "plot_front",
    "plot_range",
    "plot_rate_scan",
    "plot_schedules",
    "terminal_plot",
]
