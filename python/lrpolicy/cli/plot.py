"""`lrpolicy plot`: rates against iterations, as a picture or as characters."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import click

from lrpolicy.cli import specs
from lrpolicy.cli.common import examples, json_option, note, print_json
from lrpolicy.cli.specs import Named
from lrpolicy.errors import InputError
from lrpolicy.plots import plot_schedules, terminal_plot
from lrpolicy.plots.schedules import Scale
from lrpolicy.stateful import AdaptivePolicy

_JSON_POINTS = 1001


@click.command(
    epilog=examples(
        "lrpolicy plot tri2 --terminal",
        "lrpolicy plot tri tri2 triexp --set stepsize=2000 -o cycles.png",
        "lrpolicy plot exp:base_lr=0.01,gamma=0.999 my_solver.prototxt -o both.svg",
    )
)
@click.argument("targets", metavar="NAME|SOLVER...", nargs=-1, required=True)
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="A field of the named policies; repeatable."
)
@click.option("--max-iter", type=click.IntRange(1), help="Iterations to show.  [default: what the policies need]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The picture: .png, .svg or .pdf.")
@click.option("--terminal", is_flag=True, help="Draw with characters.  [default where there is no --output]")
@click.option(
    "--scale", type=click.Choice(["auto", "linear", "log"]), default="auto", show_default=True, help="The rate axis."
)
@json_option
def plot(
    targets: Sequence[str],
    settings: Sequence[str],
    max_iter: int | None,
    output: Path | None,
    terminal: bool,
    scale: str,
    as_json: bool,
) -> None:
    """Draw policies as a picture or in the terminal.

    Each argument is a policy (tri2), a policy with its own values (tri2:max_lr=0.06,stepsize=2000), a solver prototxt,
    or a set-up that lrpolicy ships. Values that nobody gives are taken from an example, and a note says which. Of the
    policies that observe the training only the sequences that advance by_epoch can be drawn.
    """
    named = specs.parse_all(targets, settings)
    schedules = {label: entry.schedule for label, entry in zip(_labels(named), named, strict=True)}
    for entry in named:
        if entry.from_example:
            note(f"{entry.label}: {specs.setting_text(entry.policy, entry.from_example)} (an example; use --set)")
        if isinstance(entry.policy, AdaptivePolicy):
            note(f"{entry.label}: drawn with a test pass after every {entry.test_interval} iterations")
    length = max_iter or max(entry.length for entry in named)
    if output is not None:
        plot_schedules(schedules, length, output, scale=cast(Scale, scale))
    if as_json:
        print_json({"max_iter": length, "output": str(output) if output else None, "curves": _curves(named, length)})
        return
    if output is not None:
        click.echo(f"{output}: {len(named)} {'policies' if len(named) > 1 else 'policy'}, {length} iterations")
    if terminal or output is None:
        width = min(shutil.get_terminal_size((80, 24)).columns, 120)
        color = sys.stdout.isatty()
        click.echo(terminal_plot(schedules, length, width=width, scale=cast(Scale, scale), color=color))


def _labels(named: Sequence[Named]) -> list[str]:
    """The labels, which must tell the curves apart. Raises InputError when one is given twice."""
    labels = [entry.label for entry in named]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(
                f'"{label}" is named twice', remedy=f"give each its own values, as in {label}:base_lr=0.01"
            )
    return labels


def _curves(named: Sequence[Named], length: int) -> list[dict[str, object]]:
    """At most 1001 evenly spaced points of each curve."""
    step = max(1, length // (_JSON_POINTS - 1))
    iterations = range(0, length, step)
    return [
        {
            "label": entry.label,
            "policy": entry.policy.to_dict(),
            "iterations": list(iterations),
            "rates": entry.schedule.rates(iterations).tolist(),
        }
        for entry in named
    ]
