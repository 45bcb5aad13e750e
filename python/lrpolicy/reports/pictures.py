"""The pictures of a report: what is drawn, from a run's results; how, is the plots' business."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lrpolicy.errors import InputError, RunError
from lrpolicy.plots import Candidate, Curve, plot_curves, plot_front, plot_rate_scan, plot_schedules
from lrpolicy.prototxt.files import all_or_none
from lrpolicy.range_test.fix_scan import Unlearned, fix_range
from lrpolicy.ranking import RankedPolicy
from lrpolicy.records import Measurement, TrialStatus
from lrpolicy.reports.gather import RunResults
from lrpolicy.reports.measured_rates import drawable
from lrpolicy.schedules import Schedule
from lrpolicy.stateful import AnyPolicy, policy_from_dict
from lrpolicy.verdict import Verdict

# More schedules than this cannot be told apart in one panel.
_MOST_SCHEDULES = 5
# A line of the rate scan for so many training lengths at most, evenly chosen.
_MOST_LENGTHS = 4


@dataclass(frozen=True)
class Picture:
    """A picture of a report: its file name without ending, what it shows, and who draws it into a path."""

    name: str
    caption: str
    draw: Callable[[Path], None]

    @cached_property
    def svg(self) -> str:
        """The picture as an <svg> element to stand inside HTML, without prolog and metadata."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.svg"
            self.draw(path)
            text = path.read_text(encoding="utf-8")
        text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
        head, rest = text.split(">", 1)
        return re.sub(r' (width|height)="[^"]*"', "", head) + ">" + rest  # the page says how large


def pictures(found: RunResults, verdict: Verdict) -> list[Picture]:
    """The pictures that the results allow, in the order of the report."""
    rows = [standing.row for standing in verdict.standings if standing.row.selection.top1.values]
    max_iter = max(trial.spec.max_iter for trial in found.of_stage(found.stage))
    curves = _curves(found, rows)
    few = rows[:_MOST_SCHEDULES]
    title = "Accuracy, loss and rate"
    made = [
        Picture(
            "curves",
            f"{found.split.capitalize()} accuracy, {found.split} loss and rate against iterations: one trial of each "
            "policy, the first three drawn thick.",
            lambda path: plot_curves(curves, max_iter, path, title=title, measured_on=found.split),
        ),
        Picture(
            "rates",
            f"The rates of the first {len(few)}." if len(few) > 1 else "The rates of the winner.",
            lambda path: plot_schedules(_rates_of(found, few), max_iter, path),
        ),
        Picture(
            "front",
            "Accuracy against cost: means over seeds with one standard deviation. Filled: on the Pareto front, nobody "
            "is as accurate for fewer iterations.",
            lambda path: plot_front(_candidates(rows), path, measured_on=found.split),
        ),
    ]
    scan = _scan(found)
    if scan:
        good = _good_range(found, scan)
        made.append(
            Picture(
                "scan",
                "Accuracy against a fixed rate, after trainings of different lengths (the range trials).",
                lambda path: plot_rate_scan(scan, path, good=good, measured_on=found.split),
            )
        )
    return made


def write_pictures(folder: Path, made: Iterable[Picture]) -> list[Path]:
    """Write every picture as PNG and SVG into `folder`, which is made if need be, or none. Raises RunError."""
    files = {f"{picture.name}.{ending}": picture for picture in made for ending in ("png", "svg")}
    with all_or_none(folder, files):
        for name, picture in files.items():
            picture.draw(folder / name)
    return [folder / name for name in files]


def _curves(found: RunResults, rows: Iterable[RankedPolicy]) -> list[Curve]:
    seen = _first_trials(found)
    return [
        Curve(
            row.policy.name,
            row.policy.info.family,
            drawable(row.policy, seen[row.policy]),
            [m.iteration for m in seen[row.policy]],
            [m.evaluation.top1 for m in seen[row.policy]],
            [m.evaluation.loss for m in seen[row.policy]],
        )
        for row in rows
    ]


def _rates_of(found: RunResults, rows: Iterable[RankedPolicy]) -> dict[str, Schedule]:
    seen = _first_trials(found)
    return {f"{row.rank} {row.policy.name}": drawable(row.policy, seen[row.policy]) for row in rows}


def _first_trials(found: RunResults) -> dict[AnyPolicy, tuple[Measurement, ...]]:
    """What the first completed trial of each policy measured."""
    seen: dict[AnyPolicy, tuple[Measurement, ...]] = {}
    for trial in found.of_stage(found.stage):
        if trial.status is TrialStatus.COMPLETED:
            seen.setdefault(policy_from_dict(trial.spec.policy), found.measurements[trial.id])
    return seen


def _candidates(rows: Iterable[RankedPolicy]) -> list[Candidate]:
    points = [(row, row.iterations_at_best, row.selection.top1) for row in rows]

    def is_beaten(cost: float, top1: float) -> bool:
        return any(c.mean <= cost and a.mean >= top1 and (c.mean, a.mean) != (cost, top1) for _, c, a in points)

    return [
        Candidate(
            row.policy.name,
            row.policy.info.family,
            cost.mean,
            top1.mean,
            cost.deviation,
            top1.deviation,
            not is_beaten(cost.mean, top1.mean),
        )
        for row, cost, top1 in points
    ]


def _scan(found: RunResults) -> dict[int, dict[float, float]]:
    """Iterations -> fixed rate -> Top-1 of the range trials, NaN for those that diverged; a few of the lengths."""
    lines: dict[int, dict[float, float]] = {}
    trials = [trial for trial in found.of_stage("range") if trial.spec.policy["lr_policy"] == "fixed"]
    for trial in trials:
        for measurement in found.measurements.get(trial.id, ()):
            if measurement.iteration:
                line = lines.setdefault(measurement.iteration, {})
                line[trial.spec.policy["base_lr"]] = measurement.evaluation.top1
    if not lines:
        return {}
    for trial in trials:
        if trial.status is TrialStatus.DIVERGED:
            lines[max(lines)][trial.spec.policy["base_lr"]] = math.nan
    lengths = sorted(lines)
    step = math.ceil(len(lengths) / _MOST_LENGTHS)
    return {length: lines[length] for length in sorted(lengths[::-1][::step])}


def _good_range(found: RunResults, scan: dict[int, dict[float, float]]) -> tuple[float, float] | None:
    """The range that the longest trainings of the scan give, if any rate learned."""
    line = scan[max(scan)]
    try:
        seen = (m for trial in found.of_stage("range") for m in found.measurements.get(trial.id, ()))
        classes = found.run.task.dataset.class_count
        good = fix_range(line, classes, Unlearned.of(seen, classes))
    except (RunError, InputError):
        return None
    return (good.low, good.high) if good.low < good.high else None
