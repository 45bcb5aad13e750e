"""Pictures of schedules and of what training with them measured.

Reading a schedule never changes it: every function here asks `rates()` and nothing else.
"""

from __future__ import annotations

from lrpolicy.plots.curves import Curve, plot_curves
from lrpolicy.plots.schedules import plot_schedules
from lrpolicy.plots.terminal import terminal_plot

__all__ = ["Curve", "plot_curves", "plot_schedules", "terminal_plot"]
