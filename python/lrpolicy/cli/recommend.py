"""`lrpolicy recommend`: policies for a task, from what the database knows; nothing is trained, no engine is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrpolicy import zoo
from lrpolicy.cli.common import (
    console,
    data_folder,
    dsn_option,
    examples,
    json_option,
    note,
    print_json,
    read_solver,
    wanted_goal,
)
from lrpolicy.database import Setting, connect
from lrpolicy.database.stored import StoredRangeTest
from lrpolicy.engines.description import describe
from lrpolicy.goals import GOALS, Goal
from lrpolicy.net import Net
from lrpolicy.prototxt import messages, text
from lrpolicy.recommend import Basis, NothingNearError, Recommendation, StoredRange, distance_text, stored_range
from lrpolicy.recommend import recommend as ask
from lrpolicy.reports.ranked_tables import ranked_tables
from lrpolicy.reports.results import parameters_text

if TYPE_CHECKING:
    from lrpolicy.solver import Solver

EXAMPLES = examples(
    "lrpolicy recommend mnist-lenet --data ~/mnist",
    "lrpolicy recommend my_solver.prototxt --goal iterations --target 0.97",
    "lrpolicy recommend my_net.prototxt --data ~/cifar10 --top 5 --json",
)


@click.command(epilog=EXAMPLES)
@click.argument("target")
@click.option("--data", type=click.Path(path_type=Path), help="Folder with the data: MNIST, CIFAR-10 or LMDB.")
@click.option(
    "--goal", type=click.Choice(list(GOALS)), default="accuracy", show_default=True, help="What the best means."
)
@click.option("--target", "target_top1", type=float, metavar="TOP-1", help="The Top-1 to reach, as in 0.97.")
@click.option(
    "--top", type=click.IntRange(1, 100), default=3, show_default=True, metavar="N", help="How many policies."
)
@click.option("--engine", default="torch", show_default=True, help="The engine that will train: the task's framework.")
@dsn_option()
@json_option
def recommend(
    target: str,
    data: Path | None,
    goal: str,
    target_top1: float | None,
    top: int,
    engine: str,
    dsn: str | None,
    as_json: bool,
) -> None:
    """Recommend policies for TARGET (a solver, a net or a shipped set-up) from what is stored.

    Results of the same task come first, then those of similar tasks; each line says how far away it was measured and
    what it rests on. For a solver the policies are carried over to its iterations, batch size and momentum. The range
    of good fixed rates is told where one is known, even where no policy is. Nothing is trained.
    """
    wanted = wanted_goal(goal, target_top1)
    source = _read(target)
    setting = None if isinstance(source, Net) else _setting(source)
    folder = data_folder(target, data)
    with ThreadPoolExecutor(1) as beside:  # the data is read while the server starts
        description = beside.submit(describe, source, folder, framework=engine)
        with connect(dsn) as database:
            task = description.result()
            rates = stored_range(database, task, setting)
            try:
                found = ask(database, task, setting, wanted, top)
            except NothingNearError as nothing:
                if rates is None:
                    raise
                found = []
                note(f"no policy: {nothing}")
    if as_json:
        rows = [_as_json(place, row) for place, row in enumerate(found, start=1)]
        print_json({"goal": goal, "target": target_top1, "recommendations": rows, "range": _range_json(rates)})
        return
    if found:
        screen = console()
        screen.print(_tables(found, wanted, screen.width))
    for line in _explanations(found, rates):
        click.echo(line)


def _read(target: str) -> Solver | Net:
    """The solver that TARGET names, or the net, where that is what the file holds."""
    path = zoo.find(target)
    source = text.read_text(path)
    document = text.parse(source, messages.NetParameter(), str(path))
    if document.message.layer or document.message.layers:
        net = Net.parse(source, str(path))
        for line in net.notes:
            note(line)
        return net
    return read_solver(target)


def _setting(solver: Solver) -> Setting:
    message = solver.message
    batch = solver.batch_size * int(message.iter_size)
    return Setting(message.max_iter, batch, solver.solver_type, message.momentum, message.weight_decay)


def _tables(found: Sequence[Recommendation], goal: Goal, width: int) -> Any:
    averages = [row.average for row in found]
    columns = {
        "Top-1 %": [_percent(average.columns["top1"], average.top1_deviation) for average in averages],
        "test %": [_percent(average.test_top1) for average in averages],
        **({} if goal.measure == "top1" else {goal.heading: [goal.show(row.score) for row in found]}),
        "#Iter": [f"{average.columns['iterations']:.0f}" for average in averages],
        "seeds": [str(average.seeds) for average in averages],
        "distance": [f"{row.basis.distance:.2f}" for row in found],
    }
    names = [(str(place), row.policy.name) for place, row in enumerate(found, start=1)]
    return ranked_tables(names, columns, [parameters_text(row.policy) for row in found], width=width)


def _explanations(found: Sequence[Recommendation], rates: StoredRange | None) -> list[str]:
    """What each recommendation rests on, those with one basis together."""
    groups: dict[tuple[object, ...], list[tuple[int, Recommendation]]] = {}
    for place, row in enumerate(found, start=1):
        basis = row.basis
        key = (basis.task, basis.setting, basis.stage, basis.protocol, basis.test_interval)
        groups.setdefault(key, []).append((place, row))
    lines = []
    for rows in groups.values():
        places, first = ", ".join(str(place) for place, _ in rows), rows[0][1]
        lines.append(f"{places}: {_basis_text(first.basis)}")
        lines += [f"   taken for granted: {told}" for told in first.assumed]
    if rates is not None:
        told = f"{rates.task.network.name} on {rates.task.dataset.name}, {rates.origin}"
        lines.append(f"range of good fixed rates: {rates.range} ({told}, distance {rates.distance:.2f})")
        if rates.test is not None:
            lines.append(f"   {_certainty(rates.test)}")
    return lines


def _certainty(test: StoredRangeTest) -> str:
    """How sure a range test was of the rates that it measured."""
    ends = {"low": test.low, "best": test.suggestion, "high": test.high}
    known = [f"{name} {end.low:.3g} to {end.high:.3g}" for name, end in ends.items() if not math.isnan(end.low)]
    seeds = f"{len(test.seeds)} seed{'s' * (len(test.seeds) != 1)}"
    sure = f"95 % intervals over {seeds}: {', '.join(known)}" if known else f"measured with {seeds}"
    return sure + (", confirmed by a short training" if test.held else "")


def _basis_text(basis: Basis) -> str:
    task, setting = basis.task, basis.setting
    runs = f"{basis.runs} run{'s' * (basis.runs != 1)}"
    imported = f" ({basis.imported_runs} imported)" if basis.imported_runs else ""
    split = "the test set" if basis.protocol == "paper" else "the validation split"
    often = f" every {basis.test_interval} iterations" if basis.test_interval else ""
    return (
        f"{basis.stage} trials of {runs}{imported}, {task.network.name} on {task.dataset.name}, "
        f"measured on {split}{often}: {setting.optimizer}, {setting.max_iter} iterations, batch {setting.batch_size}, "
        f"momentum {setting.momentum:.4g}; distance {basis.distance:.2f}: {distance_text(basis.parts)}"
    )


def _as_json(place: int, row: Recommendation) -> dict[str, Any]:
    basis, average = row.basis, row.average
    return {
        "rank": place,
        "policy": row.policy.to_dict(),
        "measured_policy": row.measured.to_dict(),
        "score": _number(row.score),
        "top1": _number(average.columns["top1"]),
        "top1_deviation": _number(average.top1_deviation),
        "test_top1": _number(average.test_top1),
        "means": {name: _number(value) for name, value in average.columns.items()},
        "seeds": average.seeds,
        "distance": round(basis.distance, 6),
        "distance_parts": {name: round(part, 6) for name, part in basis.parts.items()},
        "basis": {
            "network": basis.task.network.name,
            "dataset": basis.task.dataset.name,
            "framework": basis.task.framework,
            "stage": basis.stage,
            "protocol": str(basis.protocol),
            "test_interval": basis.test_interval,
            "runs": basis.runs,
            "imported_runs": basis.imported_runs,
            "max_iter": basis.setting.max_iter,
            "batch_size": basis.setting.batch_size,
            "optimizer": basis.setting.optimizer,
            "momentum": basis.setting.momentum,
            "weight_decay": basis.setting.weight_decay,
        },
        "assumed": list(row.assumed),
    }


def _range_json(rates: StoredRange | None) -> dict[str, Any] | None:
    if rates is None:
        return None
    span = {"low": rates.range.low, "best": rates.range.best, "high": rates.range.high}
    sure = None
    if rates.test is not None:
        ends = {"low": rates.test.low, "best": rates.test.suggestion, "high": rates.test.high}
        sure = {name: [_number(end.low), _number(end.high)] for name, end in ends.items()}
    return span | {
        "source": rates.source,
        "iterations": rates.setting.max_iter,
        "distance": round(rates.distance, 6),
        "assumed": list(rates.assumed),
        "measured_intervals": sure,
        "held": None if rates.test is None else rates.test.held,
    }


def _percent(mean: float, deviation: float = math.nan) -> str:
    if math.isnan(mean):
        return "-"
    return f"{100 * mean:.2f}" + ("" if math.isnan(deviation) else f" ± {100 * deviation:.2f}")


def _number(value: float) -> float | None:
    """A number as JSON has it: NaN and infinity are null."""
    return value if math.isfinite(value) else None
