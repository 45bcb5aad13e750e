"""`lrpolicy tune`: from a solver prototxt to a ranked list of policies, the winner's prototxt and a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, astuple, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from lrpolicy import zoo
from lrpolicy.cli.common import (
    COUNT,
    ITERATIONS,
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
    waiting,
    wanted_goal,
)
from lrpolicy.cli.interruption import held
from lrpolicy.cli.progress import TuneProgress
from lrpolicy.cli.tune_run import refuse_changes, running, unfinished
from lrpolicy.cli.tune_settings import Settings
from lrpolicy.database import Database, RunState, Setting, connect
from lrpolicy.engines import load_engine
from lrpolicy.errors import InputError
from lrpolicy.evaluator import (
    SEARCHES,
    Budget,
    Evaluator,
    NotPromoted,
    Plan,
    expected,
    iterations_per_epoch,
    known_leaders,
    known_range,
    origin_text,
    setting_of,
)
from lrpolicy.executors.local import LocalExecutor
from lrpolicy.goals import GOALS, find_goal
from lrpolicy.prototxt.files import check_writable
from lrpolicy.ranking import check_winner
from lrpolicy.records import Protocol, Task
from lrpolicy.reports.gather import steering_split
from lrpolicy.reports.results import parameters_text, results_folder, write_results
from lrpolicy.reports.standings import standings_json, standings_table
from lrpolicy.search import functions_named
from lrpolicy.verdict import Verdict, judge
from lrpolicy.versions import hardware, versions

EXAMPLES = examples(
    "lrpolicy tune digits",
    "lrpolicy tune mnist-lenet --data ~/mnist --policies inv,tri2,sin2 --max-iter 2000",
    'lrpolicy tune my_solver.prototxt --budget "10 minutes" --goal iterations --target 0.97',
    "lrpolicy tune my_solver.prototxt --search grid --seeds 5 --workers 4",
    "lrpolicy tune --resume",
)

_RESULTS = Path("lrpolicy-results")


@click.command(epilog=EXAMPLES)
@click.argument("target", required=False)
@click.option("--data", type=click.Path(path_type=Path), help="Folder with the data: MNIST, CIFAR-10 or LMDB.")
@click.option(
    "--policies",
    callback=checked(functions_named),
    help="Names, or paper, adaptive, all.  [default: the paper's 13, or after a like task's ranking its five]",
)
@click.option("--max-iter", type=ITERATIONS, help="Iterations of a trial.  [default: the solver's max_iter]")
@click.option("--scan-iter", type=ITERATIONS, help="Those of a range trial.  [default: a quarter of a trial, or less]")
@click.option("--test-interval", type=ITERATIONS, help="Between measurements.  [default: the solver's]")
@click.option("--candidates", type=COUNT, default=3, show_default=True, help="Candidates of each policy.")
@click.option("--seeds", type=COUNT, default=3, show_default=True, help="Fresh seeds of each finalist.")
@click.option("--seed", type=SEED, default=1, show_default=True, help="The first seed.")
@click.option(
    "--search",
    type=click.Choice(SEARCHES),
    default="halving",
    show_default=True,
    help="Shrink candidates to short rungs and promote the best, let Optuna ask and prune, or train each in full.",
)
@click.option(
    "--budget",
    callback=checked(Budget.parse),
    help='For all stages together: "20000" iterations, "30 epochs" or "10 minutes".',
)
@click.option(
    "--goal", type=click.Choice(list(GOALS)), default="accuracy", show_default=True, help="What the best means."
)
@click.option("--target", "top1", type=float, metavar="TOP-1", help="The Top-1 to reach, as in 0.97, for such goals.")
@click.option("--cold", is_flag=True, help="Start anew, whatever the database has stored.")
@click.option(
    "--protocol",
    type=click.Choice([protocol.value for protocol in Protocol]),
    default=Protocol.VALIDATION.value,
    show_default=True,
    help="Select on a validation split, or on the test set as the paper does.",
)
@click.option("--engine", default="torch", show_default=True, help="What trains: torch, or caffe.")
@click.option("--device", default="cpu", show_default=True, help="Where it trains: cpu, cuda, cuda:1.")
@click.option("--workers", type=click.IntRange(1), help="Trials at a time.  [default: one for each core]")
@dsn_option("PostgreSQL server for the results.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where the files go.  [default: lrpolicy-results/NAME-RUN]"
)
@click.option("--resume", is_flag=True, help="Go on with the latest run that did not end (of TARGET, if given).")
@json_option
def tune(
    target: str | None,
    dsn: str | None,
    out: Path | None,
    resume: bool,
    as_json: bool,
    data: Path | None,
    cold: bool,
    **options: Any,
) -> None:
    """Rank the learning-rate policies for TARGET, a solver prototxt or the name of a set-up that lrpolicy ships.

    Takes the range of good rates from the database or finds it, tries candidates of every policy, trains the best of
    each again with fresh seeds, and ends with a ranked table, the winner as a solver prototxt, and a picture. Every
    measurement is stored as it happens: an interrupted run goes on with --resume.
    """
    if target is None and not resume:
        raise InputError("tune needs a TARGET", remedy="give a solver prototxt or one of: " + ", ".join(zoo.names()))
    wanted_goal(options["goal"], options["top1"])
    with connect(dsn) as database:
        if resume:
            run, settings = unfinished(database, target)
            refuse_changes(click.get_current_context(), run, settings)
        else:
            folder = data_folder(str(target), data)
            run, settings = None, Settings(str(target), None if folder is None else str(folder.resolve()), **options)
        _tune(settings, run, database, out, as_json, cold)


def _tune(settings: Settings, run: int | None, database: Database, out: Path | None, as_json: bool, cold: bool) -> None:
    check_writable(out or _RESULTS)  # before the trainings, not after
    solver = read_solver(settings.target)
    if settings.test_interval is not None:  # so that the winner's prototxt tests as its trials did
        solver = solver.with_policy(solver.policy, test_interval=settings.test_interval)
    job = settings.job(solver)
    with waiting("reading the net and its data"):
        with held():
            engine = load_engine(settings.engine)
        task = engine.describe(job)
    note_nets(solver)
    with naming("--search"):
        plan = settings.plan(solver)
    if run is None and not cold:
        settings = _warmed(settings, database, task, settings.wanted(job), plan)
        plan = settings.plan(solver)
    with naming("--budget"):  # one that is too small is said before the run
        expected(plan, iterations_per_epoch(task, setting_of(job)))
    with running(_begin(run, settings, task, database), database, out) as kept:
        with LocalExecutor(settings.places) as executor, kept.going_on():
            evaluator = Evaluator(job, task, plan, executor, database, kept.id, settings.engine, places=settings.places)
            _follow(evaluator, settings)
        ranking = evaluator.ranking()
        remedy = "--cold finds the range anew" if plan.range else "check the net and its data"
        check_winner(ranking, more=f"; {kept}; {remedy}")
        title = f"{task.network.name} on {task.dataset.name}, {plan.max_iter} iterations"
        with kept.going_on():
            out = out or results_folder(_RESULTS / f"{Path(settings.target).stem}-{kept.id}", kept.key)
            measured = evaluator.measurements()
            files = write_results(out, kept.key, title, solver, ranking, measured, plan.max_iter, job.protocol)
        database.finish_run(kept.id, RunState.COMPLETED)
    verdict = judge(ranking, plan.goal, np.random.default_rng(0))
    if as_json:
        where = {
            "run": kept.id,
            "database": database.where,
            "files": {name: str(path) for name, path in vars(files).items()},
        }
        print_json(where | _found_json(settings, evaluator, verdict))
        return
    click.echo(f"{title}, ranked under {plan.goal.name}: {plan.goal.words}")
    screen = console()
    screen.print(standings_table(verdict, steering_split(job.protocol), width=screen.width))
    for line in (*verdict.words(), *map(_unranked_text, evaluator.not_promoted), _spent_text(evaluator)):
        click.echo(line)
    click.echo(f"The winner as a solver: {files.winner}; the picture: {files.picture}")
    click.echo(f"Everything is kept as run {kept.id} in {database.where}; the files are in {out}/")


def _begin(run: int | None, settings: Settings, task: Task, database: Database) -> Callable[[], int]:
    """What begins this run of the database, or a new one, and gives its id."""
    if run is None:
        return partial(database.start_run, task, asdict(settings), versions=versions(), hardware=hardware())
    return partial(database.resume_run, run)


def _warmed(settings: Settings, database: Database, task: Task, setting: Setting, plan: Plan) -> Settings:
    """The settings, from which came this plan, with what the database knows of a task like this."""
    known = known_range(database, task, setting, plan, Protocol(settings.protocol))
    if known is None:
        return settings
    settings = replace(settings, range=astuple(known.range), range_from=origin_text(known))
    leaders = known_leaders(database, task, setting, find_goal(settings.goal, settings.top1))
    if settings.policies is not None or leaders is None:
        return settings
    return replace(settings, leaders=leaders.functions, leaders_from=str(leaders))


def _found_json(settings: Settings, evaluator: Evaluator, verdict: Verdict) -> dict[str, Any]:
    return {
        "goal": verdict.goal.name,
        "target": verdict.goal.target,
        "range_from": settings.range_from,
        "leaders_from": settings.leaders_from,
        "iterations": evaluator.spent(),
        "ranking": standings_json(verdict),
        "not_promoted": [_unranked_json(left) for left in evaluator.not_promoted],
    }


def _unranked_json(left: NotPromoted) -> dict[str, Any]:
    row = left.row
    return {
        "function": left.function,
        "iterations": left.iterations,
        "policy": None if row is None else row.policy.to_dict(),
        "top1": None if row is None else row.selection.top1.mean,
    }


def _unranked_text(left: NotPromoted) -> str:
    if left.row is None:
        return f"not promoted: {left.function}, none of whose candidates completed a trial"
    top1 = 100 * left.row.selection.top1.mean
    return (
        f"not promoted: {left.function}, at best {top1:.2f} % after {left.iterations} iterations "
        f"({parameters_text(left.row.policy)})"
    )


def _spent_text(evaluator: Evaluator) -> str:
    spent, budget = evaluator.spent(), evaluator.plan.budget
    parts = ", ".join(f"{stage} {iterations}" for stage, iterations in spent.items())
    return f"Spent {sum(spent.values())} iterations ({parts})" + (f" of a budget of {budget}" if budget else "")


def _follow(evaluator: Evaluator, settings: Settings) -> None:
    """Run to the end, showing progress."""
    _announce(evaluator, settings)
    with TuneProgress(evaluator) as progress:
        for event in evaluator.evaluate():
            progress.show(event)


def _announce(evaluator: Evaluator, settings: Settings) -> None:
    """Say, before anything trains, where the range comes from and what is known of the cost."""
    scan, layout = expected(evaluator.plan, evaluator.iterations_per_epoch)
    if scan is None:
        found = evaluator.plan.range
        note(f"the range of good rates is stored: {found} ({settings.range_from}); --cold finds it anew")
        if settings.leaders is not None:
            led = ", ".join(settings.leaders)
            note(f"only what led before is tried: {led} ({settings.leaders_from}); --policies paper tries all 13")
    else:
        note(f"finding the range of good rates: at most {scan.candidates} trials x {scan.iterations} iterations")
    budget = f" of a budget of {evaluator.plan.budget}" if evaluator.plan.budget else ""
    if layout is not None:
        note(f"at most {layout.iterations + (scan.cost if scan else 0)} iterations{budget}")
    else:
        note(f"a budget of {evaluator.plan.budget}, laid out once the speed is known")
