"""What to start a new task with, from what is stored (LRBench paper, section IV): policies, and the range of FIX.

Stored results are taken in the order of their distance (`similarity`) and compared only among their like: trials of
one task, in one setting, stage and protocol, measured as often. So the nearest results come first, the best of them
under the goal first of all; what is further away only fills the places that are left. Finalists, measured with fresh
seeds, come before search trials. A policy that diverged with any seed is not recommended.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, median
from typing import NamedTuple

from lrpolicy.database import Database, Setting
from lrpolicy.database.range_tests import stored_range_tests
from lrpolicy.database.recommend import averages, comparables, range_scans, range_trials, stored_tasks
from lrpolicy.database.stored import Average, Comparable, RangeScan, StoredRangeTest
from lrpolicy.errors import InputError, RunError
from lrpolicy.goals import COLUMNS, Goal, find_goal, rounded
from lrpolicy.range_test.fix_scan import LEAST_SHARE, Unlearned, fix_range, trial_length
from lrpolicy.records import DatasetInfo, Protocol, Task
from lrpolicy.search import RateRange
from lrpolicy.similarity import FARTHEST, setting_parts, task_parts
from lrpolicy.stateful import AnyPolicy, policy_from_dict
from lrpolicy.transfer import assumptions, transferred, transferred_range


class NothingNearError(InputError):
    """No completed trial of a near enough task is stored."""


@dataclass(frozen=True)
class Basis:
    """What a recommendation rests on: stored trials of a task, and how far that is from the task asked about.

    `parts` says what the distance is made of; it is empty, and the distance 0, for the same task in the same setting.
    """

    task: Task
    setting: Setting
    stage: str
    protocol: Protocol
    test_interval: int
    runs: int
    imported_runs: int
    parts: Mapping[str, float]

    @property
    def distance(self) -> float:
        """The distance, 0 or more, at most `similarity.FARTHEST`."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class Recommendation:
    """A policy for the task asked about. `measured` is the policy that was tried, `policy` is it carried over.

    `average` holds the means over its seeds, `score` is the goal's (the smaller, the better; comparable only between
    recommendations on one basis), and `assumed` says in sentences what was taken for granted.
    """

    policy: AnyPolicy
    measured: AnyPolicy
    score: float
    average: Average
    basis: Basis
    assumed: tuple[str, ...]


@dataclass(frozen=True)
class StoredRange:
    """The range of good fixed rates of the nearest task that has one, carried over to the setting.

    `setting.max_iter` is the length of the trainings that found it. `source` names where that was, such as "range test
    3" or "run 7". `test` is that range test as it was stored, with its uncertainty; None where the range is that of a
    run's range stage.
    """

    range: RateRange
    measured: RateRange
    source: str
    task: Task
    setting: Setting
    parts: Mapping[str, float]
    assumed: tuple[str, ...]
    test: StoredRangeTest | None = None

    @property
    def distance(self) -> float:
        """The distance of its task and setting, 0 or more, at most `similarity.FARTHEST`."""
        return sum(self.parts.values())

    @property
    def origin(self) -> str:
        """The source with the length of its trainings, in words."""
        return f"{self.source}, trainings of {self.setting.max_iter} iterations"


def recommend(
    database: Database, task: Task, setting: Setting | None = None, goal: Goal | None = None, top: int = 3
) -> list[Recommendation]:
    """At most `top` policies for a task, no two alike, the nearest results first, each table in the goal's order.

    With a setting, distances count it and policies are carried over to it; without one they are as measured.

    Raises:
        NothingNearError: nothing near enough is stored; the message says what is nearest.
        InputError: none of what is near enough has a score under the goal.
    """
    if top < 1:
        raise InputError("at least one policy must be asked for", got=top)
    goal = goal or find_goal("accuracy")
    groups = _near_groups(database, task, setting)
    found: dict[AnyPolicy, Recommendation] = {}
    for group, basis in groups:
        for average, score in _in_order(averages(database, group, goal.target), goal):
            recommendation = _recommendation(average, score, basis, setting)
            found.setdefault(recommendation.policy, recommendation)
            if len(found) == top:
                return list(found.values())
    if not found:
        rule = f"{len(groups)} sets of results are near enough, but all policies in them {goal.without} or diverged"
        remedy = "choose another goal or target, or measure it: lrpolicy tune"
        raise InputError(rule, where=database.where, remedy=remedy)
    return list(found.values())


