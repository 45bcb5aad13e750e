"""Records to rows and back. Columns carry the names of the records' fields: the records are the list of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, fields
from itertools import islice
from typing import Any

from lrpolicy.database.stored import RunState, StoredRun, StoredTrial
from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.records import (
    DatasetInfo,
    Evaluation,
    Measurement,
    NetworkInfo,
    Protocol,
    Split,
    Task,
    TrialOutcome,
    TrialSpec,
    TrialStatus,
)

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


def _names(record: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(record))


NETWORK_COLUMNS = _names(NetworkInfo)
DATASET_COLUMNS = _names(DatasetInfo)
EVALUATION_COLUMNS = _names(Evaluation)
MEASUREMENT_COLUMNS = ("iteration", "split", "rate", "train_loss", "seconds", *EVALUATION_COLUMNS)
SPEC_COLUMNS = tuple(name for name in _names(TrialSpec) if name != "policy")
POLICY_COLUMNS = (
    *("base_lr", "max_lr", "min_lr", "gamma", "power", "stepsize", "max_iter", "start", "stepvalue"),
    *("plateau_winsize", "strategy", "variant", "source", "bound", "window", "eta", "per_tensor", "divergence"),
    *("epoch", "seed", "restart_below"),
)
_LARGEST_SEED = 2**63 - 1


def measurement_row(measurement: Measurement) -> list[Any]:
    """The values of MEASUREMENT_COLUMNS."""
    own = [measurement.iteration, str(measurement.split), measurement.rate, measurement.train_loss, measurement.seconds]
    return [*own, *astuple(measurement.evaluation)]


def measurement_of(row: Sequence[Any]) -> Measurement:
    """The measurement of a row of MEASUREMENT_COLUMNS."""
    iteration, split, rate, train_loss, seconds, *evaluation = row
    return Measurement(iteration, Split(split), rate, train_loss, Evaluation(*evaluation), seconds)


def spec_row(spec: TrialSpec) -> dict[str, Any]:
    """The values of SPEC_COLUMNS by name."""
    return {name: getattr(spec, name) for name in SPEC_COLUMNS} | {"protocol": str(spec.protocol)}


def policy_row(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The values of name and POLICY_COLUMNS, None for a parameter that the policy does not have.

    Raises:
        InputError: `lr_policy` is missing, or a parameter has no column, or a seed does not fit into its.
    """
    if "lr_policy" not in policy:
        raise InputError("a policy needs lr_policy, its name", got=repr(dict(policy)))
    for name in policy:
        if name != "lr_policy" and name not in POLICY_COLUMNS:
            remedy = did_you_mean(name, POLICY_COLUMNS)
            raise InputError(f'the database has no column for the policy parameter "{name}"', remedy=remedy)
    if policy.get("seed", 0) > _LARGEST_SEED:
        raise InputError(f"the database keeps a policy's seed up to {_LARGEST_SEED}", got=policy["seed"])
    return {"name": policy["lr_policy"]} | {name: policy.get(name) for name in POLICY_COLUMNS}


def policy_of(row: Iterable[Any]) -> dict[str, Any]:
    """The policy (as `Policy.to_dict` has it) of a row of name and POLICY_COLUMNS."""
    parameters = zip(("lr_policy", *POLICY_COLUMNS), row, strict=True)
    return {name: value for name, value in parameters if value is not None}


def trial_of(row: Iterable[Any]) -> StoredTrial:
    """The trial of a row: (id, run, status, attempt, parameter_count), (iterations, seconds, message), SPEC_COLUMNS,
    (name, POLICY_COLUMNS), MEASUREMENT_COLUMNS of the best one and of the test, NULL where there is none.
    """
    values = iter(row)
    number, run, status, attempt, parameter_count = islice(values, 5)
    iterations, seconds, message = islice(values, 3)
    spec = dict(zip(SPEC_COLUMNS, islice(values, len(SPEC_COLUMNS)), strict=True))
    spec["protocol"] = Protocol(spec["protocol"])
    policy = policy_of(islice(values, 1 + len(POLICY_COLUMNS)))
    best, test = _measurement_or_none(values), _measurement_or_none(values)
    state = TrialStatus(status)
    ended = state not in (TrialStatus.PLANNED, TrialStatus.RUNNING)
    outcome = TrialOutcome(state, iterations, seconds, best, test, message) if ended else None
    return StoredTrial(number, run, TrialSpec(policy, **spec), state, attempt, parameter_count, outcome)


def run_of(row: Iterable[Any]) -> StoredRun:
    """The run of a row: (id, key, state, started, ended, settings, versions, hardware, origin), then a task's row."""
    values = iter(row)
    number, key, state, started, ended, settings, versions, hardware, origin = islice(values, 9)
    place = None if origin is None else str(origin)
    return StoredRun(
        number, str(key), task_of(values), RunState(state), started, ended, settings, versions, hardware, place
    )


def task_of(row: Iterable[Any]) -> Task:
    """The task of a row: framework, task_type, NETWORK_COLUMNS, DATASET_COLUMNS."""
    values = iter(row)
    framework, task_type = islice(values, 2)
    network = NetworkInfo(*islice(values, len(NETWORK_COLUMNS)))
    return Task(framework, network, DatasetInfo(*values), task_type)


def plain_json(value: object) -> str:
    """JSON that PostgreSQL accepts: what JSON cannot say (paths, NaN, tuples, zero bytes) becomes text or a list."""
    return json.dumps(_plain(value), allow_nan=False)


def clean_text(text: str) -> str:
    """The text with what PostgreSQL cannot hold (zero bytes, lone surrogates) replaced by U+FFFD."""
    return _NOT_STORABLE.sub("\ufffd", text)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping):
        return {clean_text(str(name)): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return clean_text(str(value))


def _measurement_or_none(values: Iterator[Any]) -> Measurement | None:
    row = list(islice(values, len(MEASUREMENT_COLUMNS)))
    return None if row[0] is None else measurement_of(row)
