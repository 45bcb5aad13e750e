"""The table and the picture of the Yang-Huang experiment, from its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.mnist import markdown
from lrpolicy.plots.picture import label_at_right, picture
from lrpolicy.stateful import convergence_epoch

Row = dict[str, Any]
Found = dict[tuple[str, str], Row]


@dataclass(frozen=True)
class Setting:
    """A row of the report's Table 1: its two names there, its accuracy and its convergence epoch."""

    method: str
    name: str
    accuracy: float
    convergence: int


PAPER = (
    Setting("fixed", "sgd", 0.98264, 34),
    Setting("fixed", "adam", 0.98574, 30),
    Setting("by_epoch", "seq1", 0.97608, 48),
    Setting("by_epoch", "seq2", 0.98230, 38),
    Setting("by_epoch", "seq3", 0.98263, 19),
    Setting("by_epoch", "seq4", 0.98527, 40),
    Setting("by_cutoff", "seq1", 0.98290, 32),
    Setting("by_cutoff", "seq2", 0.98405, 28),
    Setting("by_cutoff", "seq3", 0.98614, 29),
    Setting("by_cutoff", "seq4", 0.98656, 22),
    Setting("by_oscillate", "seq1", 0.98372, 25),
    Setting("by_oscillate", "seq2", 0.98544, 27),
    Setting("by_oscillate", "seq3", 0.98514, 24),
    Setting("by_oscillate", "seq4", 0.98586, 30),
)
# Not in Table 1: a fixed rate that is the sequences' first. The numbers are those of the authors' saved training.
BESIDE = Setting("fixed", "sgd 0.01", 0.98624, 30)
SEED = 1
STRATEGIES = ("by_epoch", "by_cutoff", "by_oscillate")
COLORS = {
    "seq1": "#d55e00",
    "seq2": "#e69f00",
    "seq3": "#0072b2",
    "seq4": "#009e73",
    "sgd": "#777777",
    "sgd 0.01": "#b07aa1",
    "adam": "#222222",
}
WITHIN = 0.00055


def final_accuracy(accuracies: Sequence[float]) -> float:
    """The mean of the epochs 46 to 49, which Table 1 calls accuracy."""
    return fmean(accuracies[45:49])


def table1_convergence(accuracies: Sequence[float]) -> int:
    """Table 1's convergence: the first epoch within 5 of 10,000 images of the best, two less than its number from 1.

    The report does not say so; all 12 of the authors' saved accuracy curves give the table's numbers by this rule, with
    any tolerance from 0.000498 to 0.000597, and by none of the sums of changes (Table 2's rule) do more than 5.
    """
    best = max(accuracies)
    return next(i for i, accuracy in enumerate(accuracies) if accuracy > best - WITHIN) - 1


def write(rows: Sequence[Row], softmax: str, out: Path) -> None:
    """Write the table to `out` and the picture beside it."""
    seeds = {
        seed: {(row["method"], row["name"]): row for row in rows if (row["softmax"], row["seed"]) == (softmax, seed)}
        for seed in sorted({SEED, *(row["seed"] for row in rows)})
    }
    found = seeds.pop(SEED)
    picture_path = out.with_suffix(".png")
    text = [*_table(found), "", _complete(found), *_claims(found), ""]
    if any(seeds.values()):
        text += ["Other first weights and orders of the examples:", "", *_seeds(found, seeds), ""]
    text += [f"![accuracies]({picture_path.name})", ""]
    out.write_text("\n".join(text), encoding="utf-8")
    _picture(found, picture_path)


def _table(found: Found) -> list[str]:
    header = (
        "setting",
        "accuracy: report",
        "here",
        "difference",
        "converged: report",
        "here, Table 1's rule",
        "here, Table 2's rule",
        "advances",
        "last rate",
    )
    lines = []
    for setting in (*PAPER, BESIDE):
        name = f"{setting.method} {setting.name}" + (" (not in Table 1)" if setting == BESIDE else "")
        row = found.get((setting.method, setting.name))
        if row is None:
            lines.append((name, f"{setting.accuracy:.5f}", "not trained", "", str(setting.convergence), "", "", "", ""))
            continue
        accuracy, rates = final_accuracy(row["accuracy"]), row["rate"]
        advances = sum(after != before for before, after in pairwise(rates))
        lines.append(
            (
                name,
                f"{setting.accuracy:.5f}",
                f"{accuracy:.5f}",
                f"{accuracy - setting.accuracy:+.5f}",
                str(setting.convergence),
                str(table1_convergence(row["accuracy"])),
                str(convergence_epoch(row["accuracy"]) or "never"),
                str(advances),
                f"{rates[-1]:.3g}",
            )
        )
    return markdown(header, lines)


