"""`lrpolicy range-test`: the interval of good rates, a suggestion, how sure both are, a proof, and a picture."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from lrpolicy.cli.common import (
    COUNT,
    SEED,
    checked,
    console,
    data_folder,
    dsn_option,
    examples,
    json_option,
    naming,
    note,
    note_nets,
    print_json,
    read_solver,
    table,
    waiting,
)
from lrpolicy.cli.interruption import held, interrupted
from lrpolicy.cli.range_progress import RangeProgress
from lrpolicy.engines import load_engine
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError
from lrpolicy.executors.base import Event
from lrpolicy.executors.local import LocalExecutor
from lrpolicy.plots import RangePicture, plot_range
from lrpolicy.plots.picture import picture_format
from lrpolicy.range_test import Confirmation, Control, Estimate, FixTest, RangeTestResult, SmithTest, confirm
from lrpolicy.range_test.trainings import Stage
from lrpolicy.records import Task
from lrpolicy.sweeps import Sweep

# Where a sweep begins and ends unless the user says otherwise.
LOW = 1e-5
HIGH = {"log": 10.0, "linear": 1.0}
# A sweep takes two epochs, within these bounds: shorter ones are right less often (benchmarks/bench_range_test.py).
LEAST_ITERATIONS, MOST_ITERATIONS = 200, 500
MOST_CONFIRMING_SEEDS, MOST_CONFIRMING_ITERATIONS = 2, 300
# The options that only one of the methods has.
OWN_OPTIONS = {"smith": ("scale", "by", "low", "high"), "fix": ("budgets",)}

EXAMPLES = examples(
    "lrpolicy range-test digits",
    "lrpolicy range-test mnist-lenet --data ~/mnist --by accuracy --plot lenet.png",
    "lrpolicy range-test my_solver.prototxt --low 1e-4 --high 1 --scale linear",
    "lrpolicy range-test digits --method fix --budgets 1,2,4",
)


@dataclass(frozen=True)
class Settings:
    """What the user asked for."""

    method: str
    scale: str
    by: str
    low: float | None
    high: float | None
    iterations: int | None
    budgets: str
    seeds: int
    seed: int
    engine: str
    device: str
    workers: int | None

    @property
    def places(self) -> int:
        """Trainings at a time: one for each core, or one for a GPU."""
        return self.workers or (len(os.sched_getaffinity(0)) if self.device == "cpu" else 1)

    @property
    def searching_seeds(self) -> tuple[int, ...]:
        """The seeds that find the interval."""
        return tuple(range(self.seed, self.seed + self.seeds))

    @property
    def confirming_seeds(self) -> tuple[int, ...]:
        """Other seeds, that prove it."""
        first = self.seed + self.seeds
        return tuple(range(first, first + min(self.seeds, MOST_CONFIRMING_SEEDS)))

    def sweep(self, epoch: int) -> Sweep:
        """The rates of Smith's test. Raises InputError for ends that are no range."""
        iterations = self.iterations or min(max(2 * epoch, LEAST_ITERATIONS), MOST_ITERATIONS)
        low, high = LOW if self.low is None else self.low, HIGH[self.scale] if self.high is None else self.high
        return Sweep(low, high, iterations, "linear" if self.scale == "linear" else "log")


def _budgets(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch(r"0*[1-9][0-9]{0,4}", part) for part in parts):
        rule = "these are whole numbers of epochs, from 1 to 99999"
        raise InputError(rule, got=f'"{text}"', remedy="for example 1,2,4")
    return tuple(sorted({int(part) for part in parts}))


