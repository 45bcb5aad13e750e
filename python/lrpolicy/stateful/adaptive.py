"""The adaptive policies by name: one value with typed parameters, from which a training makes its schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.policies import (
    ADAPTIVE_PARAMETERS,
    ADAPTIVE_POLICIES,
    AdaptiveParameterInfo,
    AdaptivePolicyInfo,
    NamedPolicy,
    Policy,
    canonical_name,
    read_text,
)
from lrpolicy.stateful.aslr import Aslr
from lrpolicy.stateful.decay import DecaySequence
from lrpolicy.stateful.plateau import Plateau
from lrpolicy.stateful.tlr import Tlr
from lrpolicy.stateful.values import real, whole

AdaptiveValue = float | int | bool | str | tuple[int, ...]
AdaptiveSchedule = Tlr | Aslr | DecaySequence | Plateau


class AdaptivePolicy(NamedPolicy):
    """A policy that observes the training, with the parameters that were set, under their prototxt names.

    Immutable and hashable like `Policy`, but without rates of its own: `schedule` makes what has them, once it is known
    what is trained. Raises InputError for an unknown name, an unknown, missing or wrong parameter.

    >>> policy = AdaptivePolicy("seq3", base_lr=0.1, strategy="by_oscillate")
    >>> policy.schedule().strategy
    'by_oscillate'
    """

    __slots__ = ("_name", "_parameters")
    _name: str
    _parameters: Mapping[str, AdaptiveValue]

    def __init__(self, name: str, **parameters: float | str | Sequence[int]) -> None:
        self._name, _ = canonical_name(name)
        if self._name not in ADAPTIVE_POLICIES:
            raise InputError(f'"{self._name}" is a function of the iteration', remedy="make a Policy of it")
        known = (*self.info.parameters, *self.info.optional)
        for given in parameters:
            if given not in known:
                rule = f'policy "{self._name}" has no parameter "{given}"'
                raise InputError(rule, remedy=did_you_mean(given, known))
        for needed in self.info.parameters:
            if needed not in parameters:
                info = ADAPTIVE_PARAMETERS[needed]
                raise InputError(f'policy "{self._name}" needs {needed} ({info.meaning}; {info.rule})')
        values = {key: _value(info, parameters[key]) for key, info in ADAPTIVE_PARAMETERS.items() if key in parameters}
        self._parameters = MappingProxyType(values)
        self.schedule()  # its rules are the machines' to check

    @property
    def parameters(self) -> dict[str, AdaptiveValue]:
        """The parameters that were set, in the table's order."""
        return dict(self._parameters)

    @property
    def info(self) -> AdaptivePolicyInfo:
        """The policy's row of the table."""
        return ADAPTIVE_POLICIES[self._name]

    @property
    def parameter_count(self) -> int:
        """How many numbers the policy sets, each plateau_winsize for itself; names and flags are none."""
        counts = (
            len(value) if isinstance(value, tuple) else not isinstance(value, bool | str)
            for value in self._parameters.values()
        )
        return sum(counts)

    def schedule(self, epoch_iterations: int = 1, lr_mult: Sequence[float] = (1.0,)) -> AdaptiveSchedule:
        """The schedule for a training whose epoch has so many iterations and whose tensors have these multipliers.

        Both matter to tlr alone, whose own `epoch` comes first where it was set. Raises InputError for an lr_mult that
        leaves no tensor to learn.
        """
        values: dict[str, Any] = dict(self._parameters)
        if self._name == "tlr":
            epoch = whole("epoch", values.pop("epoch", epoch_iterations), 1)
            if values.get("variant") == "naive" and values.get("source") != "gradient":
                rule = 'variant "naive" compares two gradients of one batch, and needs source "gradient"'
                raise InputError(rule, got=f'"{values.get("source", "displacement")}"')
            return Tlr(**{"source": "displacement"} | values, epoch_iterations=epoch, lr_mult=lr_mult)
        if self._name == "aslr":
            return Aslr(**values)
        if self._name == "plateau":
            return Plateau(**values)
        return DecaySequence(self._name, **{"strategy": "by_epoch"} | values)


AnyPolicy = Policy | AdaptivePolicy


def policy_from_dict(values: Mapping[str, Any]) -> AnyPolicy:
    """The policy of either kind that `to_dict` described. Raises InputError."""
    adaptive = "lr_policy" in values and canonical_name(values["lr_policy"])[0] in ADAPTIVE_POLICIES
    return (AdaptivePolicy if adaptive else Policy).from_dict(values)


def parse_policy(text: str) -> AnyPolicy:
    """The policy of either kind that a text like `tri2:base_lr=0.01,max_lr=0.06,stepsize=2000` names.

    Raises InputError.
    """
    return (AdaptivePolicy if read_text(text)[0] in ADAPTIVE_POLICIES else Policy).parse(text)


def _value(info: AdaptiveParameterInfo, value: object) -> AdaptiveValue:
    """The value as the table types it. Its rule is the machine's to check."""
    if info.kind == "real":
        return real(info.name, value)
    if info.kind == "integer":
        return whole(info.name, value, 0, 2**64 - 1)
    if info.kind == "integers":
        items = value if np.iterable(value) and not isinstance(value, str) else (value,)
        return tuple(whole(info.name, item) for item in items)
    if info.kind == "flag":
        if not isinstance(value, bool):
            raise InputError(f"{info.name} must be true or false", got=repr(value))
        return value
    if not isinstance(value, str):
        raise InputError(f"{info.name} must be one of {info.rule}", got=repr(value))
    return value
