"""Rates against iterations as characters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lrpolicy.errors import InputError, NotAvailableError
from lrpolicy.plots.sampling import LOG_DEPTH, Points, envelope, read_rates, wants_log
from lrpolicy.plots.schedules import Scale
from lrpolicy.schedules import Schedule

# Terminal colours that show on light and on dark backgrounds, as the terminal numbers them.
COLORS = {"blue": 34, "red": 31, "green": 32, "magenta": 35, "cyan": 36, "orange": 33}
# What the curves are drawn with where there is no colour to tell them apart.
SYMBOLS = "ox+*#%@&=~^:$?"
_COLUMNS_LEFT_OF_CANVAS = 10


def terminal_plot(
    schedules: Mapping[str, Schedule],
    max_iter: int,
    *,
    width: int = 76,
    height: int = 18,
    scale: Scale = "auto",
    color: bool = False,
) -> str:
    """The rates of iterations 0 .. max_iter - 1 drawn with characters, as lines of at most `width` columns.

    A key line above names the curves: by colour, or by the character they are drawn with. With scale "auto" the rate
    axis is logarithmic when rates span decades. `color` puts terminal colour codes into the text.

    Raises:
        InputError: no schedule, or max_iter below 1.
        NotAvailableError: plotext is not installed.
    """
    if not schedules:
        raise InputError("there is no schedule to plot")
    curves = [read_rates(schedule, max_iter) for schedule in schedules.values()]
    log = scale == "log" or (scale == "auto" and wants_log([y for _, y in curves]))
    return _draw(dict(zip(schedules, curves, strict=True)), max_iter, width, height, log, color)


def _draw(curves: Mapping[str, Points], max_iter: int, width: int, height: int, log: bool, color: bool) -> str:
    try:
        import plotext
    except ImportError as error:
        raise NotAvailableError("plots in the terminal need plotext; pip install 'lrpolicy[plots]'") from error
    low, high = _limits(curves, log)
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    for index, (x, y) in enumerate(curves.values()):
        heights = np.log10(np.maximum(y, 10**low)) if log else y
        xs, ys = envelope((x, heights), width - _COLUMNS_LEFT_OF_CANVAS)
        symbol = "braille" if color or len(curves) == 1 else SYMBOLS[index % len(SYMBOLS)]
        marker = plotext.marker(symbol, list(COLORS)[index % len(COLORS)] if color else None)
        figure.draw(figure.signal(xs.tolist(), ys.tolist(), marker=marker).lines())
    _dress(figure, max_iter, low, high, log)
    picture = figure.build().string(colorless=not color)
    figure.clear()
    return "\n".join([_key(list(curves), color), "learning rate", *(line.rstrip() for line in picture.splitlines())])


def _limits(curves: Mapping[str, Points], log: bool) -> tuple[float, float]:
    """The lowest and highest value of the rate axis: rates, or their decimal logarithms."""
    top = max(float(y.max()) for _, y in curves.values())
    if top <= 0:
        return 0.0, 1.0
    if not log:
        return 0.0, top
    lowest = min(float(y[y > 0].min(initial=top)) for _, y in curves.values())
    low, high = math.log10(max(lowest, top / LOG_DEPTH)), math.log10(top)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _dress(figure: Any, max_iter: int, low: float, high: float, log: bool) -> None:
    """Limits and ticks: five rates written with three digits, five iterations written in full."""
    last = max(max_iter - 1, 1)
    rates = [low + (high - low) * part / 4 for part in range(5)]
    iterations = sorted({round(last * part / 4) for part in range(5)})
    figure.ruler("y").lim(low, high)
    figure.ruler("y").ticks(rates, [f"{10**rate if log else rate:.3g}" for rate in rates])
    figure.ruler("x").lim(0, last)
    figure.ruler("x").ticks(iterations, [str(iteration) for iteration in iterations])
    figure.label("iteration", "x")


def _key(labels: list[str], color: bool) -> str:
    """Which curve is which."""
    if color:
        codes = list(COLORS.values())
        return "  ".join(f"\x1b[{codes[i % len(codes)]}m━━ {label}\x1b[0m" for i, label in enumerate(labels))
    if len(labels) == 1:
        return labels[0]
    return "   ".join(f"{SYMBOLS[i % len(SYMBOLS)]} {label}" for i, label in enumerate(labels))