@click.command("range-test", epilog=EXAMPLES)
@click.argument("solver")
@click.option("--data", type=click.Path(path_type=Path), help="Folder with the data: MNIST, CIFAR-10 or LMDB.")
@click.option(
    "--weights", type=click.Path(exists=True, path_type=Path), help="Start from the weights of a .caffemodel."
)
@click.option(
    "--method",
    type=click.Choice(["smith", "fix"]),
    default="smith",
    show_default=True,
    help="Raise the rate within a training, or scan constant rates for a few epoch budgets.",
)
@click.option(
    "--scale", type=click.Choice(["log", "linear"]), default="log", show_default=True, help="How the rate rises."
)
@click.option(
    "--by",
    type=click.Choice(["loss", "accuracy"]),
    default="loss",
    show_default=True,
    help="Judge by each iteration's training loss, or by validation Top-1, measured 50 times.",
)
@click.option("--low", type=float, help="The sweep's first rate.  [default: 1e-5]")
@click.option("--high", type=float, help="The sweep's last rate.  [default: 10, linear 1]")
@click.option("--iterations", type=click.IntRange(30, 2**31 - 1), help="Of a sweep.  [default: two epochs, 200 to 500]")
@click.option(
    "--budgets",
    callback=checked(_budgets),
    default="1,2,4",
    show_default=True,
    help="Epochs after which the FIX scan looks.",
)
@click.option("--seeds", type=COUNT, default=5, show_default=True, help="How many seeds.")
@click.option("--seed", type=SEED, default=1, show_default=True, help="The first seed.")
@click.option("--confirm/--no-confirm", "confirming", default=True, help="Train inside and outside the interval after.")
@click.option("--engine", default="torch", show_default=True, help="What trains.")
@click.option("--device", default="cpu", show_default=True, help="Where it trains: cpu, cuda, cuda:1.")
@click.option("--workers", type=click.IntRange(1), help="Trainings at a time.  [default: one for each core]")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="The picture's file.  [default: range-test-NAME.png, here]"
)
@click.option("--keep/--no-keep", default=True, help="Store the result, for tune and recommend.  [default: keep]")
@dsn_option("PostgreSQL server to keep it in.")
@json_option
def range_test(
    solver: str,
    data: Path | None,
    weights: Path | None,
    confirming: bool,
    plot: Path | None,
    keep: bool,
    dsn: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the range of good learning rates for SOLVER, a solver prototxt or the name of a set-up that lrpolicy ships.

    Trains a few epochs for each seed, on the training data, with fresh weights; the test set, the solver's files and
    its snapshots are left alone. Ends with the interval, a suggestion, how sure both are over the seeds, a short proof
    against rates outside, and a picture. What it found is kept in the database, where tune and recommend ask for it;
    a test that starts from --weights is not, because it says nothing about fresh ones.
    """
    settings = Settings(**options)
    _refuse_others(click.get_current_context(), settings.method)
    with naming("--low and --high"):
        settings.sweep(LEAST_ITERATIONS)
    read = read_solver(solver)
    picture = _writable(plot or Path(f"range-test-{Path(solver).stem}.png"))
    places = settings.places
    threads = max(1, len(os.sched_getaffinity(0)) // places)
    job = TrainingJob(read, data=data_folder(solver, data), weights=weights, device=settings.device, threads=threads)
    batch = read.batch_size * read.message.iter_size
    with waiting("reading the net and its data"):
        with held():
            engine = load_engine(settings.engine)
        task = engine.describe(job)
    note_nets(read)
    epoch = max(1, math.ceil(task.dataset.train_size / batch))
    title = f"Range test of {task.network.name} on {task.dataset.name}"
    when = "; a range test keeps nothing before its end, start it again"
    try:
        result, confirmation, length = _measured(settings, job, task, epoch, confirming)
        when = " while its result was shown, kept and drawn"
        with ExitStack() as steps:  # the last of them first, and each whatever becomes of the others
            steps.callback(plot_range, _picture(result, settings), picture, title=title)
            if keep and weights is None:
                steps.callback(_keep, job, task, result, confirmation, length, dsn)
            steps.callback(_show, result, confirmation, picture, as_json)
    except KeyboardInterrupt as by:
        raise interrupted(by, when) from None


def _refuse_others(context: click.Context, method: str) -> None:
    """Raise InputError for an option that the other method has, rather than leave it without effect."""
    for other, names in OWN_OPTIONS.items():
        for name in names:
            if other != method and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                rule = f"--method {method} has no such option, --method {other} has it"
                raise InputError(rule, where=f"--{name}", remedy="leave one of the two out")


def _show(result: RangeTestResult, confirmation: Confirmation | None, picture: Path, as_json: bool) -> None:
    if as_json:
        print_json(_plain(result, confirmation, picture))
    else:
        _print(result, confirmation, picture)


def _measured(
    settings: Settings, job: TrainingJob, task: Task, epoch: int, confirming: bool
) -> tuple[RangeTestResult, Confirmation | None, int]:
    """Train: the result, its proof where one is wanted, and how many iterations a training had."""
    with LocalExecutor(settings.places) as executor, RangeProgress() as progress:
        test = _test(settings, job, task, epoch, executor)
        result = progress.follow(test.steps())
        confirmation = None
        if confirming:
            confirmation = progress.follow(_confirmation(settings, job, result, epoch, executor))
    return result, confirmation, test.length


def _keep(
    job: TrainingJob,
    task: Task,
    result: RangeTestResult,
    confirmation: Confirmation | None,
    length: int,
    dsn: str | None,
) -> None:
    """Store the result for tune and recommend."""
    from lrpolicy.database import connect
    from lrpolicy.database.range_tests import store_range_test
    from lrpolicy.evaluator import setting_of
    from lrpolicy.range_test.keeping import stored_result

    found = stored_result(result, confirmation, replace(setting_of(job), max_iter=length))
    with connect(dsn) as database:
        number = store_range_test(database, task, found)
        note(f"kept as range test {number} in {database.where}, where tune and recommend ask for it")


def _test(settings: Settings, job: TrainingJob, task: Task, epoch: int, executor: LocalExecutor) -> SmithTest | FixTest:
    seeds, engine = settings.searching_seeds, settings.engine
    if settings.method == "fix":
        classes = task.dataset.class_count
        return FixTest(job, epoch, classes, executor, _budgets(settings.budgets), seeds, engine)
    by = "accuracy" if settings.by == "accuracy" else "loss"
    return SmithTest(job, settings.sweep(epoch), executor, seeds, by, engine)  # type: ignore[arg-type]


def _confirmation(
    settings: Settings, job: TrainingJob, result: RangeTestResult, epoch: int, executor: LocalExecutor
) -> Generator[Stage | Event, None, Confirmation]:
    length = min(settings.sweep(epoch).iterations, MOST_CONFIRMING_ITERATIONS)
    return confirm(job, result, executor, iterations=length, seeds=settings.confirming_seeds, engine=settings.engine)


def _writable(path: Path) -> Path:
    """The path, found good before any training is spent on it."""
    picture_format(path)
    if not path.parent.is_dir():
        raise InputError("no such folder", where=str(path.parent), remedy="the picture goes there")
    return path


def _picture(result: RangeTestResult, settings: Settings) -> RangePicture:
    return RangePicture(
        rates=result.median.rates,
        seeds=[curve.values for curve in result.curves],
        median=result.median.values,
        measure=result.judged_by,
        low=result.low.value,
        suggestion=result.suggestion.value,
        high=result.high.value,
        valley=result.valley.value,
        scale=settings.scale if result.method == "smith" else "log",
    )


def _print(result: RangeTestResult, confirmation: Confirmation | None, picture: Path) -> None:
    meanings = (
        ("low", result.low, "min of a cyclic policy"),
        ("suggestion", result.suggestion, "for a constant rate"),
        ("high", result.high, "max of a cyclic policy, start of a decaying one"),
        ("valley", result.valley, "the baseline rule's suggestion, to compare"),
    )
    rows = [(name, *_rates(found), use) for name, found, use in meanings if not math.isnan(found.value)]
    seeds = len(result.curves)
    console().print(table(("", "rate", f"95 % over {seeds} seed{'s' * (seeds > 1)}", "use"), rows))
    if confirmation is not None:
        heads = ("confirmation", "policy", "validation loss", "Top-1")
        console().print(table(heads, [_row(control, confirmation) for control in confirmation.controls]))
        held = "held" if confirmation.held else "did NOT hold"
        click.echo(
            f"The interval {held}: in {confirmation.iterations} iterations with {confirmation.seeds} other seed(s), "
            f"{'both' if confirmation.held else 'not both'} trainings inside beat both outside by {result.judged_by}."
        )
    low, high = result.range.cycle
    cycle = f"a cycle from base_lr: {low:.3g} to max_lr: {high:.3g}"
    click.echo(f"In a solver: base_lr: {result.suggestion.value:.3g}, or {cycle}")
    click.echo(f"The picture: {picture}; {result.iterations} iterations were spent on finding the interval")
    for text in result.notes:
        note(text)


def _rates(found: Estimate) -> tuple[str, str]:
    sure = "" if math.isnan(found.low) else f"{found.low:.3g} to {found.high:.3g}"
    return f"{found.value:.3g}", sure


def _row(control: Control, confirmation: Confirmation) -> tuple[str, ...]:
    fields = ", ".join(f"{name}={value:g}" for name, value in control.policy.parameters.items())
    policy = f"{control.policy.name}: {fields}"
    if control.diverged:
        return control.name, policy, f"{control.diverged} of {confirmation.seeds} diverged", ""
    return control.name, policy, f"{control.loss:.4f}", f"{100 * control.top1:.2f} %"


def _plain(result: RangeTestResult, confirmation: Confirmation | None, picture: Path) -> dict[str, Any]:
    """Everything as JSON has it: numbers that are not finite become null."""
    estimates = {
        name: {part: _number(value) for part, value in vars(getattr(result, name)).items()}
        for name in ("low", "suggestion", "high", "valley")
    }
    proof = None
    if confirmation is not None:
        controls = [
            {
                "name": control.name,
                "inside": control.inside,
                "policy": control.policy.to_dict(),
                "loss": _number(control.loss),
                "top1": _number(control.top1),
                "diverged": control.diverged,
            }
            for control in confirmation.controls
        ]
        proof = {"held": confirmation.held, "seeds": confirmation.seeds, "iterations": confirmation.iterations}
        proof["controls"] = controls  # type: ignore[assignment]
    return {
        "method": result.method,
        "by": result.judged_by,
        **estimates,
        "confirmation": proof,
        "iterations": result.iterations,
        "rates": list(result.median.rates),
        "curves": {str(curve.seed): [_number(value) for value in curve.values] for curve in result.curves},
        "median": [_number(value) for value in result.median.values],
        "notes": list(result.notes),
        "picture": str(picture),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
