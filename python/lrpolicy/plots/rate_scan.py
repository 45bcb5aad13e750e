"""Accuracy against the fixed rate that reached it (the LRBench paper's Figure 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from lrpolicy.errors import InputError
from lrpolicy.plots.picture import label_at_right, picture

# Light to dark: the longer the training, the darker its line.
_MAP = "Blues"


def plot_rate_scan(
    scan: Mapping[int, Mapping[float, float]],
    path: Path,
    *,
    good: tuple[float, float] | None = None,
    measured_on: str = "validation",
) -> None:
    """Draw accuracy against fixed rates on a log axis, one line for each training length, into `path`.

    `scan` maps iterations to rate -> Top-1 in [0, 1], NaN where the training diverged: such a rate is a cross on the
    bottom line. `good` is the range of rates that train well, drawn as a band.

    Raises:
        InputError: nothing was scanned, or a path that names no picture.
        NotAvailableError: matplotlib is not installed.
        RunError: the file cannot be written.
    """
    lengths = sorted(length for length in scan if scan[length])
    if not lengths:
        raise InputError("there is no rate scan to plot")
    with picture(Path(path), 9.0, 4.2) as figure:
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        axes = figure.add_axes((0.09, 0.13, 0.71, 0.82))
        axes.set_xscale("log")
        axes.set_ylim(0.0, 1.03)
        if good is not None:
            axes.axvspan(*good, color="#009e73", alpha=0.12, linewidth=0)
            axes.annotate("good rates", (math.sqrt(good[0] * good[1]), 0.02), ha="center", color="#00654a", fontsize=9)
        labels = []
        for place, length in enumerate(lengths):
            color = to_hex(colormaps[_MAP](0.45 + 0.5 * (place + 1) / len(lengths)))
            points = sorted((rate, top1) for rate, top1 in scan[length].items() if not math.isnan(top1))
            lost = sorted(rate for rate, top1 in scan[length].items() if math.isnan(top1))
            axes.plot(*zip(*points, strict=True), color=color, marker="o", markersize=4) if points else None
            axes.plot(lost, [0.0] * len(lost), "x", color="#d55e00", markersize=8, clip_on=False)
            if points:
                labels.append((f"{length} iterations", points[-1][1], color, place == len(lengths) - 1))
        axes.set_xlabel("fixed learning rate" + ("  (x: diverged)" if _any_lost(scan) else ""))
        axes.set_ylabel(f"{measured_on} accuracy (Top-1)")
        label_at_right(axes, labels)


def _any_lost(scan: Mapping[int, Mapping[float, float]]) -> bool:
    return any(math.isnan(top1) for line in scan.values() for top1 in line.values())
