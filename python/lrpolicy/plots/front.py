"""Accuracy against cost, with the Pareto front: the policies that nobody beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrpolicy.errors import InputError
from lrpolicy.plots.picture import picture, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = {"fixed": "#555555", "decaying": "#d55e00", "cyclic": "#0072b2"}
_OTHER = "#009e73"


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
    """Write each label right of its point; labels of one cost are moved apart."""
    low, high = axes.get_ylim()
    gap = (high - low) / 26
    for cost in dict.fromkeys(c.cost for c in candidates):
        here = [c for c in candidates if c.cost == cost]
        for candidate, height in zip(here, spread([c.accuracy for c in here], gap), strict=True):
            axes.annotate(
                candidate.label,
                (candidate.cost, height),
                xytext=(8, 3),
                textcoords="offset points",
                fontsize=9 if candidate.on_front else 8,
                fontweight="bold" if candidate.on_front else "normal",
                color=_COLORS.get(candidate.family, _OTHER),
                parse_math=False,
            )
