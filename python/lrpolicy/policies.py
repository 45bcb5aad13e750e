"""Learning-rate policies: the 13 functions of the LRBench paper (Table I) and Caffe's sigmoid.

    eta(t) = |k0 - k1| * g(t) + min(k0, k1)

`POLICIES` and `PARAMETERS` tell what the compiled policy table knows; `Policy` is one function with its parameters.
`ADAPTIVE_POLICIES` and `ADAPTIVE_PARAMETERS` tell the same of the policies that observe the training; with their
parameters those are a `lrpolicy.stateful.AdaptivePolicy`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy import _core
from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.iterations import as_iterations, check_iterations, room_for
from lrpolicy.policy_text import assignments, split_text, written

ParameterValue = float | int | tuple[int, ...]
_Real = TypeVar("_Real", np.float64, np.float32)


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """A row of the parameter table. `kind` is "real", "integer" or "integers"; every value is at least `least`."""

    name: str
    symbol: str
    kind: str
    least: int
    meaning: str
    example: str

    @property
    def rule(self) -> str:
        """What a value must be, in words."""
        wanted = {"real": "a number", "integer": "whole", "integers": "whole, repeated"}[self.kind]
        return f"{wanted} >= {self.least}"


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """A row of the policy table.

    `paper_name` is the LRBench paper's (empty for sigmoid), `family` is "fixed", "decaying", "cyclic" or "extra",
    `parameters` are required and `optional` allowed, `period` is in iterations (empty where nothing repeats),
    `parameter_count` is #Param of Table I as printed, `formula` is g(t).
    """

    name: str
    paper_name: str
    family: str
    parameters: tuple[str, ...]
    optional: tuple[str, ...]
    period: str
    parameter_count: str
    formula: str
    meaning: str
    note: str


@dataclass(frozen=True, slots=True)
class AdaptiveParameterInfo:
    """A parameter of policies that observe the training. `kind` is that of `ParameterInfo`, or "text" or "flag";
    `default` is a text, empty where the parameter is needed or has none.
    """

    name: str
    symbol: str
    kind: str
    rule: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class AdaptivePolicyInfo:
    """A policy that observes the training: "test loss" after each test pass, "training loss" of each iteration, or
    "gradients". The other fields are those of `PolicyInfo`; `formula` is the rate.
    """

    name: str
    paper_name: str
    parameters: tuple[str, ...]
    optional: tuple[str, ...]
    parameter_count: str
    feedback: str
    formula: str
    meaning: str
    note: str
    family: ClassVar[str] = "adaptive"
    period: ClassVar[str] = ""


PARAMETERS: Mapping[str, ParameterInfo] = MappingProxyType(
    {row[0]: ParameterInfo(*row) for row in _core.parameter_table}
)
POLICIES: Mapping[str, PolicyInfo] = MappingProxyType({row[0]: PolicyInfo(*row) for row in _core.policy_table})
ADAPTIVE_PARAMETERS: Mapping[str, AdaptiveParameterInfo] = MappingProxyType(
    {row[0]: AdaptiveParameterInfo(*row) for row in _core.adaptive_parameter_table}
)
ADAPTIVE_POLICIES: Mapping[str, AdaptivePolicyInfo] = MappingProxyType(
    {row[0]: AdaptivePolicyInfo(*row) for row in _core.adaptive_policy_table}
)
_ALIASES = {alias: (name, note) for alias, name, note in _core.alias_table}
_INFOS: list[PolicyInfo | AdaptivePolicyInfo] = [*POLICIES.values(), *ADAPTIVE_POLICIES.values()]
_PAPER_NAMES = {info.paper_name: info.name for info in _INFOS if info.paper_name}
_KINDS = {row.name: row.kind for row in PARAMETERS.values()}
_KINDS |= {row.name: row.kind for row in ADAPTIVE_PARAMETERS.values()}


def canonical_name(name: str) -> tuple[str, str | None]:
    """The `lr_policy` that `name` stands for, and a note to the user where the name was not that itself.

    Accepts both tables' names, the paper's in any case ("TRI2", "nstep") and the aliases found in other people's
    prototxt files ("triangular2", "exp_range"). Raises InputError for an unknown name.
    """
    if not isinstance(name, str):
        raise InputError("a policy's name is a text", got=repr(name))
    if name in POLICIES or name in ADAPTIVE_POLICIES:
        return name, None
    if name in _ALIASES:
        known, note = _ALIASES[name]
        return known, f'"{name}" is read as "{known}": {note}'
    if name.upper() in _PAPER_NAMES:
        known = _PAPER_NAMES[name.upper()]
        return known, f'"{name}" is read as "{known}", its name in a prototxt'
    raise InputError(f'lr_policy "{name}" is unknown', remedy=did_you_mean(name, [*POLICIES, *ADAPTIVE_POLICIES]))


def read_text(text: str) -> tuple[str, dict[str, Any]]:
    """The `lr_policy` and the parameters of a text like `tri2:max_lr=0.06,stepsize=2000`; some may be missing.

    Raises InputError for an unknown name or parameter and a value of another kind than its parameter's.
    """
    if not isinstance(text, str):
        raise InputError("a policy's text reads name:key=value,...", got=repr(text))
    name, parts = split_text(text)
    return canonical_name(name)[0], read_settings(parts, where=text)


def read_settings(parts: Iterable[str], *, where: str) -> dict[str, Any]:
    """`key=value` texts as parameters of whatever policy; a key given twice makes a list. Raises InputError."""
    return assignments(parts, _KINDS, where=where)


class NamedPolicy:
    """What every policy is: a name and parameters; immutable, hashable, equal by value, the same as dict and text."""

    __slots__ = ()
    _name: str
    _parameters: Mapping[str, Any]

    if TYPE_CHECKING:

        def __init__(self, name: str, **parameters: Any) -> None: ...

    @property
    def name(self) -> str:
        """The `lr_policy`."""
        return self._name

    def to_dict(self) -> dict[str, Any]:
        """Plain values under prototxt names: {"lr_policy": ..., ...}; JSON keeps them."""
        lists = {key: list(value) if isinstance(value, tuple) else value for key, value in self._parameters.items()}
        return {"lr_policy": self._name, **lists}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The policy that `to_dict` described. Raises InputError."""
        if "lr_policy" not in values:
            raise InputError("a policy needs lr_policy, its name", got=repr(dict(values)))
        return cls(values["lr_policy"], **{key: value for key, value in values.items() if key != "lr_policy"})

    @classmethod
    def parse(cls, text: str) -> Self:
        """The policy of a text like `tri2:base_lr=0.01,max_lr=0.06,stepsize=2000`, a list's key repeated.

        Raises InputError, with the text, for whatever the constructor does, and for a part that is no key=value.
        """
        name, parameters = read_text(text)
        try:
            return cls(name, **parameters)
        except InputError as error:
            raise error.at(text) from None

    def to_text(self) -> str:
        """The text that `parse` reads back as an equal policy."""
        return written(self._name, self._parameters)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self._name == other._name and self._parameters == other._parameters

    def __hash__(self) -> int:
        return hash((self._name, tuple(self._parameters.items())))

    def __repr__(self) -> str:
        values = [repr(self._name), *(f"{key}={value!r}" for key, value in self._parameters.items())]
        return f"{type(self).__name__}({', '.join(values)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_dict, (self.to_dict(),)


