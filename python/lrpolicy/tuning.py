"""`lrpolicy.tune(train_fn, ...)`: ranks policies for a training function of your own, in any framework.

    def train(schedule, trial):
        model = make_model(seed=trial.seed)
        for t in range(trial.max_iter):
            loss = update(model, rate=schedule.rate(t))
            if (t + 1) % 100 == 0:
                trial.report(t + 1, loss, split="train")
                trial.report(t + 1, *validate(model))

    result = lrpolicy.tune(train, max_iter=1000, train_size=60_000, batch_size=100, class_count=10)
    print(result)
    result.best.rate(0)

Stages, goals, database and report are those of `lrpolicy tune`: `lrpolicy rank` and `lrpolicy report` show the run.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any

from lrpolicy.database import Database, RunState, Setting, connect
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.function import FunctionEngine, TrainFunction
from lrpolicy.errors import InputError, LrpolicyError
from lrpolicy.evaluator import Budget, Evaluator, NotPromoted, Plan, expected, iterations_per_epoch, known_range
from lrpolicy.executors.base import Executor
from lrpolicy.executors.local import LocalExecutor
from lrpolicy.executors.sequential import SequentialExecutor
from lrpolicy.goals import find_goal
from lrpolicy.policies import Policy
from lrpolicy.ranking import RankedPolicy, check_winner
from lrpolicy.records import DatasetInfo, NetworkInfo, Task
from lrpolicy.search import RateRange, functions_named
from lrpolicy.solver import Solver
from lrpolicy.versions import hardware, versions

# Of a function only the names are known: less than the distance between two networks (see `lrpolicy.similarity`).
_SAME_FUNCTION = 0.5


@dataclass(frozen=True)
class TuningResult:
    """What a tuning run found: the ranked table, the functions that never reached it, and the run's number."""

    run: int
    ranking: tuple[RankedPolicy, ...]
    not_promoted: tuple[NotPromoted, ...]
    iterations: dict[str, int]

    @property
    def best(self) -> Policy:
        """The winner."""
        policy = self.ranking[0].policy
        assert isinstance(policy, Policy)  # a training function of the user's own is tried with no other
        return policy

    def __str__(self) -> str:
        lines = [f"run {self.run}: validation Top-1, mean over seeds"]
        for row in self.ranking:
            setting = "  ".join(
                f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in row.policy.parameters.items()
            )
            diverged = f"  ({row.diverged} of {len(row.seeds)} seeds diverged)" if row.diverged else ""
            accuracy = f"{100 * row.selection.top1.mean:6.2f} %"
            lines.append(f"{row.rank:>2}  {accuracy}  {row.policy.name:<9}  {setting}{diverged}")
        return "\n".join(lines)


def tune(
    train_fn: TrainFunction,
    *,
    max_iter: int,
    train_size: int,
    batch_size: int,
    class_count: int,
    name: str | None = None,
    dataset: str = "data",
    validation_size: int = 0,
    test_size: int = 0,
    policies: str | Sequence[str] | None = None,
    candidates: int = 3,
    seeds: int = 3,
    seed: int = 1,
    search: str = "halving",
    budget: str | None = None,
    goal: str = "accuracy",
    target: float | None = None,
    range: RateRange | None = None,
    cold: bool = False,
    workers: int = 1,
    optimizer: str = "unknown",
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    momentum_convention: str = "pytorch",
    resume: int | None = None,
    database: Database | None = None,
) -> TuningResult:
    """Rank the learning-rate policies for `train_fn(schedule, trial)`; see `engines.function.FunctionTrial`.

    The function trains a fresh model for `trial.max_iter` updates, update t with `schedule.rate(t)`, all randomness
    from `trial.seed`, and reports to `trial`. `max_iter` is the length of a full training. `train_size` and
    `batch_size` give the iterations of an epoch, `class_count` gives chance level.

    `name` and `dataset` name the task in the database (by default the function's own name); with the sizes,
    `optimizer`, `momentum` and `weight_decay` they decide which stored results compare with these. `policies` names
    functions of the paper's 13, in a list or as "inv,tri2". `candidates`, `seeds`, `seed`, `search`, `budget`, `goal`,
    `target` and `cold` are the options of `lrpolicy tune`; a `range` that is given is not looked for. With more than
    one of `workers` the function must be importable, since each worker imports it. `resume` is the number of a run to
    go on with, whose settings stay the same. Without a `database` that of `lrpolicy.database.connect` is used.

    Raises:
        InputError: a wrong argument or report, a budget that is too small, a function that cannot be imported, a
            resumed run that began with other settings.
        RunError: no rate learns anything, or all trials of a stage fail.
    """
    if not callable(train_fn):
        remedy = "for a solver or a shipped set-up there is the command lrpolicy tune"
        raise InputError("tune takes a training function train_fn(schedule, trial)", got=repr(train_fn), remedy=remedy)
    plan = Plan(
        functions=tuple(functions_named("paper" if policies is None else policies, adaptive=False)),
        max_iter=max_iter,
        candidates=candidates,
        seeds=seeds,
        first_seed=seed,
        range=range,
        search=search,
        budget=None if budget is None else Budget.parse(budget),
        goal=find_goal(goal, target),
    )
    for what, value in {"train_size": train_size, "batch_size": batch_size, "class_count": class_count}.items():
        if value < 1:
            raise InputError(f"{what} must be 1 or more", got=value)
    sizes = (train_size, validation_size, test_size)
    task = _task(name or _name(train_fn), dataset, sizes, class_count)
    setting = Setting(max_iter, batch_size, optimizer, momentum, weight_decay, momentum_convention)
    engine, executor = _place(train_fn, workers)
    home: AbstractContextManager[Database] = connect() if database is None else nullcontext(database)
    with home as results, executor as places:
        run, plan = _begin(results, task, setting, plan, cold, resume)
        job = TrainingJob(_solver(task.network.name, max_iter))
        evaluator = Evaluator(job, task, plan, places, results, run, engine, setting, workers)
        return _followed(evaluator, results)


