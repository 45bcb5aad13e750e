"""What recommendations ask the database. All trials of a table are averaged by PostgreSQL, none travels here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import astuple, fields
from typing import Any

from lrpolicy.database import rows, statements
from lrpolicy.database.driver import Connection
from lrpolicy.database.store import Database
from lrpolicy.database.stored import Average, Comparable, RangeScan, RangeTrial, Setting
from lrpolicy.records import Protocol, Task

# At most so many policies of one table are compared, those with the highest Top-1.
MOST_POLICIES = 1000

# Measurements are looked up by their key: reading the whole table takes twice as long with 39,000 trials of 100,000.
_MOSTLY_IN_MEMORY = "SET LOCAL random_page_cost = 1.1"

_SETTING = tuple(field.name for field in fields(Setting))
# The best of more measurements is better by chance: trials are compared with those that were tested as often.
_MEASURED = ("test_interval", *_SETTING)
_NUMBERS = (
    "top1",
    "iterations",
    "seconds",
    "loss_difference",
    "confidence_deviation",
    "confidence_deviation_across_classes",
)
_TO_TARGET = ("iterations_to_target", "seconds_to_target")

_SELECT_COMPARABLE = f"""
    SELECT task_id, stage, protocol, {", ".join(_MEASURED)},
           sum(trials)::bigint, count(*), count(*) FILTER (WHERE origin IS NOT NULL)
    FROM (
        SELECT run_id, stage, protocol, {", ".join(_MEASURED)}, count(*) AS trials
        FROM lrpolicy.trial
        WHERE run_id IN (SELECT id FROM lrpolicy.run WHERE task_id = ANY(%(tasks)s))
          AND stage IN ('search', 'final') AND status = 'completed'
        GROUP BY run_id, stage, protocol, {", ".join(_MEASURED)}
    ) AS part
    JOIN lrpolicy.run ON run.id = run_id
    GROUP BY task_id, stage, protocol, {", ".join(_MEASURED)}"""

# A training repeated with its seed, or imported, is no further evidence: the mean of each seed's trials comes first,
# then that over the seeds. PostgreSQL holds NaN to be greater than every number.
_SELECT_AVERAGES = f"""
    WITH chosen AS (
        SELECT trial.* FROM lrpolicy.run JOIN lrpolicy.trial ON run_id = run.id
        WHERE task_id = %(task)s AND stage = %(stage)s AND protocol = %(protocol)s
          AND status IN ('completed', 'diverged') AND best_iteration IS NOT NULL
          AND ({", ".join(_MEASURED)}) = ({", ".join(f"%({name})s" for name in _MEASURED)})
    ), training AS (
        SELECT policy_id, seed, bool_or(status = 'diverged') AS diverged,
               avg(test.top1) FILTER (WHERE status = 'completed') AS test_top1,
               avg(best.top1) FILTER (WHERE status = 'completed') AS top1,
               avg(best.iteration) FILTER (WHERE status = 'completed') AS iterations,
               avg(best.seconds) FILTER (WHERE status = 'completed') AS seconds,
               avg(best.loss - best.train_loss) FILTER (WHERE status = 'completed') AS loss_difference,
               avg(best.confidence_deviation) FILTER (WHERE status = 'completed') AS confidence_deviation,
               avg(best.confidence_deviation_across_classes) FILTER (WHERE status = 'completed')
                   AS confidence_deviation_across_classes,
               avg(COALESCE(reached.iteration::double precision, 'Infinity')) FILTER (WHERE status = 'completed')
                   AS iterations_to_target,
               avg(COALESCE(reached.seconds, 'Infinity')) FILTER (WHERE status = 'completed') AS seconds_to_target
        FROM chosen
        JOIN lrpolicy.measurement AS best
            ON (best.trial_id, best.split, best.iteration) = (chosen.id, best_split, best_iteration)
        LEFT JOIN lrpolicy.measurement AS test
            ON (test.trial_id, test.split, test.iteration) = (chosen.id, test_split, test_iteration)
        LEFT JOIN LATERAL (
            SELECT iteration, seconds FROM lrpolicy.measurement
            WHERE trial_id = chosen.id AND split = best_split AND top1 >= %(target)s::double precision AND top1 <> 'NaN'
            ORDER BY iteration LIMIT 1
        ) AS reached ON %(target)s::double precision IS NOT NULL
        GROUP BY policy_id, seed
    ), average AS (
        SELECT policy_id, count(top1) AS seeds, bool_or(diverged) AS diverged, stddev_samp(top1) AS top1_deviation,
               avg(test_top1) AS test_top1, {", ".join(f"avg({name}) AS {name}" for name in _NUMBERS + _TO_TARGET)}
        FROM training
        GROUP BY policy_id
    )
    SELECT seeds, diverged, top1_deviation, test_top1, {", ".join(_NUMBERS + _TO_TARGET)},
           name, {", ".join(f"policy.{column}" for column in rows.POLICY_COLUMNS)}
    FROM average JOIN lrpolicy.policy ON policy.id = policy_id
    WHERE seeds > 0
    ORDER BY diverged, top1 DESC, policy_id
    LIMIT {MOST_POLICIES}"""

_OF_THE_SCAN = "stage = 'range' AND status IN ('completed', 'diverged') AND name = 'fixed' AND parameter_count = 1"

_SELECT_RANGE_SCANS = f"""
    SELECT DISTINCT run_id, protocol, {", ".join(f"trial.{name}" for name in _SETTING)}
    FROM lrpolicy.run
    JOIN lrpolicy.trial ON run_id = run.id
    JOIN lrpolicy.policy ON policy.id = policy_id
    WHERE task_id = %s AND {_OF_THE_SCAN}
    ORDER BY trial.max_iter DESC, run_id DESC"""

_SELECT_RANGE_TRIALS = f"""
    SELECT base_lr, CASE status WHEN 'completed' THEN learned END, untrained, examples, of_one_class
    FROM lrpolicy.trial
    JOIN lrpolicy.policy ON policy.id = policy_id
    CROSS JOIN LATERAL (
        SELECT max(top1) FILTER (WHERE iteration > 0 AND top1 <> 'NaN') AS learned,
               max(top1) FILTER (WHERE iteration = 0) AS untrained, COALESCE(max(example_count), 0) AS examples,
               COALESCE(max(top1) FILTER (WHERE classes_without_hit = %(classes)s - 1), 0) AS of_one_class
        FROM lrpolicy.measurement WHERE trial_id = trial.id AND split = best_split
    ) AS seen
    WHERE run_id = %(run)s AND protocol = %(protocol)s AND {_OF_THE_SCAN}
      AND ({", ".join(f"trial.{name}" for name in _SETTING)}) = ({", ".join(f"%({name})s" for name in _SETTING)})
    ORDER BY base_lr, trial.seed"""


def stored_tasks(database: Database) -> dict[int, Task]:
    """Every task that has trials, by its id."""
    found = database.transact(lambda c: c.execute(statements.SELECT_TASKS).fetchall())
    return {number: rows.task_of(row) for number, *row in found}


def comparables(database: Database, tasks: Collection[int]) -> list[Comparable]:
    """What the search and final trials of these tasks make up: groups that one table may compare."""

    def work(connection: Connection) -> list[Comparable]:
        found = connection.execute(_SELECT_COMPARABLE, {"tasks": list(tasks)})
        return [_comparable(row) for row in found]

    return database.transact(work)


def averages(database: Database, group: Comparable, target: float | None = None) -> list[Average]:
    """The policies of a group that completed a trial: at most MOST_POLICIES, sound ones with the highest Top-1 first.

    `target` is a Top-1 in (0, 1]; without one the two columns that count up to it are left out.
    """
    wanted = {"task": group.task, "stage": group.stage, "protocol": str(group.protocol), "target": target}
    wanted |= dict(zip(_MEASURED, (group.test_interval, *astuple(group.setting)), strict=True))

    def work(connection: Connection) -> list[Average]:
        connection.execute(_MOSTLY_IN_MEMORY)
        return [_average(row, target is not None) for row in connection.execute(_SELECT_AVERAGES, wanted)]

    return database.transact(work)


def range_scans(database: Database, task: int) -> list[RangeScan]:
    """The range stages of a task's runs, those with the longest trials first, of equals the newest."""
    found = database.transact(lambda c: c.execute(_SELECT_RANGE_SCANS, [task]).fetchall())
    return [RangeScan(run, Protocol(protocol), Setting(*setting)) for run, protocol, *setting in found]


