"""`lrpolicy plot`: rates against iterations, as a picture or as characters."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click

from lrpolicy.cli import specs
from lrpolicy.cli.common import ITERATIONS, examples, json_option, note, print_json
from lrpolicy.compositions import Chain, Ramp, parse_chain
from lrpolicy.errors import InputError
from lrpolicy.plots import plot_schedules, terminal_plot
from lrpolicy.plots.schedules import Scale
from lrpolicy.policies import Policy
from lrpolicy.schedules import Schedule
from lrpolicy.stateful import AdaptivePolicy

_JSON_POINTS = 1000


@dataclass(frozen=True)
class _Curve:
    """What is drawn, how much of it is worth drawing, and what it is in JSON."""

    label: str
    schedule: Schedule
    length: int
    description: dict[str, Any]


@click.command(
    epilog=examples(
        "lrpolicy plot tri2 --terminal",
        "lrpolicy plot tri tri2 triexp --set stepsize=2000 -o cycles.png",
        "lrpolicy plot exp:base_lr=0.01,gamma=0.999 my_solver.prototxt -o both.svg",
        "lrpolicy plot 'warm_up:iterations=500 >> fixed:base_lr=0.1 >> cool_down:iterations=2000,at=8000'",
    )
)
@click.argument("targets", metavar="NAME|SOLVER...", nargs=-1, required=True)
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="A field of the named policies; repeatable."
)
@click.option("--max-iter", type=ITERATIONS, help="Iterations to show.  [default: what the policies need]")
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
    a set-up that lrpolicy ships, or several joined by >>: warm_up:iterations=N first, policies with `for N` between,
    cool_down:iterations=N,at=T last. Values that nobody gives are taken from an example, and a note says which. Of the
    policies that observe the training only the sequences that advance by_epoch can be drawn.
    """
    curves = _curves(targets, settings)
    schedules = {curve.label: curve.schedule for curve in curves}
    length = max_iter or max(curve.length for curve in curves)
    if output is not None:
        plot_schedules(schedules, length, output, scale=cast(Scale, scale))
    if as_json:
        print_json(
            {
                "max_iter": length,
                "output": str(output) if output else None,
                "curves": [_points(curve, length) for curve in curves],
            }
        )
        return
    if output is not None:
        click.echo(f"{output}: {len(curves)} {'policies' if len(curves) > 1 else 'policy'}, {length} iterations")
    if terminal or output is None:
        width = min(shutil.get_terminal_size((80, 24)).columns, 120)
        color = sys.stdout.isatty()
        click.echo(terminal_plot(schedules, length, width=width, scale=cast(Scale, scale), color=color))


def _curves(targets: Sequence[str], settings: Sequence[str]) -> list[_Curve]:
    """What each target names, in order; notes say what was taken from examples. Raises InputError."""
    named = iter(specs.parse_all([target for target in targets if ">>" not in target], settings))
    curves = [_chained(target) if ">>" in target else _named(next(named)) for target in targets]
    labels = [curve.label for curve in curves]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(
                f'"{label}" is named twice', remedy=f"give each its own values, as in {label}:base_lr=0.01"
            )
    return curves


def _named(entry: specs.Named) -> _Curve:
    if entry.from_example:
        note(f"{entry.label}: {specs.setting_text(entry.policy, entry.from_example)} (an example; use --set)")
    schedule = entry.schedule
    if isinstance(entry.policy, AdaptivePolicy):
        note(f"{entry.label}: drawn with a test pass after every {entry.test_interval} iterations")
    return _Curve(entry.label, schedule, entry.length, entry.policy.to_dict())


def _chained(text: str) -> _Curve:
    try:
        chain = parse_chain(text)
    except InputError as error:
        raise error.at(error.where or text, "`lrpolicy plot --help` has an example") from None
    label = " >> ".join(part.partition(":")[0].strip() for part in text.split(">>"))
    return _Curve(label, chain, chain.length or _natural_length(chain), {"chain": text})


def _natural_length(chain: Chain) -> int:
    """Up to its last part, and what that one needs."""
    first, last = chain.parts[-1]
    if isinstance(last, Ramp):
        return first + last.iterations * 5 // 4
    return first + specs.natural_length(cast(Policy, last))


def _points(curve: _Curve, length: int) -> dict[str, object]:
    """At most 1000 evenly spaced points."""
    iterations = range(0, length, -(-length // _JSON_POINTS))
    return {
        "label": curve.label,
        "policy": curve.description,
        "iterations": list(iterations),
        "rates": curve.schedule.rates(iterations).tolist(),
    }