def final_tables(
    database: Database, task: Task, setting: Setting, goal: Goal
) -> Iterator[tuple[Basis, list[AnyPolicy]]]:
    """What the finals of near tasks rest on, the nearest first, and their policies in the goal's order, as measured."""
    try:
        groups = _near_groups(database, task, setting)
    except NothingNearError:
        return
    for group, basis in groups:
        if group.stage == "final":
            order = _in_order(averages(database, group, goal.target), goal)
            yield basis, [policy_from_dict(average.policy) for average, _ in order]


def stored_range(
    database: Database,
    task: Task,
    setting: Setting | None = None,
    *,
    trial_iter: int | None = None,
    protocol: Protocol | None = None,
) -> StoredRange | None:
    """The range of good fixed rates that is known for the nearest task; None where no near task has one.

    Range tests are asked first, the newest first; one that did not hold is passed over. Then come the range stages of
    runs, of this protocol where one is given: the nearest setting first, of equals the longest, then the newest. With a
    setting the rates are carried over to it. The length of the trainings does not count in the distance, but scans
    whose trials took less than `LEAST_SHARE` of `trial_iter` are passed over: by default, of what a trial for the
    setting takes.
    """
    if trial_iter is None:
        trial_iter = 0 if setting is None else trial_length(setting.max_iter)
    for parts, number, stored in _near_tasks(database, task):
        known = [*_of_range_tests(database, number), *_of_runs(database, number, stored.dataset, protocol)]
        near = [(parts | _without_length(setting, source.setting), source) for source in known]
        near = [(all_parts, source) for all_parts, source in near if sum(all_parts.values()) <= FARTHEST]
        for all_parts, source in sorted(near, key=lambda pair: (pair[1].test is None, sum(pair[0].values()))):
            measured = source.setting
            if source.is_scan and measured.max_iter < LEAST_SHARE * trial_iter:
                continue
            try:
                found = source.read()
            except RunError:  # nothing was learned in that run; another one may know
                continue
            wanted = measured if setting is None else replace(setting, max_iter=measured.max_iter)
            moved = transferred_range(found, measured, wanted)
            told = tuple(assumptions(measured, wanted))
            return StoredRange(moved, found, source.name, stored, measured, all_parts, told, source.test)
    return None


class _Source(NamedTuple):
    """What may know a range, which `read` gives; it raises RunError where nothing was learned."""

    name: str
    setting: Setting
    read: Callable[[], RateRange]
    test: StoredRangeTest | None = None

    @property
    def is_scan(self) -> bool:
        """Whether constant rates are its way. Smith's sweep is short by design, and steps back for what that costs."""
        return self.test is None or self.test.method == "fix"


def _of_range_tests(database: Database, task: int) -> Iterator[_Source]:
    """A task's range tests, the newest first."""
    for number, test in stored_range_tests(database, task).items():
        if test.held is not False:
            rates = (test.low.value, test.suggestion.value, test.high.value)
            yield _Source(f"range test {number}", test.setting, partial(RateRange, *rates), test)


def _of_runs(database: Database, task: int, dataset: DatasetInfo, protocol: Protocol | None) -> Iterator[_Source]:
    """The range stages of a task's runs, the longest first, of equals the newest."""
    for scan in range_scans(database, task):
        if protocol in (None, scan.protocol):
            name = f"run {scan.run}" + (" (steered on the test set)" if scan.protocol is Protocol.PAPER else "")
            yield _Source(name, scan.setting, partial(_range_of, database, scan, dataset))


def _range_of(database: Database, scan: RangeScan, dataset: DatasetInfo) -> RateRange:
    """The range that a scan's trials show. Raises RunError where none learned anything."""
    trials = range_trials(database, scan, dataset.class_count)
    top1: dict[float, list[float]] = defaultdict(list)
    for trial in trials:
        top1[trial.rate].append(trial.top1)
    accuracy = {rate: fmean(values) for rate, values in top1.items()}
    first = [trial.untrained for trial in trials if not math.isnan(trial.untrained)]
    size = dataset.test_size if scan.protocol is Protocol.PAPER else dataset.validation_size
    examples = max(trial.examples for trial in trials) or size
    constant = max(trial.of_one_class for trial in trials)
    unlearned = Unlearned(median(first) if first else math.nan, examples, constant)
    return fix_range(accuracy, dataset.class_count, unlearned)