def range_trials(database: Database, scan: RangeScan, class_count: int) -> list[RangeTrial]:
    """The finished trials of a range stage, by rate."""
    wanted = {"run": scan.run, "protocol": str(scan.protocol), "classes": class_count}
    wanted |= dict(zip(_SETTING, astuple(scan.setting), strict=True))
    found = database.transact(lambda c: c.execute(_SELECT_RANGE_TRIALS, wanted).fetchall())
    return [RangeTrial(rate, _number(top1), _number(first), *counts) for rate, top1, first, *counts in found]


def _comparable(row: tuple[Any, ...]) -> Comparable:
    task, stage, protocol, test_interval, *rest = row
    setting, counts = rest[: len(_SETTING)], rest[len(_SETTING) :]
    return Comparable(task, stage, Protocol(protocol), test_interval, Setting(*setting), *counts)


def _average(row: tuple[Any, ...], with_target: bool) -> Average:
    seeds, diverged, deviation, test, *rest = row
    names = _NUMBERS + _TO_TARGET
    columns = {name: _number(value) for name, value in zip(names, rest, strict=False)}
    if not with_target:
        columns = {name: columns[name] for name in _NUMBERS}
    policy = rows.policy_of(rest[len(names) :])
    return Average(policy, seeds, diverged, _number(deviation), _number(test), columns)


def _number(value: float | None) -> float:
    """A mean as a float: avg of whole numbers is a Decimal, of nothing NULL."""
    return float("nan") if value is None else float(value)
