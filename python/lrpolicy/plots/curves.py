"""What a comparison of policies measured, as one picture: accuracy, loss and rate against iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrpolicy.errors import InputError
from lrpolicy.plots.picture import label_at_right, picture
from lrpolicy.plots.sampling import Floats, Points, envelope, read_rates
from lrpolicy.plots.schedules import dress_rate_axes
from lrpolicy.schedules import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Each family has its own hue; within a family the best policy has the strongest shade.
_FAMILY_MAPS = {"fixed": "Greys", "decaying": "Oranges", "cyclic": "Blues"}
_OTHER_MAP = "Greens"
_BINS = 1000


@dataclass(frozen=True)
class Curve:
    """One trial for `plot_curves`.

    `family` is the policy's in the policy table; `iterations`, `accuracy` (Top-1, 0 to 1) and `loss` have one entry
    for each measurement, values that are not finite being left out of the picture.
    """

    label: str
    family: str
    schedule: Schedule
    iterations: Sequence[int]
    accuracy: Sequence[float]
    loss: Sequence[float]


def plot_curves(
    curves: Sequence[Curve],
    max_iter: int,
    path: Path,
    *,
    title: str = "",
    measured_on: str = "validation",
    emphasised: int = 3,
) -> None:
    """Draw ranked trials, the best first, in three panels over one iteration axis, into `path`.

    The first `emphasised` curves are thick, in their family's colour, and labelled in every panel; the accuracy panel
    names them all. `measured_on` says which part of the data accuracy and loss belong to.

    Raises:
        InputError: no curve, max_iter below 1, or a path that names no picture.
        NotAvailableError: matplotlib is not installed.
        RunError: the file cannot be written.
    """
    if not curves:
        raise InputError("there is no trial to plot")
    with picture(Path(path), 10.0, 11.0) as figure:
        figure.subplots_adjust(left=0.09, right=0.84, top=0.93, bottom=0.055, hspace=0.1)
        top, middle, bottom = figure.subplots(3, 1, height_ratios=(5, 3, 3))
        colors = _colors(curves, emphasised)
        _accuracy_panel(top, curves, colors, emphasised)
        _loss_panel(middle, curves, colors, emphasised)
        _rate_panel(bottom, curves, colors, emphasised, max_iter)
        top.set_ylabel(f"{measured_on} accuracy (Top-1)")
        middle.set_ylabel(f"{measured_on} loss")
        for axes in (top, middle):
            axes.set_xlim(0, max_iter)
            axes.tick_params(labelbottom=False)
        bottom.set_xlabel("iteration")
        figure.suptitle(title, x=0.09, y=0.975, ha="left", fontsize=13, fontweight="bold", parse_math=False)
        _family_key(top, curves)


def _family_map(family: str) -> str:
    return _FAMILY_MAPS.get(family, _OTHER_MAP)


def _colors(curves: Sequence[Curve], emphasised: int) -> list[str]:
    """A colour for each curve: shades of its family, darkest first; paler beyond the emphasised ones."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    seen: dict[str, int] = {}
    colors = []
    for rank, curve in enumerate(curves):
        place = seen[curve.family] = seen.get(curve.family, -1) + 1
        shade = max(0.9 - 0.17 * place, 0.5) if rank < emphasised else 0.45
        colors.append(to_hex(colormaps[_family_map(curve.family)](shade)))
    return colors


def _finite(x: Sequence[int], y: Sequence[float]) -> Points:
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    keep = np.isfinite(ys)
    return xs[keep], ys[keep]


def _draw(
    axes: Axes,
    series: Sequence[Points],
    colors: Sequence[str],
    emphasised: int,
) -> None:
    """The curves from the worst to the best, so that the best lie on top."""
    for rank in reversed(range(len(series))):
        best = rank < emphasised
        axes.plot(*series[rank], color=colors[rank], linewidth=2.2 if best else 1.0, alpha=1.0 if best else 0.8)


def _accuracy_panel(axes: Axes, curves: Sequence[Curve], colors: Sequence[str], emphasised: int) -> None:
    series = [_finite(curve.iterations, curve.accuracy) for curve in curves]
    _draw(axes, series, colors, emphasised)
    values = np.concatenate([y for _, y in series])
    if values.size:
        axes.set_ylim(*_accuracy_limits(values, series))
    _label(axes, curves, series, colors, emphasised, len(curves))


def _accuracy_limits(values: Floats, series: Sequence[Points]) -> tuple[float, float]:
    """From below the typical policy's start of the second half to above the best: where policies differ."""
    later = np.concatenate([y[len(y) // 4 :] for _, y in series if y.size])
    low, high = float(np.quantile(later, 0.1)), float(values.max())
    margin = max(0.08 * (high - low), 0.002)
    return max(low - margin, 0.0), min(high + margin, 1.0 + margin)


def _loss_panel(axes: Axes, curves: Sequence[Curve], colors: Sequence[str], emphasised: int) -> None:
    series = [_finite(curve.iterations, curve.loss) for curve in curves]
    _draw(axes, series, colors, emphasised)
    values = np.concatenate([y for _, y in series])
    values = values[values > 0]
    if values.size:
        axes.set_yscale("log", nonpositive="mask")
        axes.set_ylim(float(values.min()) / 1.15, float(np.quantile(values, 0.98)) * 1.15)
    _label(axes, curves, series, colors, emphasised, emphasised)


def _rate_panel(axes: Axes, curves: Sequence[Curve], colors: Sequence[str], emphasised: int, max_iter: int) -> None:
    series = [read_rates(curve.schedule, max_iter) for curve in curves]
    _draw(axes, [envelope(points, _BINS) for points in series], colors, emphasised)
    dress_rate_axes(axes, series, max_iter)
    _label(axes, curves, series, colors, emphasised, emphasised)


def _label(
    axes: Axes,
    curves: Sequence[Curve],
    series: Sequence[Points],
    colors: Sequence[str],
    emphasised: int,
    count: int,
) -> None:
    """Name the first `count` curves at the right edge, with their rank."""
    label_at_right(
        axes,
        [
            (f"{rank + 1}  {curves[rank].label}", float(series[rank][1][-1]), _ink(colors[rank]), rank < emphasised)
            for rank in range(min(count, len(curves)))
            if len(series[rank][1])
        ],
    )


def _ink(color: str) -> str:
    """A curve's colour as text: pale ones darker, so that they can be read."""
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv, to_hex, to_rgb

    hue, saturation, value = rgb_to_hsv(to_rgb(color))
    red, green, blue = hsv_to_rgb((hue, saturation, min(value, 0.72)))
    return to_hex((red, green, blue))


def _family_key(axes: Axes, curves: Sequence[Curve]) -> None:
    """One line above the panels that says which hue is which family."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    families = list(dict.fromkeys(curve.family for curve in curves))
    handles = [Line2D([], [], color=colormaps[_family_map(f)](0.75), linewidth=3, label=f) for f in families]
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), frameon=False)
