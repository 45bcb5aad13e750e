"""Accuracy against cost, with the Pareto front: the policies that nobody beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lrpolicy.errors import InputError
from lrpolicy.plots.picture import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

_COLORS = {"fixed": "#555555", "decaying": "#d55e00", "cyclic": "#0072b2"}
_OTHER = "#009e73"
# Where a label may stand, in points from its point, and the side that it begins at.
_PLACES: tuple[tuple[int, int, Literal["left", "right"]], ...] = (
    (8, 3, "left"), (8, -10, "left"), (-8, 3, "right"), (-8, -10, "right"), (8, 14, "left"), (8, -21, "left"),
    (-8, 14, "right"), (-8, -21, "right"),
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """One policy for `plot_front`: mean cost and accuracy over seeds, their deviations (NaN: no bar), and whether it is
    on the front.
    """

    label: str
    family: str
    cost: float
    accuracy: float
    cost_deviation: float
    accuracy_deviation: float
    on_front: bool


def plot_front(
    candidates: Sequence[Candidate],
    path: Path,
    *,
    cost: str = "iterations to the best accuracy",
    measured_on: str = "validation",
) -> None:
    """Draw accuracy against cost with bars of one standard deviation and the front as a line, into `path`.

    Raises:
        InputError: no candidate, or a path that names no picture.
        NotAvailableError: matplotlib is not installed.
        RunError: the file cannot be written.
    """
    if not candidates:
        raise InputError("there is no policy to plot")
    with picture(Path(path), 9.0, 5.0) as figure:
        axes = figure.add_axes((0.09, 0.12, 0.86, 0.82))
        front = sorted((c.cost, c.accuracy) for c in candidates if c.on_front)
        axes.plot(*zip(*front, strict=True), color="#999999", linewidth=1.2, drawstyle="steps-post", zorder=1)
        for family in dict.fromkeys(c.family for c in candidates):
            axes.plot([], [], "o", color=_COLORS.get(family, _OTHER), label=family)
        for candidate in candidates:
            _draw(axes, candidate)
        axes.set_xlabel(f"{cost} (mean over seeds)")
        axes.set_ylabel(f"{measured_on} accuracy (Top-1)")
        axes.margins(x=0.08, y=0.08)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False)
        _name(axes, candidates)


def _draw(axes: Axes, candidate: Candidate) -> None:
    color = _COLORS.get(candidate.family, _OTHER)
    bars = [0.0 if math.isnan(d) else d for d in (candidate.cost_deviation, candidate.accuracy_deviation)]
    axes.errorbar(
        candidate.cost,
        candidate.accuracy,
        xerr=bars[0],
        yerr=bars[1],
        fmt="o",
        color=color,
        markersize=8 if candidate.on_front else 5,
        markerfacecolor=color if candidate.on_front else "white",
        elinewidth=0.7,
        alpha=1.0 if candidate.on_front else 0.75,
        zorder=3 if candidate.on_front else 2,
    )


def _name(axes: Axes, candidates: Sequence[Candidate]) -> None:
    """Write each label beside its point, at the first place that is free; those of the front choose first."""
    from matplotlib.transforms import Bbox

    axes.autoscale_view()
    points = [axes.transData.transform((c.cost, c.accuracy)) for c in candidates]
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in points]
    for candidate in sorted(candidates, key=lambda c: not c.on_front):
        labels = [_label(axes, candidate, *place) for place in _PLACES]
        boxes = [label.get_window_extent() for label in labels]
        free = [box.count_overlaps(taken) == 0 for box in boxes]
        chosen = free.index(True) if any(free) else 0
        taken.append(boxes[chosen])
        for label in labels[:chosen] + labels[chosen + 1 :]:
            label.remove()


def _label(axes: Axes, candidate: Candidate, x: int, y: int, side: Literal["left", "right"]) -> Annotation:
    return axes.annotate(
        candidate.label,
        (candidate.cost, candidate.accuracy),
        xytext=(x, y),
        textcoords="offset points",
        horizontalalignment=side,
        fontsize=9 if candidate.on_front else 8,
        fontweight="bold" if candidate.on_front else "normal",
        color=_COLORS.get(candidate.family, _OTHER),
        parse_math=False,
    )
