"""What tuning costs and finds: halving against the full grid, and against Optuna's TPE with Hyperband.

    python benchmarks/bench_tuning.py candidates [digits] [--candidates 6]
    python benchmarks/bench_tuning.py grid [digits] [--candidates 6] [--share 0.1] [--repetitions 1]
    python benchmarks/bench_tuning.py optuna mnist-lenet --data FOLDER --max-iter 900 --batch-size 64 --repetitions 5

`candidates`: each, shrunk to a ninth and to a third of the training, and in full: what a search can see early of how it
ends. `grid`: every candidate of the 13 functions trains in full with one seed, in the range that the task's own
range test found (its cost is nobody's); halving gets `--share` of the iterations that this took for everything, its own
range test included. `optuna`: both choose among the same candidates, in the same given range, for the same number of
iterations; Hyperband prunes trainings of the full schedule at T/9 and T/3. Whoever recommends a policy: it is trained
again in full with fresh seeds, and its mean test accuracy counts.

Every line of the JSON lines file is one result, written when it is there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna_search import optuna_search

from lrpolicy import solver, zoo
from lrpolicy.database import Database, connect
from lrpolicy.engines import load_engine
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import LrpolicyError
from lrpolicy.evaluator import Budget, Evaluator, Plan, StageStarted, iterations_per_epoch, setting_of
from lrpolicy.evaluator.halving import Candidate, in_turn
from lrpolicy.executors.base import Finished
from lrpolicy.executors.local import LocalExecutor
from lrpolicy.policies import Policy
from lrpolicy.range_test import fix_range
from lrpolicy.records import Task, TrialOutcome
from lrpolicy.search import RateRange, SearchSpace, paper_functions

FUNCTIONS = tuple(paper_functions())
FIRST_FRESH_SEED = 1001


class Bench:
    """A task, where its trials run, and the file of results."""

    def __init__(self, arguments: argparse.Namespace, database: Database, executor: LocalExecutor, home: Path) -> None:
        read = solver.read(_with_batch(zoo.find(arguments.task), arguments.batch_size, home))
        self.max_iter = arguments.max_iter or read.message.max_iter
        self.job = TrainingJob(read, arguments.data, max_iter=self.max_iter, test_interval=arguments.test_interval)
        self.job = replace(self.job, threads=1)
        self.task: Task = load_engine("torch").describe(self.job)
        self.epoch = iterations_per_epoch(self.task, setting_of(self.job))
        self.database, self.executor, self.arguments = database, executor, arguments
        self.confirmed: dict[Policy, list[float]] = {}

    def note(self, show: bool = True, **facts: Any) -> None:
        """Write one result down, and show it."""
        line = json.dumps({"task": self.arguments.task, "max_iter": self.max_iter, **facts})
        self.arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with self.arguments.out.open("a", encoding="utf-8") as out:
            out.write(line + "\n")
        if show:
            print(line, flush=True)

    def evaluator(self, plan: Plan) -> Evaluator:
        run = self.database.start_run(self.task, {})
        return Evaluator(self.job, self.task, plan, self.executor, self.database, run, places=self.arguments.workers)

    def follow(self, evaluator: Evaluator, until: str | None = None) -> Evaluator:
        """Run to the end, or until a stage begins; every trial that ends is a line of the file."""
        with closing(evaluator.evaluate()) as steps:
            for step in steps:
                if isinstance(step, StageStarted) and step.name == until:
                    break
                if isinstance(step, Finished):
                    self._note_trial(evaluator.run, step.trial)
        return evaluator

    def _note_trial(self, run: int, number: int) -> None:
        trial = next(trial for trial in self.database.trials(run=run) if trial.id == number)
        assert trial.outcome is not None
        spec = trial.spec
        self.note(show=False, run=run, **self.row(spec.stage, spec.policy, spec.seed, trial.outcome, spec.max_iter))

    def row(
        self, stage: str, policy: dict[str, Any], seed: int, outcome: TrialOutcome, length: int | None = None
    ) -> dict[str, Any]:
        """The line of a trial; `iterations` is how long it was to be, `cost` how far it came."""
        best, test = outcome.best, outcome.test
        return {
            "what": "trial",
            "stage": stage,
            "iterations": length or self.max_iter,
            "cost": outcome.iterations,
            "seed": seed,
            "policy": policy,
            "status": outcome.status,
            "seconds": outcome.seconds,
            "validation_top1": best.evaluation.top1 if best else None,
            "validation_loss": best.evaluation.loss if best else None,
            "test_top1": test.evaluation.top1 if test else None,
        }

    def candidates(self, found: RateRange, length: int) -> tuple[list[Candidate], list[Policy]]:
        """Every candidate of every function, and the policy that each is in a training of this length."""
        space = SearchSpace(found, length, self.epoch)
        entrants = in_turn(space, FUNCTIONS, self.arguments.candidates)
        return entrants, [self.job.solver.with_policy(entrant.policy(space)).policy for entrant in entrants]

    def confirm(self, policy: Policy, **facts: Any) -> float:
        """The mean test accuracy of the policy over fresh seeds, trained once for whoever chose it."""
        if policy not in self.confirmed:
            seeds = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + self.arguments.fresh_seeds)
            jobs = [replace(self.job, schedule=policy, seed=seed) for seed in seeds]
            found = [e for e in self.executor.run("torch", enumerate(jobs)) if isinstance(e, Finished)]
            found.sort(key=lambda event: event.trial)
            self.confirmed[policy] = [e.outcome.test.evaluation.top1 if e.outcome.test else 0.0 for e in found]
        tests = self.confirmed[policy]
        self.note(what="confirmed", policy=policy.to_dict(), test_top1=tests, mean=fmean(tests), **facts)
        return fmean(tests)


def repetitions(bench: Bench) -> range:
    return range(bench.arguments.first, bench.arguments.first + bench.arguments.repetitions)


def every_candidate(bench: Bench) -> None:
    found = _range(bench)
    for repetition in repetitions(bench):
        seed = 1 + 100 * repetition
        for length in (math.ceil(bench.max_iter / 9), math.ceil(bench.max_iter / 3), bench.max_iter):
            entrants, policies = bench.candidates(found, length)
            shrunk = replace(bench.job, seed=seed, max_iter=length, test_interval=length)
            jobs = [replace(shrunk, schedule=policy) for policy in policies]
            for event in bench.executor.run("torch", enumerate(jobs)):
                if isinstance(event, Finished):
                    number = event.trial
                    row = bench.row("candidates", policies[number].to_dict(), seed, event.outcome, length)
                    bench.note(place=entrants[number].place, **row)


def against_grid(bench: Bench) -> None:
    for repetition in repetitions(bench):
        seed, candidates = 1 + 100 * repetition, bench.arguments.candidates
        facts = {"repetition": repetition, "candidates": candidates}
        best, cost = _grid(bench, seed)
        bench.note(what="grid", iterations=cost, **facts)
        top = bench.arguments.top or bench.confirm(best, method="grid", **facts)
        for first_seed in bench.arguments.halving_seeds or [seed + 50]:
            budget = math.floor(bench.arguments.share * cost)
            halve(bench, budget, first_seed, cost, top, **facts, first_seed=first_seed)


def _grid(bench: Bench, seed: int) -> tuple[Policy, int]:
    """The policy of the grid's best trial, and what all of its trials cost.

    A trial that a file of results holds already is not trained again. Where such a file does not say what a trial cost
    that diverged, that counts as nothing: so the grid costs too little here, never too much.
    """
    _, policies = bench.candidates(_range(bench), bench.max_iter)
    rows = _earlier(bench, seed)
    missing = [policy for policy in policies if _key(policy.to_dict()) not in rows]
    jobs = [replace(bench.job, schedule=policy, seed=seed) for policy in missing]
    for event in bench.executor.run("torch", enumerate(jobs)):
        if isinstance(event, Finished):
            row = bench.row("grid", missing[event.trial].to_dict(), seed, event.outcome)
            rows[_key(row["policy"])] = row
            bench.note(show=False, **row)
    chosen = [rows[_key(policy.to_dict())] for policy in policies]
    best = max(chosen, key=lambda row: row["validation_top1"] or 0.0)
    cost = sum(row.get("cost", row["iterations"] if row["status"] == "completed" else 0) for row in chosen)
    return Policy.from_dict(best["policy"]), cost


def _earlier(bench: Bench, seed: int) -> dict[str, dict[str, Any]]:
    """Policy -> the line of its full training with this seed in the file of results, or in another one."""
    found = {}
    for path in (bench.arguments.grid, bench.arguments.out):
        for line in path.read_text().splitlines() if path and path.exists() else ():
            row = json.loads(line)
            wanted = {
                "task": bench.arguments.task,
                "max_iter": bench.max_iter,
                "iterations": bench.max_iter,
                "seed": seed,
            }
            if row.get("stage") in ("search", "grid") and wanted.items() <= row.items():
                found[_key(row["policy"])] = row
    return found


def _key(policy: dict[str, Any]) -> str:
    return json.dumps(policy, sort_keys=True)


def halve(bench: Bench, budget: int, seed: int, cost: int, top: float, **facts: Any) -> None:
    """Halving from nothing for this budget, beside a grid that cost so much and found this mean test accuracy."""
    plan = Plan(FUNCTIONS, bench.max_iter, candidates=facts["candidates"], first_seed=seed, budget=Budget(budget))
    started = time.perf_counter()
    halving = bench.follow(bench.evaluator(plan))
    spent = halving.spent()
    bench.note(what="halving", iterations=spent, budget=budget, seconds=time.perf_counter() - started, **facts)
    mean = bench.confirm(halving.ranking()[0].policy, method="halving", **facts)
    share = sum(spent.values()) / cost
    bench.note(what="compared", grid=top, halving=mean, points=100 * (mean - top), share=share, **facts)


def against_optuna(bench: Bench) -> None:
    budget = bench.arguments.budget or 10 * bench.max_iter
    found = _range(bench)
    wins = 0
    for repetition in repetitions(bench):
        seed = 1 + 100 * repetition
        plan = Plan(
            FUNCTIONS,
            bench.max_iter,
            candidates=bench.arguments.candidates,
            first_seed=seed,
            range=found,
            budget=Budget(budget),
        )
        ours = bench.follow(bench.evaluator(plan))
        facts = {"repetition": repetition, "budget": budget}
        bench.note(what="halving", iterations=ours.spent(), **facts)
        mean = bench.confirm(ours.ranking()[0].policy, method="halving", **facts)

        space = SearchSpace(found, bench.max_iter, bench.epoch)
        places = {name: space.places(name, bench.arguments.candidates) for name in FUNCTIONS}
        policy, spent, trials = optuna_search(bench.job, space, places, budget, seed)
        bench.note(what="optuna", iterations=spent, trials=trials, **facts)
        theirs = bench.confirm(policy, method="optuna", **facts)
        wins += mean > theirs
        bench.note(what="compared", halving=mean, optuna=theirs, points=100 * (mean - theirs), **facts)
    print(f"halving was better in {wins} of {bench.arguments.repetitions} repetitions")


def _range(bench: Bench) -> RateRange:
    """A range for both sides, from the task's own range test (or as given); its cost is nobody's."""
    if bench.arguments.range:
        return RateRange(*bench.arguments.range)
    evaluator = bench.follow(bench.evaluator(Plan(FUNCTIONS, bench.max_iter)), until="search")
    reached = {
        trial.spec.policy["base_lr"]: trial.outcome.best.evaluation.top1 if trial.outcome.best else math.nan
        for trial in bench.database.trials(run=evaluator.run, stage="range")
        if trial.outcome
    }
    found = fix_range(reached, bench.task.dataset.class_count)
    bench.note(what="range", low=found.low, best=found.best, high=found.high)
    return found


def _with_batch(path: Path, batch_size: int | None, folder: Path) -> Path:
    """The solver, or a copy of it in the folder whose net trains with this batch size."""
    if batch_size is None:
        return path
    net = solver.read(path).net_path
    text = re.sub(r"batch_size: *\d+", f"batch_size: {batch_size}", net.read_text(), count=1)
    (folder / net.name).write_text(text)
    return Path(shutil.copy(path, folder))


@contextmanager
def _bench(arguments: argparse.Namespace) -> Iterator[Bench]:
    with (
        tempfile.TemporaryDirectory() as home,
        connect(home=Path(home)) as database,
        LocalExecutor(arguments.workers) as executor,
    ):
        yield Bench(arguments, database, executor, Path(home))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=list(PARTS), nargs="?", default="grid")
    parser.add_argument("task", nargs="?", default="digits", help="a solver prototxt or a set-up that lrpolicy ships")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--max-iter", type=int)
    parser.add_argument("--test-interval", type=int)
    parser.add_argument("--batch-size", type=int, help="of the training, instead of the net's own")
    parser.add_argument("--candidates", type=int, default=6, help="of each function")
    parser.add_argument("--range", type=float, nargs=3, metavar=("LOW", "BEST", "HIGH"), help="found before")
    parser.add_argument("--first", type=int, default=0, help="the number of the first repetition")
    parser.add_argument("--grid", type=Path, help="results of an earlier grid: what it trained is not trained again")
    parser.add_argument("--top", type=float, help="the mean test accuracy of the grid's best, confirmed before")
    parser.add_argument("--fresh-seeds", type=int, default=3, help="that confirm what was recommended  [default: 3]")
    parser.add_argument("--halving-seeds", type=int, nargs="+", help="first seeds of halvings beside each grid")
    parser.add_argument("--share", type=float, default=0.1, help="of the grid's iterations, for halving (grid)")
    parser.add_argument("--budget", type=int, help="iterations of each side (optuna)  [default: 10 trainings]")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "tuning.jsonl")
    arguments = parser.parse_args()
    if arguments.part == "optuna" and importlib.util.find_spec("optuna") is None:
        parser.error("optuna is not installed: pip install optuna")
    try:
        _run(arguments)
    except LrpolicyError as error:
        raise SystemExit(str(error)) from None


def _run(arguments: argparse.Namespace) -> None:
    with _bench(arguments) as bench:
        machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {arguments.workers} workers"
        bench.note(what="machine", machine=machine, part=arguments.part, share=arguments.share)
        PARTS[arguments.part](bench)


PARTS = {"candidates": every_candidate, "grid": against_grid, "optuna": against_optuna}


if __name__ == "__main__":
    main()