def _without_length(asked: Setting | None, stored: Setting) -> dict[str, float]:
    """What the distance of two settings consists of, but for the length of their trainings."""
    return {} if asked is None else setting_parts(replace(asked, max_iter=stored.max_iter), stored)


def _near_tasks(database: Database, task: Task) -> list[tuple[dict[str, float], int, Task]]:
    """(parts of the distance, id, task) of the tasks that are near enough, the nearest first."""
    found = [(task_parts(task, stored), number, stored) for number, stored in stored_tasks(database).items()]
    near = [row for row in found if sum(row[0].values()) <= FARTHEST]
    return sorted(near, key=lambda row: (sum(row[0].values()), -row[1]))


def _near_groups(database: Database, task: Task, setting: Setting | None) -> list[tuple[Comparable, Basis]]:
    tasks = {number: (parts, stored) for parts, number, stored in _near_tasks(database, task)}
    found = []
    for group in comparables(database, tasks):
        parts, stored = tasks[group.task]
        if setting is not None:
            parts = parts | setting_parts(setting, group.setting)
        basis = Basis(
            stored,
            group.setting,
            group.stage,
            group.protocol,
            group.test_interval,
            group.runs,
            group.imported_runs,
            parts,
        )
        found.append((group, basis))
    near = [(group, basis) for group, basis in found if basis.distance <= FARTHEST]
    if not near:
        raise NothingNearError(
            _why_nothing(found, database, task), where=database.where, remedy="measure it: lrpolicy tune"
        )
    return sorted(near, key=lambda pair: (pair[1].distance, pair[0].stage != "final", -pair[0].trials))


def _why_nothing(found: Sequence[tuple[Comparable, Basis]], database: Database, task: Task) -> str:
    rule = f"nothing stored is near enough to {task.network.name} on {task.dataset.name}"
    known = [(basis.parts, basis.task) for _, basis in found]
    known = known or [(task_parts(task, stored), stored) for stored in stored_tasks(database).values()]
    if not known:
        return "no trials are stored yet"
    parts, nearest = min(known, key=lambda row: sum(row[0].values()))
    if sum(parts.values()) <= FARTHEST:
        return f"no completed trial is stored for {nearest.network.name} on {nearest.dataset.name} or a task near it"
    return (
        f"{rule}: the nearest is {nearest.network.name} on {nearest.dataset.name}, at {sum(parts.values()):.2f} "
        f"({distance_text(parts)}); the limit is {FARTHEST}"
    )


def distance_text(parts: Mapping[str, float]) -> str:
    """The parts of a distance as a person reads them, the largest first."""
    ordered = sorted(parts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {part:.2f}" for name, part in ordered) or "the same task and setting"


def _in_order(found: Iterable[Average], goal: Goal) -> Iterator[tuple[Average, float]]:
    """The policies that have a score, the best first, as `ranking.rank` orders them."""
    sound = [average for average in found if not average.diverged]
    if not sound:
        return
    names = [name for name in COLUMNS if name in sound[0].columns]
    scores = goal.score({name: rounded([average.columns[name] for average in sound]) for name in names})
    rows = [(average, float(score)) for average, score in zip(sound, scores, strict=True) if math.isfinite(score)]
    yield from sorted(rows, key=lambda row: (row[1], *_tie_breaks(row[0])))


def _tie_breaks(average: Average) -> tuple[float | str, ...]:
    columns = average.columns
    keys = (-float(rounded(columns["top1"])), columns["iterations"], columns["loss_difference"])
    return (*(math.inf if math.isnan(key) else key for key in keys), str(average.policy))


def _recommendation(average: Average, score: float, basis: Basis, setting: Setting | None) -> Recommendation:
    measured = policy_from_dict(average.policy)
    if setting is None:
        return Recommendation(measured, measured, score, average, basis, ())
    policy = transferred(measured, basis.setting, setting)
    return Recommendation(policy, measured, score, average, basis, tuple(assumptions(basis.setting, setting)))
