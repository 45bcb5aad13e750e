"""How every picture is made: matplotlib without a screen, the house's look, the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrpolicy.errors import InputError, NotAvailableError
from lrpolicy.prototxt.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("pdf", "png", "svg")

# Files that say when they were made would differ from run to run.
_METADATA: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}

_STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "font.size": 10,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "lrpolicy",
    "svg.fonttype": "none",
    "figure.dpi": 100,
    "savefig.dpi": 144,
}


def picture_format(path: Path) -> str:
    """The format that a file's name asks for. Raises InputError for any other than png, svg and pdf."""
    name = path.suffix.lower().lstrip(".")
    if name not in FORMATS:
        raise InputError("a picture is a .png, .svg or .pdf file", where=str(path), got=name or "no ending")
    return name


@contextmanager
def picture(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of width x height inches, saved at the end as `path`: whole, or not at all.

    Raises:
        InputError: the file's ending is not a picture's, or its folder does not exist.
        NotAvailableError: matplotlib is not installed.
        RunError: the file cannot be written.
    """
    kind = picture_format(path)
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NotAvailableError("pictures need matplotlib; pip install 'lrpolicy[plots]'") from error
    with rc_context(_STYLE), replacing(path) as temporary:
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(temporary, format=kind, metadata=_METADATA[kind])


def spread(positions: list[float], gap: float) -> list[float]:
    """Move labels apart until neighbours are `gap` from each other, each staying as near as that allows.

    `positions` in any order; the result keeps their order. Runs of labels that touch are moved as one block around
    their mean (the pool-adjacent-violators idea of isotonic regression, which makes the sum of squared moves least).
    """
    order = sorted(range(len(positions)), key=positions.__getitem__)
    blocks: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        blocks.append((positions[index] - rank * gap, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (low, n), (high, m) = blocks[-2:]
            blocks[-2:] = [((low * n + high * m) / (n + m), n + m)]
    anchors = [mean for mean, count in blocks for _ in range(count)]
    result = [0.0] * len(positions)
    for rank, index in enumerate(order):
        result[index] = anchors[rank] + rank * gap
    return result


def label_at_right(axes: Axes, labels: list[tuple[str, float, str, bool]], size: float = 8.5) -> None:
    """Write each (text, y of the curve's end, colour, bold) beside the axes' right edge, none over another."""
    height = axes.get_window_extent().height
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [min(max(float(to_axes.transform((0.0, y))[1]), 0.0), 1.0) for _, y, _, _ in labels]
    gap = 1.25 * size * axes.figure.get_dpi() / 72 / height
    places = _keep_inside(spread(ends, gap))
    for (text, _, color, bold), end, place in zip(labels, ends, places, strict=True):
        axes.annotate(
            text,
            xy=(1.0, end),
            xytext=(1.03, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=size,
            color=color,
            fontweight="bold" if bold else "normal",
            annotation_clip=False,
            parse_math=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def _keep_inside(places: list[float]) -> list[float]:
    """Shift all labels together so that none hangs below the axes or stands above them, as far as they fit."""
    if not places:
        return places
    shift = max(0.0, -min(places)) - max(0.0, max(places) - 1.0)
    return [place + shift for place in places]
