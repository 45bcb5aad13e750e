"""What a tuning run leaves for its user: the ranked table, the winner as a solver, the picture."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from lrpolicy.errors import RunError
from lrpolicy.plots import Curve, plot_curves
from lrpolicy.prototxt.files import all_or_none, write_bytes
from lrpolicy.ranking import RankedPolicy, Spread, check_winner
from lrpolicy.records import Measurement, Protocol
from lrpolicy.reports.measured_rates import drawable
from lrpolicy.solver import Solver
from lrpolicy.stateful import AnyPolicy

_TABLE = "ranking.json"


@dataclass(frozen=True)
class ResultFiles:
    """Where the results lie."""

    winner: Path
    picture: Path
    table: Path


def results_folder(wanted: Path, run: str) -> Path:
    """`wanted`, or where another run's results stand there (each database counts its runs), `wanted` with "-2", "-3".

    `run` is the UUID of the run.
    """
    numbered = (wanted.with_name(f"{wanted.name}-{number}") for number in count(2))
    return next(folder for folder in chain([wanted], numbered) if _is_free(folder, run))


def _is_free(folder: Path, run: str) -> bool:
    """Whether the folder is missing, empty or, after a kill, holds results of this very run."""
    try:
        return not any(folder.iterdir()) or json.loads((folder / _TABLE).read_bytes())["run"] == run
    except (OSError, ValueError, TypeError, KeyError):
        return not folder.exists()


def write_results(
    folder: Path,
    run: str,
    title: str,
    solver: Solver,
    ranking: Sequence[RankedPolicy],
    measurements: Mapping[AnyPolicy, Sequence[Measurement]],
    max_iter: int,
    protocol: Protocol,
) -> ResultFiles:
    """Write winner.prototxt (with a copy of its `net` beside it), ranking.png and ranking.json into `folder`, or none.

    ranking.json comes first and names the `run`, by its UUID: whose the folder is. `measurements` holds one trial of
    each ranked policy, for the picture.

    Raises:
        RunError: the folder cannot be written, or nothing was ranked.
    """
    check_winner(ranking)
    winner, table, picture = folder / "winner.prototxt", folder / _TABLE, folder / "ranking.png"
    own_net = folder / "net.prototxt"
    fields: dict[str, object] = {"max_iter": max_iter}
    with all_or_none(folder, [path.name for path in (winner, table, picture, own_net)]):
        content = {"run": run, "ranking": ranking_rows(ranking)}
        write_bytes(table, (json.dumps(content, indent=2) + "\n").encode())
        if solver.message.HasField("net") and solver.net_path:
            write_bytes(own_net, _content(solver.net_path))
            fields["net"] = _as_caffe_finds_it(own_net)
        solver.with_policy(ranking[0].policy, **fields).write(winner)
        split = "test" if protocol is Protocol.PAPER else "validation"
        plot_curves(_curves(ranking, measurements), max_iter, picture, title=title, measured_on=split)
    return ResultFiles(winner, picture, table)


def _content(net: Path) -> bytes:
    """The net for a copy in another folder: files that were found beside it are named as Caffe finds them."""

    def found(match: re.Match[bytes]) -> bytes:
        name = Path(os.fsdecode(match[3]))
        beside = net.parent / name
        if name.exists() or not beside.exists():
            return match[0]
        return match[1] + match[2] + os.fsencode(_as_caffe_finds_it(beside)) + match[2]

    try:
        return re.sub(rb"""(\b(?:source|mean_file)\s*:\s*)(["'])(.*?)\2""", found, net.read_bytes())
    except OSError as error:
        raise RunError(f"{net}: the net cannot be copied beside the winner: {error.strerror}") from None


def ranking_rows(ranking: Sequence[RankedPolicy]) -> list[dict[str, Any]]:
    """The ranked table as plain values for JSON; NaN becomes None."""
    rows = []
    for row in ranking:
        metrics = {
            split: {name: _spread(spread) for name, spread in vars(of).items()}
            for split, of in (("selection", row.selection), ("test", row.test))
        }
        rows.append(
            {
                "rank": row.rank,
                "policy": row.policy.to_dict(),
                "seeds": list(row.seeds),
                "diverged": row.diverged,
                **metrics,
                "parameter_count": row.parameter_count,
                "iterations_at_best": _spread(row.iterations_at_best),
            }
        )
    return rows


def parameters_text(policy: AnyPolicy) -> str:
    """A policy's parameters on one line, as short as they can be read: base_lr 0.01  max_lr 0.06  stepsize 2000."""
    return "  ".join(f"{field} {_short(value)}" for field, value in policy.parameters.items())


def _curves(ranking: Sequence[RankedPolicy], measurements: Mapping[AnyPolicy, Sequence[Measurement]]) -> list[Curve]:
    curves = []
    for row in ranking:
        seen = measurements.get(row.policy, ())
        curves.append(
            Curve(
                label=row.policy.name,
                family=row.policy.info.family,
                schedule=drawable(row.policy, seen),
                iterations=[m.iteration for m in seen],
                accuracy=[m.evaluation.top1 for m in seen],
                loss=[m.evaluation.loss for m in seen],
            )
        )
    return curves


def _as_caffe_finds_it(path: Path) -> str:
    """Caffe looks from the current directory: a relative path below it, else an absolute one."""
    relative = os.path.relpath(path)
    return str(path.resolve()) if relative.startswith("..") else relative


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def percent(spread: Spread) -> str:
    """A ratio in per cent with its deviation over seeds: 98.84 ± 0.80; a dash for NaN."""
    if math.isnan(spread.mean):
        return "-"
    deviation = "" if math.isnan(spread.deviation) else f" ± {100 * spread.deviation:.2f}"
    return f"{100 * spread.mean:.2f}{deviation}"


def _spread(spread: Spread) -> dict[str, float | None]:
    numbers = {"mean": spread.mean, "deviation": spread.deviation}
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