def _complete(found: Found) -> str:
    """How many of Table 1's settings are trained, and how long."""
    trained = [row for key, row in found.items() if key != (BESIDE.method, BESIDE.name)]
    epochs = " or ".join(map(str, sorted({len(row["accuracy"]) for row in trained}))) or "no"
    return f"- Trained: {len(trained)} of {len(PAPER)} settings, {epochs} epochs, seed {SEED}."


def _seeds(found: Found, seeds: dict[int, Found]) -> list[str]:
    """Accuracies and Table 1's convergence of the settings that were trained with several seeds."""
    header = ("setting", "seed", "accuracy", f"less seed {SEED}'s", "converged")
    lines = []
    for seed, others in seeds.items():
        for key, row in others.items():
            accuracy, first = final_accuracy(row["accuracy"]), found.get(key)
            less = f"{accuracy - final_accuracy(first['accuracy']):+.5f}" if first else ""
            epoch = str(table1_convergence(row["accuracy"]))
            lines.append((" ".join(key), str(seed), f"{accuracy:.5f}", less, epoch))
    return markdown(header, lines)


def _claims(found: Found) -> Iterator[str]:
    """What section 4.2 of the report says of its table, and what this table says."""
    accuracy = {key: final_accuracy(row["accuracy"]) for key, row in found.items()}
    epochs = {key: table1_convergence(row["accuracy"]) for key, row in found.items()}
    for strategy, fastest, best in (
        ("by_epoch", "seq3", "seq4"),
        ("by_cutoff", "seq4", "seq4"),
        ("by_oscillate", "seq3", "seq4"),
    ):
        keys = [(strategy, f"seq{number}") for number in range(1, 5)]
        if all(key in found for key in keys):
            least = min(epochs[key] for key in keys)
            first = ", ".join(key[1] for key in keys if epochs[key] == least)
            order = " < ".join(key[1] for key in sorted(keys, key=accuracy.__getitem__))
            yield (
                f"- {strategy}: in the report {fastest} converges first, {best} ends best and seq1 worst; "
                f"here {first} converges first, and the accuracies are {order}."
            )
    if all((setting.method, setting.name) in found for setting in PAPER):
        table = [(setting.method, setting.name) for setting in PAPER]
        top, first_of_all = max(table, key=accuracy.__getitem__), min(table, key=epochs.__getitem__)
        yield (
            "- Best of all and first to converge: in the report by_cutoff seq4 and by_epoch seq3, "
            f"here {' '.join(top)} and {' '.join(first_of_all)}."
        )
        ends = [accuracy[key] for key in table if key[0] in STRATEGIES]
        better = sum(end > max(accuracy["fixed", "sgd"], accuracy["fixed", "adam"]) for end in ends)
        yield f"- Sequences that end better than both benchmarks: 3 of 12 in the report, {better} of 12 here."
        beside = accuracy.get((BESIDE.method, BESIDE.name))
        if beside is not None:
            theirs = sum(setting.accuracy > BESIDE.accuracy for setting in PAPER if setting.method in STRATEGIES)
            yield (
                f"- Sequences that end better than SGD that stays at their first rate: {theirs} of 12 by the authors' "
                f"numbers, {sum(end > beside for end in ends)} of 12 here."
            )


def _picture(found: Found, path: Path) -> None:
    with picture(path, 11.5, 4.2) as figure:
        for place, strategy in enumerate(STRATEGIES, 1):
            axes = figure.add_subplot(1, 3, place)
            axes.set_title(strategy)
            axes.set_xlabel("epoch")
            axes.set_xlim(1, 50)
            axes.set_ylim(0.95, 0.99)
            curves = [row for (method, _), row in found.items() if method in {strategy, "fixed"}]
            for row in curves:
                style = "--" if row["method"] == "fixed" else "-"
                axes.plot(range(1, 51), row["accuracy"], style, color=COLORS[row["name"]], linewidth=1.2)
            if place == 1:
                axes.set_ylabel("validation accuracy")
            figure.tight_layout(w_pad=5.0, rect=(0, 0, 0.95, 1))
        for axes, strategy in zip(figure.axes, STRATEGIES, strict=True):
            label_at_right(
                axes,
                [
                    (row["name"], final_accuracy(row["accuracy"]), COLORS[row["name"]], False)
                    for (method, _), row in found.items()
                    if method in {strategy, "fixed"}
                ],
            )
