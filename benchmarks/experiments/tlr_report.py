"""The tables and the pictures of the TLR experiment, from its results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import pstdev
from typing import Any

from experiments.mnist import markdown
from lrpolicy.plots.picture import picture

Row = dict[str, Any]
COLORS = {0.001: "#0072b2", 0.01: "#009e73", 0.1: "#d55e00"}
STYLES = {64: "-", 128: "--", 256: "-.", 512: ":"}
MEASURES = (("train_loss", "training loss"), ("rate", "learning rate"), ("accuracy", "test accuracy"))
SEED, SHORT = 1, 5
SIDES = ("efficient", "sgd", "sgd, exponential decay")


def write(rows: Sequence[Row], epochs: int, out: Path) -> None:
    """Write the tables to `out` and the pictures beside it."""
    chosen = [row for row in rows if row["epochs"] == epochs]
    sides = {name: [row for row in chosen if row["method"] == name and row["seed"] == SEED] for name in SIDES}
    text = [f"# After {epochs} epochs", ""]
    for name, cells in sides.items():
        if cells:
            text += [f"## {name}", "", *_grid(cells), "", *_spread(cells), ""]
    curves = out.with_suffix(".png")
    _picture([(name, cells) for name, cells in sides.items() if cells], curves)
    text += [f"![losses, rates and accuracies]({curves.name})", ""]
    hyper = [row for row in chosen if row["method"].startswith("hypergradient")]
    if hyper:
        columns = {(row["batch"], row["base_lr"]) for row in hyper}
        beside = [row for row in sides["efficient"] if (row["batch"], row["base_lr"]) in columns]
        shown = out.with_name(f"{out.stem}_hypergradient.png")
        _hyper_picture(hyper, beside, shown)
        text += ["## hypergradient, beside efficient", "", *_by_method(hyper + beside), ""]
        text += [f"![hypergradient]({shown.name})", ""]
    short = [row for row in rows if row["epochs"] == SHORT < epochs]
    if short:
        where = {(row["batch"], row["base_lr"]) for row in short if row["method"] != "sgd"}
        beside = [row for row in chosen if (row["batch"], row["base_lr"]) in where and row["method"] in SIDES[:2]]
        text += [f"## The cell that fails, after {SHORT} epochs", "", *_early(beside + short), ""]
    out.write_text("\n".join(text), encoding="utf-8")


def _grid(cells: Sequence[Row]) -> list[str]:
    """Starting rates down, batches across: the final loss on the training set, and the last epoch's test accuracy."""
    batches, starts = (sorted({row[key] for row in cells}) for key in ("batch", "base_lr"))
    found = {(row["base_lr"], row["batch"]): row for row in cells}
    header = ("starting rate", *(f"batch {batch}" for batch in batches))
    return markdown(header, [(f"{s:g}", *(_cell(found.get((s, batch))) for batch in batches)) for s in starts])


def _cell(row: Row | None) -> str:
    return "" if row is None else f"{row['final_train_loss']:.4f}, {100 * row['accuracy'][-1]:.2f} %"


def _spread(cells: Sequence[Row]) -> list[str]:
    """How far the cells lie apart: all, and all but the one with the largest loss."""
    by_loss = sorted(cells, key=lambda row: row["final_train_loss"])
    header = ("cells", "loss: least", "largest", "deviation", "ratio", "accuracy: least", "largest", "deviation")
    return markdown(header, [_extent("all", by_loss), _extent("all but the worst", by_loss[:-1])])


def _extent(name: str, cells: Sequence[Row]) -> tuple[str, ...]:
    losses = [row["final_train_loss"] for row in cells]
    accuracies = [100 * row["accuracy"][-1] for row in cells]
    return (
        f"{name} ({len(cells)})",
        f"{min(losses):.4f}",
        f"{max(losses):.4f}",
        f"{pstdev(losses):.4f}",
        f"{max(losses) / min(losses):.1f}",
        f"{min(accuracies):.2f} %",
        f"{max(accuracies):.2f} %",
        f"{pstdev(accuracies):.2f}",
    )


