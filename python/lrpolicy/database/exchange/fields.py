"""What may stand in a line of a file: a check for each field, which gives the value as it is stored or says the rule.

The hash of a file guards against accidents, not against its author: every value is checked here before it is used.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from lrpolicy.database.rows import EVALUATION_COLUMNS
from lrpolicy.records import Protocol, Split, TrialStatus
from lrpolicy.stateful import policy_from_dict

LONGEST_TEXT = 200
MOST_SETTINGS = 200
_MOST_INT32 = 2**31 - 1
_MOST_INT64 = 2**63 - 1
_HIGHEST_RATIO = 1.000001  # as the schema's domain `ratio` has it
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SETTING_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}")

Check = Callable[[Any], Any]


def whole(least: int = 0, most: int = _MOST_INT64) -> Check:
    """A whole number in [least, most]."""

    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return check


def real(least: float = -math.inf, most: float = math.inf, *, special: Collection[str] = ()) -> Check:
    """A finite number in [least, most], or one of the special texts, such as "NaN"."""

    def check(value: Any) -> float:
        if (type(value) is float or type(value) is int) and least <= value <= most and -math.inf < value < math.inf:
            return float(value)
        if isinstance(value, str) and value in special:
            return _SPECIAL[value]
        or_special = "".join(f' or "{name}"' for name in special)
        raise ValueError(f"must be a finite number from {least} to {most}{or_special}")

    return check


def text(value: Any) -> str:
    """A printable text of 1 to LONGEST_TEXT characters."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"must be a printable text of 1 to {LONGEST_TEXT} characters")
    return value


def one_of(*known: str) -> Check:
    """One of these texts."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return str(value)

    return check


def many(item: Check) -> Check:
    """A list whose items all pass."""

    def check(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError("must be a list")
        return [item(one) for one in value]

    return check


def optional(present: Check) -> Check:
    """None, or what passes."""
    return lambda value: None if value is None else present(value)


def record(**checks: Check) -> Check:
    """An object with exactly these fields."""

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or value.keys() != checks.keys():
            raise ValueError(f"must be an object with the fields {', '.join(checks)}, and no other")
        return {name: _named(name, one, value[name]) for name, one in checks.items()}

    return check


def columns(**checks: Check) -> Check:
    """An object with exactly these fields, lists of one length."""
    inner = record(**{name: many(check) for name, check in checks.items()})

    def check(value: Any) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = inner(value)
        if len({len(column) for column in found.values()}) > 1:
            raise ValueError("must have lists of one length")
        return found

    return check


def identifier(value: Any) -> uuid.UUID:
    """A UUID as a text."""
    if isinstance(value, str) and len(value) == 36:
        return uuid.UUID(value)
    raise ValueError("must be a UUID")


def moment(value: Any) -> datetime:
    """A time in ISO 8601 with its offset, in the years 2000 to 2199."""
    if isinstance(value, str) and len(value) <= 40:
        found = datetime.fromisoformat(value)
        if found.tzinfo is not None and 2000 <= found.year < 2200:
            return found.astimezone(UTC)
    raise ValueError("must be a time in ISO 8601 with its offset from UTC")


def document(value: Any) -> dict[str, Any]:
    """Settings: an object of at most MOST_SETTINGS texts, finite numbers, truth values and nulls."""
    if not isinstance(value, dict) or len(value) > MOST_SETTINGS:
        raise ValueError(f"must be an object of at most {MOST_SETTINGS} values")
    for name, item in value.items():
        if not _SETTING_NAME.fullmatch(name):
            raise ValueError("must have plain names")
        if item is not None and not isinstance(item, bool):
            _named(name, text if isinstance(item, str) else real(), item)
    return value


def policy(value: Any) -> dict[str, Any]:
    """A policy that lrpolicy knows, its parameters by its rules."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be an object")
    return policy_from_dict(value).to_dict()


def _named(name: str, check: Check, value: Any) -> Any:
    try:
        return check(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from None


_any_number = real(special=tuple(_SPECIAL))
_ratio = real(0, _HIGHEST_RATIO, special=("NaN",))
_split = one_of(*Split)

_evaluation = dict.fromkeys(EVALUATION_COLUMNS, _ratio) | {
    "loss": _any_number,
    "classes_without_hit": whole(0, _MOST_INT32),
    "example_count": whole(),
}

_MEASUREMENTS = columns(
    iteration=whole(),
    split=_split,
    rate=_any_number,
    train_loss=_any_number,
    seconds=real(0),
    **_evaluation,
)

_NETWORK = record(name=text, fingerprint=text, weight_count=whole())
_DATASET = record(
    name=text,
    train_size=whole(),
    validation_size=whole(),
    test_size=whole(),
    channels=whole(0, _MOST_INT32),
    height=whole(0, _MOST_INT32),
    width=whole(0, _MOST_INT32),
    class_count=whole(0, _MOST_INT32),
    fingerprint=text,
)

_RUN = record(
    kind=one_of("run"),
    key=identifier,
    origin=identifier,
    framework=text,
    task_type=text,
    network=_NETWORK,
    dataset=_DATASET,
    started=moment,
    ended=moment,
    settings=document,
    versions=document,
    hardware=document,
)

_ENDED = [status for status in TrialStatus if status not in (TrialStatus.PLANNED, TrialStatus.RUNNING)]
_mark = record(split=_split, iteration=whole())

_TRIAL = record(
    kind=one_of("trial"),
    policy=policy,
    stage=one_of("range", "search", "final"),
    seed=whole(-(2**63)),
    max_iter=whole(),
    batch_size=whole(1),
    test_interval=whole(),
    optimizer=text,
    momentum=real(),
    weight_decay=real(),
    momentum_convention=one_of("caffe", "pytorch"),
    protocol=one_of(*Protocol),
    engine=text,
    device=text,
    status=one_of(*_ENDED),
    attempt=whole(0, _MOST_INT32),
    iterations=whole(),
    seconds=real(0),
    best=optional(_mark),
    test=optional(_mark),
    measurements=_MEASUREMENTS,
    curve=columns(iteration=whole(), loss=_any_number, rate=_any_number),
)


def run_line(value: Mapping[str, Any]) -> dict[str, Any]:
    """The checked values of a run's line. Raises ValueError, which names the field and the rule."""
    found: dict[str, Any] = _RUN(value)
    if found["ended"] < found["started"]:
        raise ValueError("ended: must not be before started")
    return found


def trial_line(value: Mapping[str, Any]) -> dict[str, Any]:
    """The checked values of a trial's line. Raises ValueError, which names the field and the rule."""
    found: dict[str, Any] = _TRIAL(value)
    points = list(zip(found["measurements"]["split"], found["measurements"]["iteration"], strict=True))
    if len(set(points)) < len(points):
        raise ValueError("measurements: one split must not be measured twice in one iteration")
    for name in ("best", "test"):
        if found[name] is not None and (found[name]["split"], found[name]["iteration"]) not in points:
            raise ValueError(f"{name}: must be one of the measurements")
    steps = found["curve"]["iteration"]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise ValueError("curve: iterations must increase")
    return found