@_core.with_own_rate
class Policy(NamedPolicy, _core.PolicyCore):
    """One learning-rate policy with its parameters: a pure, immutable, hashable function of the iteration.

    Parameters carry their prototxt names (see `PARAMETERS`); `name` may also be an alias or the paper's name.
    Rates are computed with six bits more than a double has and rounded once (csrc/README.md, Numbers). Raises
    InputError for an unknown name or parameter, a missing parameter, and a value that breaks its rule.

    >>> policy = Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=2000)
    >>> policy.rate(2000)
    0.06
    >>> policy.rates(range(0, 8001, 2000))
    array([0.01 , 0.06 , 0.01 , 0.035, 0.01 ])
    """

    __slots__ = ("_name", "_parameters")
    _name: str
    _parameters: Mapping[str, ParameterValue]

    def __init__(self, name: str, **parameters: float | Sequence[int]) -> None:
        self._name, _ = canonical_name(name)
        if self._name in ADAPTIVE_POLICIES:
            rule = f'"{self._name}" observes the training: its rates are no function of the iteration'
            raise InputError(rule, remedy="make a lrpolicy.stateful.AdaptivePolicy of it")
        for given in parameters:
            if given not in PARAMETERS:
                known = POLICIES[self._name].parameters + POLICIES[self._name].optional
                rule = f'policy "{self._name}" has no parameter "{given}"'
                raise InputError(rule, remedy=did_you_mean(given, known))
        values = {key: _value(info, parameters[key]) for key, info in PARAMETERS.items() if key in parameters}
        self._parameters = MappingProxyType(values)
        _core.PolicyCore.__init__(self, self._name, values)

    @property
    def parameters(self) -> dict[str, ParameterValue]:
        """The parameters that were set, in the table's order."""
        return dict(self._parameters)

    @property
    def info(self) -> PolicyInfo:
        """The policy's row of the table."""
        return POLICIES[self._name]

    @property
    def parameter_count(self) -> int:
        """#Param of the LRBench paper's Table I: how many numbers the policy sets, each stepvalue for itself."""
        return sum(len(value) if isinstance(value, tuple) else 1 for value in self._parameters.values())

    @overload
    def rates(self, ts: range | ArrayLike, out: None = None) -> NDArray[np.float64]: ...
    @overload
    def rates(self, ts: range | ArrayLike, out: NDArray[_Real]) -> NDArray[_Real]: ...
    def rates(self, ts: range | ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The rates at the iterations `ts`, in its shape; a range is fastest, and faster still into memory in use.

        Each equals `rate` of that iteration, bit for bit. `out`, a C-contiguous array of that shape, takes the rates
        and is returned: float64, or float32 for rates rounded once more. Raises InputError for negative or fractional
        iterations and for an `out` that does not fit.
        """
        if isinstance(ts, range):
            if not ts:
                return room_for((0,), out)
            check_iterations(min(ts[0], ts[-1]), max(ts[0], ts[-1]))
            out = room_for((len(ts),), out)
            self._fill_range(ts[0], ts.step if len(ts) > 1 else 1, out)
            return out
        iterations = as_iterations(ts)
        out = room_for(iterations.shape, out)
        self._fill_array(iterations, out)
        return out

    def __rshift__(self, other: object) -> Any:
        """`policy >> cool_down(1000, at=9000)`, a chain (see `lrpolicy.compositions`). Raises InputError."""
        from lrpolicy.compositions.chain import joined  # which is made of policies

        return joined(self, other)


def _value(info: ParameterInfo, value: object) -> ParameterValue:
    """The value as the table types it: float, int, or a tuple of int. Its rule is the core's to check."""
    try:
        if info.kind == "real":
            if isinstance(value, str | bytes):
                raise TypeError
            return float(value)  # type: ignore[arg-type]
        if info.kind == "integers":
            items = value if np.iterable(value) and not isinstance(value, str) else (value,)
            return tuple(_int64(item) for item in items)
        return _int64(value)
    except (TypeError, ValueError, OverflowError):
        wanted = {"real": "a number", "integer": "a whole number", "integers": "a list of whole numbers"}[info.kind]
        raise InputError(f"{info.name} must be {wanted}", got=repr(value)) from None


def _int64(value: object) -> int:
    number = operator.index(value)  # type: ignore[arg-type]
    if abs(number) >= 2**63:
        raise OverflowError
    return number