def _by_method(rows: Sequence[Row]) -> list[str]:
    header = ("method", "batch", "starting rate", "seed", "training loss", "test accuracy", "largest rate", "last rate")
    lines = [
        (
            row["method"],
            str(row["batch"]),
            f"{row['base_lr']:g}",
            str(row["seed"]),
            f"{row['final_train_loss']:.4f}",
            f"{100 * row['accuracy'][-1]:.2f} %",
            f"{max(map(max, row['rate'])):.2g}",
            _rates(row["rate"][-1]),
        )
        for row in sorted(rows, key=lambda row: (row["batch"], row["method"], row["base_lr"], row["seed"]))
    ]
    return markdown(header, lines)


def _early(rows: Sequence[Row]) -> list[str]:
    """The state of trainings of any length after SHORT epochs; the loss is the mean over that epoch's batches."""
    header = ("method", "rate at first", "seed", "training loss", "test accuracy", "rate")
    lines = [
        (
            row["method"],
            f"{row['base_lr']:g}",
            str(row["seed"]),
            f"{row['train_loss'][SHORT - 1]:.3f}",
            f"{100 * row['accuracy'][SHORT - 1]:.2f} %",
            _rates(row["rate"][SHORT - 1]),
        )
        for row in rows
    ]
    return markdown(header, lines)


def _rates(rates: Sequence[float]) -> str:
    return " ".join(f"{rate:.2g}" for rate in dict.fromkeys(rates))


def _values(row: Row, measure: str) -> list[float]:
    """The curve of a measure; of several rates the first tensor's."""
    return [value[0] for value in row["rate"]] if measure == "rate" else row[measure]


def _picture(sides: Sequence[tuple[str, Sequence[Row]]], path: Path) -> None:
    """The paper's Figure 1 for each method: one curve for each batch and starting rate."""
    with picture(path, 11.0, 2.9 * len(sides)) as figure:
        panels = figure.subplots(len(sides), len(MEASURES), squeeze=False, sharey="col")
        for (name, cells), line in zip(sides, panels, strict=True):
            for axes, (measure, title) in zip(line, MEASURES, strict=True):
                axes.set_title(f"{name}: {title}", fontsize=9.5)
                for row in cells:
                    values = _values(row, measure)
                    color, style = COLORS[row["base_lr"]], STYLES[row["batch"]]
                    axes.plot(range(1, len(values) + 1), values, style, color=color, linewidth=1.2)
                _scale(axes, measure)
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        handles = [panels[0][0].plot([], [], color=color)[0] for color in COLORS.values()]
        handles += [panels[0][0].plot([], [], style, color="#555555")[0] for style in STYLES.values()]
        labels = [f"start {start:g}" for start in COLORS] + [f"batch {batch}" for batch in STYLES]
        figure.tight_layout(rect=(0, 0.45 / (2.9 * len(sides)), 1, 1))
        figure.legend(handles, labels, loc="lower center", ncols=len(handles), fontsize=8.5, frameon=False)


def _scale(axes: Any, measure: str) -> None:
    if measure == "accuracy":
        axes.set_ylim(0.85, 0.99)
    else:
        axes.set_yscale("log")


def _hyper_picture(hyper: Sequence[Row], beside: Sequence[Row], path: Path) -> None:
    """The paper's Figure 2: losses and rates, one column for each batch."""
    batches = sorted({row["batch"] for row in hyper})
    methods = sorted({row["method"] for row in hyper})
    colors = dict(zip([*methods, "efficient"], ("#e69f00", "#cc79a7", "#56b4e9", "#111111"), strict=False))
    with picture(path, 3.6 * len(batches) + 1.4, 6.0) as figure:
        panels = figure.subplots(2, len(batches), squeeze=False, sharey="row")
        for column, batch in enumerate(batches):
            for axes, measure in zip(panels[:, column], ("train_loss", "rate"), strict=True):
                for row in [*hyper, *beside]:
                    if row["batch"] == batch:
                        values = _values(row, measure)
                        axes.plot(range(1, len(values) + 1), values, color=colors[row["method"]], label=row["method"])
                axes.set_yscale("log")
                axes.xaxis.get_major_locator().set_params(integer=True)
            panels[0, column].set_title(f"batch {batch}")
            panels[1, column].set_xlabel("epoch")
        panels[0, 0].set_ylabel("training loss")
        panels[1, 0].set_ylabel("learning rate")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.tight_layout(rect=(0, 0.1, 1, 1))
        figure.legend(handles, labels, loc="lower center", ncols=2, fontsize=8.5, frameon=False)
