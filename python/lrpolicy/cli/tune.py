"""`lrpolicy tune`: from a solver prototxt to a ranked list of policies, the winner's prototxt and a picture."""

from __future__ import annotations

import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console

from lrpolicy import zoo
from lrpolicy.cli.common import console, data_folder, examples, json_option, print_json, read_solver
from lrpolicy.cli.progress import TuneProgress
from lrpolicy.cli.versions import hardware, versions
from lrpolicy.database import Database, RunState, connect
from lrpolicy.engines import load_engine
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError, InterruptedRun, LrpolicyError, did_you_mean
from lrpolicy.evaluator import Evaluator, Plan
from lrpolicy.executors.local import LocalExecutor
from lrpolicy.policies import canonical_name
from lrpolicy.records import Protocol
from lrpolicy.reports.results import ranked_table, ranking_rows, write_results
from lrpolicy.search import paper_functions
from lrpolicy.solver import Solver

EXAMPLES = examples(
    "lrpolicy tune digits",
    "lrpolicy tune mnist-lenet --data ~/mnist --policies inv,tri2,sin2 --max-iter 2000",
    "lrpolicy tune my_solver.prototxt --seeds 5 --workers 4",
    "lrpolicy tune --resume",
)


@dataclass(frozen=True)
class Settings:
    """What the user asked for, as the database keeps it, so that --resume asks for the same."""

    target: str
    data: str | None
    policies: str | None
    max_iter: int | None
    scan_iter: int | None
    test_interval: int | None
    candidates: int
    seeds: int
    seed: int
    protocol: str
    engine: str
    device: str
    workers: int | None

    def job(self, solver: Solver) -> TrainingJob:
        """What all trials share."""
        cores = len(os.sched_getaffinity(0))
        return TrainingJob(
            solver,
            data=None if self.data is None else Path(self.data),
            test_interval=self.test_interval,
            protocol=Protocol(self.protocol),
            device=self.device,
            threads=max(1, cores // self.places),
        )

    @property
    def places(self) -> int:
        """Trials at a time: one for each core, or one for a GPU."""
        cores = len(os.sched_getaffinity(0))
        return self.workers or (cores if self.device == "cpu" else 1)

    def plan(self, solver: Solver) -> Plan:
        """What the evaluator tries. Raises InputError for a policy that is not one of the paper's 13."""
        max_iter = self.max_iter or solver.message.max_iter
        return Plan(
            functions=tuple(paper_functions() if self.policies is None else _functions(self.policies)),
            max_iter=max_iter,
            scan_iter=self.scan_iter or max(1, max_iter // 4),
            candidates=self.candidates,
            seeds=self.seeds,
            first_seed=self.seed,
        )


@click.command(epilog=EXAMPLES)
@click.argument("target", required=False)
@click.option("--data", type=click.Path(path_type=Path), help="Folder with the data: MNIST, CIFAR-10 or LMDB.")
@click.option("--policies", help="Policies to try, separated by commas.  [default: the paper's 13]")
@click.option("--max-iter", type=click.IntRange(1), help="Iterations of a trial.  [default: the solver's max_iter]")
@click.option("--scan-iter", type=click.IntRange(1), help="Those of a range trial.  [default: a quarter of a trial]")
@click.option("--test-interval", type=click.IntRange(1), help="Between measurements.  [default: the solver's]")
@click.option("--candidates", type=click.IntRange(1), default=3, show_default=True, help="Candidates of each policy.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Fresh seeds of each finalist.")
@click.option("--seed", type=int, default=1, show_default=True, help="The first seed.")
@click.option(
    "--protocol",
    type=click.Choice([protocol.value for protocol in Protocol]),
    default=Protocol.VALIDATION.value,
    show_default=True,
    help="Select on a validation split, or on the test set as the paper does.",
)
@click.option("--engine", default="torch", show_default=True, help="What trains.")
@click.option("--device", default="cpu", show_default=True, help="Where it trains: cpu, cuda, cuda:1.")
@click.option("--workers", type=click.IntRange(1), help="Trials at a time.  [default: one for each core]")
@click.option("--dsn", help="PostgreSQL server for the results.  [default: LRPOLICY_DSN, else an embedded server]")
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
    **options: Any,
) -> None:
    """Rank the learning-rate policies for TARGET, a solver prototxt or the name of a set-up that lrpolicy ships.

    Finds the range of good rates, tries candidates of every policy, trains the best of each again with fresh seeds,
    and ends with a ranked table, the winner as a solver prototxt, and a picture. Every measurement is stored as it
    happens: an interrupted run goes on with --resume.
    """
    if target is None and not resume:
        raise InputError("tune needs a TARGET", remedy="give a solver prototxt or one of: " + ", ".join(zoo.names()))
    with connect(dsn) as database:
        if resume:
            run, settings = _unfinished(database, target)
        else:
            folder = data_folder(str(target), data)
            run, settings = None, Settings(str(target), None if folder is None else str(folder.resolve()), **options)
        _tune(settings, run, database, out, as_json)


def _tune(settings: Settings, run: int | None, database: Database, out: Path | None, as_json: bool) -> None:
    solver = read_solver(settings.target)
    job, plan = settings.job(solver), settings.plan(solver)
    task = load_engine(settings.engine).describe(job)
    if run is None:
        run = database.start_run(task, asdict(settings), versions=versions(), hardware=hardware())
    else:
        database.resume_run(run)
    with LocalExecutor(settings.places) as executor:
        evaluator = Evaluator(job, task, plan, executor, database, run, settings.engine)
        _follow(evaluator, database)
    ranking = evaluator.ranking()
    title = f"{task.network.name} on {task.dataset.name}, {plan.max_iter} iterations"
    out = out or Path("lrpolicy-results") / f"{Path(settings.target).stem}-{run}"
    files = write_results(out, title, solver, ranking, evaluator.measurements(), plan.max_iter, job.protocol)
    database.finish_run(run, RunState.COMPLETED)
    if as_json:
        places = {name: str(path) for name, path in vars(files).items()}
        print_json({"run": run, "database": database.where, "files": places, "ranking": ranking_rows(ranking)})
        return
    console().print(ranked_table(ranking, job.protocol))
    click.echo(f"The winner as a solver: {files.winner}; the picture: {files.picture}")
    click.echo(f"Everything is kept as run {run} in {database.where}; the files are in {out}/")


def _follow(evaluator: Evaluator, database: Database) -> None:
    """Run to the end, showing progress; mark the run when it does not get there."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with TuneProgress(evaluator.plan, Console(stderr=True)) as progress:
            for event in evaluator.evaluate():
                progress.show(event)
    except KeyboardInterrupt:
        database.finish_run(evaluator.run, RunState.INTERRUPTED)
        raise InterruptedRun(
            f"interrupted; what was measured is kept as run {evaluator.run} in {database.where}; "
            "`lrpolicy tune --resume` goes on from there"
        ) from None
    except LrpolicyError:
        database.finish_run(evaluator.run, RunState.FAILED)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _unfinished(database: Database, target: str | None) -> tuple[int, Settings]:
    """The latest run that did not end. Raises InputError when there is none."""
    for run in reversed(database.runs()):
        if run.state is not RunState.COMPLETED and target in (None, run.settings["target"]):
            return run.id, Settings(**run.settings)
    of_target = "" if target is None else f' of "{target}"'
    raise InputError(
        f"no unfinished run{of_target} to resume", where=database.where, remedy="start one without --resume"
    )


def _functions(names: str) -> list[str]:
    known = paper_functions()
    functions = [canonical_name(name.strip())[0] for name in names.split(",") if name.strip()]
    for name in functions:
        if name not in known:
            raise InputError(f'--policies: "{name}" is not one of the 13 policies', remedy=did_you_mean(name, known))
    return list(dict.fromkeys(functions))