def _task(network: str, dataset: str, sizes: tuple[int, int, int], class_count: int) -> Task:
    """The task as far as its user names it: its fingerprints are made from the names, its shapes are not known."""
    data = DatasetInfo(dataset, *sizes, 0, 0, 0, class_count, _fingerprint(dataset, *sizes, class_count))
    return Task("function", NetworkInfo(network, _fingerprint(network), 0), data)


def _fingerprint(*facts: object) -> str:
    return sha256(repr(("function", *facts)).encode()).hexdigest()[:16]


def _solver(name: str, max_iter: int) -> Solver:
    """The evaluator keeps policies as a solver holds them, so that a winner can be written as prototxt."""
    text = f'net_param {{ name: "net" }} lr_policy: "fixed" base_lr: 1 max_iter: {max_iter}'
    return Solver.parse(text, name)


def _name(train_fn: TrainFunction) -> str:
    own = _own(train_fn)
    return str(getattr(own, "__qualname__", type(own).__name__))


def _own(train_fn: TrainFunction) -> TrainFunction:
    """The function that a `functools.partial` calls: two of them are not one task."""
    return _own(train_fn.func) if isinstance(train_fn, partial) else train_fn


def _place(train_fn: TrainFunction, workers: int) -> tuple[str, AbstractContextManager[Executor]]:
    """The engine's name as it is stored, and what runs it: this process, or workers that import the function."""
    place = f"{_own(train_fn).__module__}:{_name(train_fn)}"
    if workers == 1:
        return place, nullcontext(SequentialExecutor(FunctionEngine(train_fn)))
    if train_fn.__module__ == "__main__" or _imported(place) is not train_fn:
        remedy = "define it at the top of a module that this script imports, or use workers=1"
        raise InputError("several workers need a training function that they can import", got=place, remedy=remedy)
    return place, LocalExecutor(workers)


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name, None)


def _begin(
    database: Database, task: Task, setting: Setting, plan: Plan, cold: bool, resume: int | None
) -> tuple[int, Plan]:
    """The run, new or opened again, and the plan with the range that the run began with."""
    asked = {"train_fn": task.network.name} | _asked(plan, setting)
    if resume is not None:
        begun = database.find_run(resume)
        if begun.task != task or begun.settings.get("train_fn") != task.network.name:
            raise InputError(f"run {resume} is of another task", got=f"{task.network.name} on {task.dataset.name}")
        known = begun.settings["range"]
        if plan.range is not None:
            asked["range"] = list(astuple(plan.range))
        for name, value in asked.items():
            began = begun.settings.get(name, value)  # older runs do not say all
            if began != value:
                rule = f"a resumed run keeps its settings, and run {resume} began with {began}"
                raise InputError(rule, where=name, got=value, remedy="give the same, or start another run")
        return database.resume_run(resume), replace(plan, range=None if known is None else RateRange(*known))
    if plan.range is None and not cold:
        stored = known_range(database, task, setting, plan, limit=_SAME_FUNCTION)
        plan = plan if stored is None else replace(plan, range=stored.range)
    expected(plan, iterations_per_epoch(task, setting))  # a budget that is too small is said before the run
    asked["range"] = None if plan.range is None else astuple(plan.range)
    return database.start_run(task, asked, versions=versions(), hardware=hardware()), plan


def _asked(plan: Plan, setting: Setting) -> dict[str, Any]:
    """What decides a run's results, but for the range, under the names of `tune`'s arguments."""
    kept = ("max_iter", "candidates", "seeds", "search")
    return {
        "policies": ",".join(plan.functions),
        "seed": plan.first_seed,
        "budget": None if plan.budget is None else str(plan.budget),
        "goal": plan.goal.name,
        "target": plan.goal.target,
        **{name: getattr(plan, name) for name in kept},
        **{name: value for name, value in asdict(setting).items() if name != "max_iter"},
    }


def _followed(evaluator: Evaluator, database: Database) -> TuningResult:
    """Run to the end; mark the run when it does not get there."""
    state = RunState.INTERRUPTED
    try:
        with closing(evaluator.evaluate()) as events:
            for _ in events:
                pass
        ranking = evaluator.ranking()
        check_winner(ranking)
        state = RunState.COMPLETED
    except LrpolicyError:
        state = RunState.FAILED
        raise
    finally:
        database.finish_run(evaluator.run, state)
    return TuningResult(evaluator.run, tuple(ranking), tuple(evaluator.not_promoted), evaluator.spent())
