"""What a range test measured, as one picture: loss or accuracy against the rate, and the interval read from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrpolicy.errors import InputError
from lrpolicy.plots.picture import picture
from lrpolicy.plots.sampling import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SEED = "#8c8c8c"
_MEDIAN = "#0072b2"
_INTERVAL = "#009e73"
_SUGGESTION = "#d55e00"
_VALLEY = "#7a4f9e"
# A loss axis reaches this far above the level at which the curves begin: what lies higher is an explosion.
_HEADROOM = 0.35


@dataclass(frozen=True)
class RangePicture:
    """What `plot_range` draws. `rates` (points,) rise; `seeds` hold one curve each, `median` their middle, all over
    `rates`, values that are not finite being left out. `measure` names them: "loss" or "accuracy" (Top-1, 0 to 1).
    `valley` is NaN where that rule has no answer. `scale` is the rate axis's: "log" or "linear".
    """

    rates: Sequence[float]
    seeds: Sequence[Sequence[float]]
    median: Sequence[float]
    measure: str
    low: float
    suggestion: float
    high: float
    valley: float
    scale: str = "log"


def plot_range(found: RangePicture, path: Path, *, title: str = "Range test") -> None:
    """Draw a range test into `path` (.png, .svg or .pdf): a thin curve for each seed, the median thick, the interval
    shaded, the suggestion and the valley marked. The same input gives the same bytes.

    Raises:
        InputError: no curve, or a path that names no picture.
        NotAvailableError: matplotlib is not installed.
        RunError: the file cannot be written.
    """
    if not len(found.rates) or not len(found.seeds):
        raise InputError("there is no range test to plot")
    with picture(Path(path), 9.0, 5.2) as figure:
        axes = figure.add_axes((0.085, 0.115, 0.885, 0.74))
        figure.suptitle(title, x=0.085, y=0.975, ha="left", fontsize=12, fontweight="bold")
        rates = np.asarray(found.rates, dtype=np.float64)
        axes.set_xscale(found.scale)
        axes.axvspan(found.low, found.high, color=_INTERVAL, alpha=0.13, linewidth=0)
        marker = "o" if len(rates) < 20 else None
        for values in found.seeds:
            axes.plot(rates, _shown(values), color=_SEED, linewidth=0.8, alpha=0.75, marker=marker, markersize=2.5)
        axes.plot(rates, _shown(found.median), color=_MEDIAN, linewidth=2.6, marker=marker, markersize=5)
        axes.axvline(found.suggestion, color=_SUGGESTION, linewidth=2.0)
        if math.isfinite(found.valley):
            axes.axvline(found.valley, color=_VALLEY, linewidth=1.5, linestyle=(0, (5, 3)))
        _limits(axes, found, rates)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("training loss" if found.measure == "loss" else "validation accuracy (Top-1)")
        _key(axes, found)


def _shown(values: Sequence[float]) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def _limits(axes: Axes, found: RangePicture, rates: Floats) -> None:
    """The swept rates, and the heights that matter: an explosion must not flatten the curves before it."""
    axes.set_xlim(float(rates[0]), float(rates[-1]))
    median = _shown(found.median)
    known = median[np.isfinite(median)]
    if found.measure != "loss" or not known.size:
        axes.set_ylim(0.0, 1.02)
        return
    early = np.concatenate([_shown(values)[: max(3, len(rates) // 5)] for values in found.seeds])
    top = max(float(known[0]), float(np.nanmax(early)) if np.isfinite(early).any() else float(known[0]))
    bottom = float(min(known.min(), np.nanmin([np.nanmin(_shown(v)) for v in found.seeds if np.isfinite(v).any()])))
    axes.set_ylim(bottom - 0.05 * (top - bottom), top + _HEADROOM * (top - bottom))


def _key(axes: Axes, found: RangePicture) -> None:
    """One line above the axes that says what each line is, with its rate."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=_SEED, linewidth=1, label=f"{len(found.seeds)} seeds"),
        Line2D([], [], color=_MEDIAN, linewidth=2.6, label="median"),
        Patch(color=_INTERVAL, alpha=0.25, linewidth=0, label=f"interval {found.low:.3g} to {found.high:.3g}"),
        Line2D([], [], color=_SUGGESTION, linewidth=2, label=f"suggestion {found.suggestion:.3g}"),
    ]
    if math.isfinite(found.valley):
        label = f"valley {found.valley:.3g}"
        handles.append(Line2D([], [], color=_VALLEY, linewidth=1.5, linestyle=(0, (5, 3)), label=label))
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        handlelength=1.8,
        columnspacing=1.4,
    )
