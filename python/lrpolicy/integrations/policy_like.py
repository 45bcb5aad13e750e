"""What a user may give an adapter as a policy: an object, a name with parameters, a text, or a dict."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from lrpolicy.compositions import (
    Chain,
    CoolDown,
    Lasting,
    Ramp,
    SwitchOnPlateau,
    SwitchState,
    WarmUp,
    is_chain,
    parse_chain,
)
from lrpolicy.errors import InputError
from lrpolicy.policies import ADAPTIVE_POLICIES, Policy, canonical_name
from lrpolicy.schedules import Schedule
from lrpolicy.stateful import AdaptivePolicy, AdaptiveSchedule, parse_policy, policy_from_dict
from lrpolicy.sweeps import Sweep

PolicyLike = Schedule | Mapping[str, Any] | str
ObservingPolicy = AdaptivePolicy | SwitchOnPlateau
AnyPolicyLike = PolicyLike | ObservingPolicy

# Of an object without a `__repr__` of its own.
_ADDRESS = re.compile(" at 0x[0-9a-fA-F]+")


def is_name(given: object) -> bool:
    """Whether it is a text without parameters, which stand beside it."""
    return isinstance(given, str) and ":" not in given and not is_chain(given)


def as_schedule(given: object, parameters: Mapping[str, Any] | None = None, *, instead: str) -> Schedule:
    """A function of the iteration: a `Schedule` as it is, the text of a chain as that, anything else as a `Policy`.

    Raises InputError for what is none, for parameters that stand beside anything but a name, and for a policy that
    observes the training; `instead` is what takes those.
    """
    observing = _observing(given)
    if observing is not None:
        rule = f'"{observing}" observes the training: its rates are no function of the iteration'
        raise InputError(rule, remedy=f"use {instead}")
    return _schedule(given, parameters)


def _schedule(given: object, parameters: Mapping[str, Any] | None) -> Schedule:
    _check_alone(given, parameters)
    if isinstance(given, str) and is_name(given):
        return Policy(given, **parameters or {})
    if isinstance(given, str):
        return parse_chain(given) if is_chain(given) else Policy.parse(given)
    if isinstance(given, Mapping):
        return Policy.from_dict(given)
    if isinstance(given, Schedule):
        return given
    rule = "a policy is a Policy, a name with parameters, its text, a dict of them, or a Schedule"
    remedy = "join it to a policy with >>" if isinstance(given, WarmUp | CoolDown | Lasting) else None
    raise InputError(rule, got=repr(given), remedy=remedy)


def as_any_policy(given: object, parameters: Mapping[str, Any] | None = None) -> ObservingPolicy | Schedule:
    """The same for policies of either kind: what observes the training comes as an `AdaptivePolicy` or a switch."""
    if isinstance(given, str):
        if is_name(given) and canonical_name(given)[0] in ADAPTIVE_POLICIES:
            return AdaptivePolicy(given, **parameters or {})
        if not is_name(given) and not is_chain(given) and not parameters:
            return parse_policy(given)
    if isinstance(given, Mapping) and not parameters:
        return policy_from_dict(given)
    if isinstance(given, AdaptivePolicy | SwitchOnPlateau) and not parameters:
        return given
    return _schedule(given, parameters)


def name_of(policy: ObservingPolicy) -> str:
    """What to call it in a message."""
    return policy.name if isinstance(policy, AdaptivePolicy) else SwitchState.schedule


def text_of(policy: ObservingPolicy) -> str:
    """What to call it in a message about two of a name."""
    return policy.to_text() if isinstance(policy, AdaptivePolicy) else repr(policy)


def identity(policy: object) -> Any:
    """What a saved state remembers of a policy or schedule, to know it again: plain values, alike in every process.

    Of a schedule of ours, the fields that differ from their defaults, so that one with a default can be added. Of
    another's, what it prints without addresses in memory: at least its class.
    """
    if isinstance(policy, Policy | AdaptivePolicy):
        return policy.to_dict()
    if isinstance(policy, tuple):
        return [identity(item) for item in policy]
    if isinstance(policy, Chain | Ramp | SwitchOnPlateau | Sweep | AdaptiveSchedule):
        values = {field.name: getattr(policy, field.name) for field in fields(policy) if field.repr}
        defaults = {field.name: field.default for field in fields(policy)}
        set_ = {name: identity(value) for name, value in values.items() if value != defaults[name]}
        return {"schedule": type(policy).__name__} | set_
    return policy if isinstance(policy, str | int | float) else _printed(policy)


def is_identity_of(saved: object, policy: object) -> bool:
    """Whether a saved state remembers this policy, by its `identity` or as older states do, by what it printed.

    TLR printed no `restart_below` before there was one.
    """
    if isinstance(saved, str):
        printed = _printed(policy)
        return _ADDRESS.sub("", saved) in (printed, printed.replace(", restart_below=0.0", ""))
    return bool(saved == identity(policy))


def are_identities_of(saved: object, policies: Sequence[object]) -> bool:
    """The same of a list."""
    return isinstance(saved, list) and len(saved) == len(policies) and all(map(is_identity_of, saved, policies))


def _printed(policy: object) -> str:
    return _ADDRESS.sub("", repr(policy))


def _observing(given: object) -> str | None:
    """The name of a policy that observes the training, however it is given. Raises InputError for an unknown one."""
    if isinstance(given, AdaptivePolicy | SwitchOnPlateau):
        return name_of(given)
    name = given.get("lr_policy") if isinstance(given, Mapping) else given
    if not isinstance(name, str) or is_chain(name):
        return None
    known, _ = canonical_name(name.partition(":")[0].strip())
    return known if known in ADAPTIVE_POLICIES else None


def _check_alone(given: object, parameters: Mapping[str, Any] | None) -> None:
    if parameters and not is_name(given):
        raise InputError("parameters go with a policy's name", got=f"{sorted(parameters)} with {given!r}")
