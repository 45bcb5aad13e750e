"""States as values: plain, equal by value, hashable, picklable, and exact in JSON. And the checks at the door."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Self, TypeVar

from lrpolicy.errors import InputError, did_you_mean

StateT = TypeVar("StateT", bound="State")

LARGEST_RATE = 1e100


class State:
    """Base of the states: frozen dataclasses whose fields are bool, int, float or tuples of int or float.

    Subclasses set `schedule`, the name their JSON carries, and `version`, which grows when the fields change meaning.
    """

    __slots__ = ()
    schedule: ClassVar[str]
    version: ClassVar[int] = 1

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields' values in order, as the core takes them."""
        values: tuple[Any, ...] = _reader(type(self))(self)  # type: ignore[arg-type]
        return values

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: numbers and lists; infinity is the text "inf" or "-inf"."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {"schedule": self.schedule, "version": self.version} | {k: _plain(v) for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The state that `to_dict` described, equal to the bit.

        Raises InputError for the state of another schedule or version, a missing or unknown field, and a value of
        another kind than the field's.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"the state of {cls.schedule} is a mapping", got=repr(values))
        values = cls.completed(values)
        schedule, version = values.get("schedule"), values.get("version")
        if schedule != cls.schedule:
            raise InputError(f"this is no state of schedule {cls.schedule}", got=f"schedule {schedule}")
        if version != cls.version:
            raise InputError(f"this is no {cls.schedule} state of version {cls.version}", got=f"version {version}")
        kinds = {field.name: str(field.type) for field in fields(cls)}  # type: ignore[arg-type]
        for name in sorted({*kinds, "schedule", "version"} ^ set(values)):
            trouble = "has no field" if name in values else "lacks the field"
            raise InputError(f'this {cls.schedule} state {trouble} "{name}"')
        return cls(**{name: _typed(name, kind, values[name]) for name, kind in kinds.items()})

    @classmethod
    def completed(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """A `to_dict`, with the fields that older ones of this version lack."""
        return values

    def to_json(self) -> str:
        """`to_dict` as strict JSON, doubles in their shortest form that reads back exactly."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The state that `to_json` wrote. Raises InputError."""
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise InputError(f"the state of {cls.schedule} is written in JSON", got=str(error)) from None


def check_state(state: object, kind: type[StateT]) -> StateT:
    """`state` itself. Raises InputError where it is not a state of this kind."""
    if not isinstance(state, kind):
        raise InputError(f"{kind.schedule} needs a state of its own", got=f"a {type(state).__name__}")
    return state


def settle(schedule: object, **values: object) -> None:
    """Write the checked values into a frozen schedule that is being made."""
    for name, value in values.items():
        object.__setattr__(schedule, name, value)


def check_name(what: str, name: object, known: Iterable[str]) -> None:
    """Raise InputError, listing the known names, where `name` is none of them."""
    if name not in (names := tuple(known)):
        raise InputError(f'{what} "{name}" is unknown', remedy=did_you_mean(str(name), names))


def real(name: str, value: object) -> float:
    """`value` as a double, NaN and infinity too. Raises InputError, naming the field."""
    if isinstance(value, str | bytes):
        raise InputError(f"{name} must be a number", got=repr(value))
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} must be a number", got=repr(value)) from None


def check_rate(name: str, value: object) -> float:
    """`value` as a rate, a double from 0 to `LARGEST_RATE`. Raises InputError, naming the field."""
    rate = real(name, value)
    if not 0 <= rate <= LARGEST_RATE:
        raise InputError(f"{name} must be a number from 0 to 1e100", got=rate)
    return rate


def whole(name: str, value: object, least: int = -(2**63), most: int = 2**63 - 1) -> int:
    """`value` as a whole number from `least` to `most`. Raises InputError, naming the field."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{name} must be a whole number", got=repr(value)) from None
    if not least <= number <= most:
        raise InputError(f"{name} must be a whole number from {least} to {most}", got=number)
    return number


@cache
def _reader(kind: type[State]) -> attrgetter[Any]:
    """Reads all fields at once; every state has several."""
    return attrgetter(*(field.name for field in fields(kind)))  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _typed(name: str, kind: str, value: object) -> Any:
    if kind.startswith("tuple"):
        if not isinstance(value, list | tuple):
            raise InputError(f"{name} must be a list", got=repr(value))
        return tuple(_typed(name, "int" if "int" in kind else "float", item) for item in value)
    if kind == "bool":
        if not isinstance(value, bool):
            raise InputError(f"{name} must be true or false", got=repr(value))
        return value
    if kind == "int":
        return whole(name, value)
    number = float(value) if value in ("inf", "-inf") else real(name, value)
    if math.isnan(number):
        raise InputError(f"{name} must be a number", got="nan")
    return number
