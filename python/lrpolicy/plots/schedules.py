"""Rates against iterations as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lrpolicy.errors import InputError
from lrpolicy.plots.picture import label_at_right, picture
from lrpolicy.plots.sampling import LOG_DEPTH, Points, envelope, read_rates, wants_log
from lrpolicy.schedules import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scale = Literal["auto", "linear", "log"]

# Okabe and Ito's colours, which colour-blind readers can tell apart (yellow left out: too pale on white), then
# the same again dashed, then dotted.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))
_BINS = 1500
# More curves than this end too close to each other to be named at their ends: a key beside the axes names them.
_MOST_LABELLED = 5
# A longer name does not fit beside the axes: a key inside them names the curves.
_LONGEST_LABEL = 18


def plot_schedules(
    schedules: Mapping[str, Schedule],
    max_iter: int,
    path: Path,
    *,
    scale: Scale = "auto",
    title: str = "Learning-rate policies",
) -> None:
    """Draw the rates of iterations 0 .. max_iter - 1, one labelled curve for each schedule, into `path`.

    `path` ends in .png, .svg or .pdf. With scale "auto" the rate axis is logarithmic when rates span decades.
    The same input gives the same bytes.

    Raises:
        InputError: no schedule, max_iter below 1, or a path that names no picture.
        NotAvailableError: matplotlib is not installed.
        RunError: the file cannot be written.
    """
    if not schedules:
        raise InputError("there is no schedule to plot")
    curves = [read_rates(schedule, max_iter) for schedule in schedules.values()]
    with picture(Path(path), 9.0, 4.8) as figure:
        long = max(map(len, schedules)) > _LONGEST_LABEL
        axes = figure.add_axes((0.09, 0.12, 0.88 if long else 0.74, 0.79))
        axes.set_title(title, parse_math=False)
        styles = [(COLORS[i % 7], _DASHES[i // 7 % 3]) for i in range(len(curves))]
        for (x, y), (color, dashes) in zip((envelope(curve, _BINS) for curve in curves), styles, strict=True):
            axes.plot(x, y, color=color, linestyle=dashes)
        dress_rate_axes(axes, curves, max_iter, scale)
        axes.set_xlabel("iteration")
        if long or len(curves) > _MOST_LABELLED:
            place: dict[str, Any] = {"loc": "best"}
            if not long:
                place = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "frameon": False}
            key = axes.legend(axes.lines, schedules, **place)
            for text in key.get_texts():
                text.set_parse_math(False)
        else:
            ends = [float(y[-1]) for _, y in curves]
            colors = [color for color, _ in styles]
            label_at_right(axes, [(*item, False) for item in zip(schedules, ends, colors, strict=True)])


def dress_rate_axes(axes: Axes, curves: Sequence[Points], max_iter: int, scale: Scale = "auto") -> None:
    """Limits, scale and label of an axes that shows rates."""
    rates = [y for _, y in curves]
    top = max(float(y.max()) for y in rates)
    axes.set_xlim(0, max_iter)
    if top > 0 and (scale == "log" or (scale == "auto" and wants_log(rates))):
        axes.set_yscale("log", nonpositive="mask")
        lowest = min(float(y[y > 0].min()) for y in rates if (y > 0).any())
        axes.set_ylim(max(lowest, top / LOG_DEPTH) / 1.3, top * 1.3)
    else:
        axes.set_ylim(0, top * 1.05 if top > 0 else 1)
    axes.set_ylabel("learning rate")
