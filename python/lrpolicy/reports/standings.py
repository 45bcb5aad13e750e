"""A verdict as rows: one list of columns for the terminal, the report and JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from rich.console import Group

from lrpolicy.ranking import RankedPolicy
from lrpolicy.records import Split
from lrpolicy.reports.ranked_tables import ranked_tables
from lrpolicy.reports.results import parameters_text, percent, ranking_rows
from lrpolicy.verdict import Standing, Verdict

Cell = Callable[[Standing], str]


def columns(verdict: Verdict, split: Split, top: int | None = None) -> dict[str, list[str]]:
    """Heading -> a text for each of the first `top` standings: the confidence, then the eight metrics."""
    goal = verdict.goal
    top1 = {
        "max test %" if split is Split.TEST else f"{split} %": lambda standing: percent(standing.row.selection.top1)
    }
    score = {goal.heading: lambda standing: goal.show(standing.row.score)}
    span = {"95 % interval": lambda standing: interval_text(standing.interval, goal.measure)}
    chance = {goal.probability_heading: lambda standing: probability_text(standing.probability)}
    cells: dict[str, Cell]  # an interval stands beside what it is one of
    if goal.measure == "top1":
        cells = top1 | span | chance
    elif goal.measure is None:
        cells = score | chance | top1 | span
    else:
        cells = score | span | chance | top1
    cells |= _METRICS
    return {heading: [cell(standing) for standing in verdict.top(top)] for heading, cell in cells.items()}


_METRICS: Mapping[str, Cell] = MappingProxyType(
    {
        "test %": lambda standing: percent(standing.row.test.top1),
        "Top-5 %": lambda standing: number(100 * standing.row.selection.top5.mean, ".2f"),
        "AC": lambda standing: number(standing.row.selection.average_confidence.mean, ".4f"),
        "CD": lambda standing: number(standing.row.selection.confidence_deviation.mean, ".4f"),
        "CDAC": lambda standing: number(standing.row.selection.confidence_deviation_across_classes.mean, ".4f"),
        "LD": lambda standing: number(standing.row.selection.loss_difference.mean, "+.4f"),
        "#Iter": lambda standing: number(standing.row.iterations_at_best.mean, ".0f"),
        "#Param": lambda standing: str(standing.row.parameter_count),
    }
)


def standings_table(verdict: Verdict, split: Split, top: int | None = None, *, width: int) -> Group:
    """The ranked table for a terminal of `width` characters, and below it how each policy was set."""
    rows = [standing.row for standing in verdict.top(top)]
    names = [(str(row.rank), row.policy.name) for row in rows]
    return ranked_tables(names, columns(verdict, split, top), [setting_text(row) for row in rows], width=width)


def standings_json(verdict: Verdict, top: int | None = None) -> list[dict[str, Any]]:
    """The ranked table as plain values; what is NaN or infinite becomes None."""
    rows = ranking_rows([standing.row for standing in verdict.top(top)])
    for row, standing in zip(rows, verdict.top(top), strict=True):
        row |= {
            "score": _finite(standing.row.score),
            "interval": [_finite(end) for end in standing.interval],
            "probability": _finite(standing.probability),
        }
    return rows


def setting_text(row: RankedPolicy) -> str:
    """How a policy was set, and how many of its seeds diverged."""
    diverged = f"  ({row.diverged} of {len(row.seeds)} seeds diverged)" if row.diverged else ""
    return parameters_text(row.policy) + diverged


def interval_text(interval: tuple[float, float], measure: str | None) -> str:
    """An interval of a goal's measure, ratios in per cent: 97.92 .. 99.31."""
    if math.isnan(interval[0]):
        return "-"
    low, high = (f"{100 * end:.2f}" if measure in ("top1", None) else f"{end:.4g}" for end in interval)
    return f"{low} .. {high}"


def probability_text(probability: float) -> str:
    """A probability in per cent; what 10,000 resamples cannot tell from 0 or 1 is written so."""
    if math.isnan(probability):
        return "-"
    if 0 < probability < 0.005:
        return "< 1 %"
    return "> 99 %" if 0.995 < probability < 1 else f"{100 * probability:.0f} %"


def number(value: float, form: str) -> str:
    """A number in a format, a dash for NaN."""
    return "-" if math.isnan(value) else format(value, form)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
