"""What a user may give an adapter as a policy: an object, a name with parameters, a text, or a dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrpolicy.compositions import SwitchOnPlateau, SwitchState, is_chain, parse_chain
from lrpolicy.errors import InputError
from lrpolicy.policies import ADAPTIVE_POLICIES, Policy, canonical_name
from lrpolicy.schedules import Schedule
from lrpolicy.stateful import AdaptivePolicy, parse_policy, policy_from_dict

PolicyLike = Schedule | Mapping[str, Any] | str
ObservingPolicy = AdaptivePolicy | SwitchOnPlateau
AnyPolicyLike = PolicyLike | ObservingPolicy


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
    raise InputError(
        "a policy is a Policy, a name with parameters, its text, a dict of them, or a Schedule", got=repr(given)
    )


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


def identity(policy: Schedule | ObservingPolicy) -> dict[str, Any] | str:
    """What a saved state remembers of a policy, to know it again."""
    return policy.to_dict() if isinstance(policy, Policy | AdaptivePolicy) else repr(policy)


def _observing(given: object) -> str | None:
    """The name of a policy that observes the training, however it is given."""
    if isinstance(given, AdaptivePolicy | SwitchOnPlateau):
        return name_of(given)
    name = given.get("lr_policy") if isinstance(given, Mapping) else given
    name = name.partition(":")[0].strip() if isinstance(name, str) else ""
    return name if name in ADAPTIVE_POLICIES else None


def _check_alone(given: object, parameters: Mapping[str, Any] | None) -> None:
    if parameters and not is_name(given):
        raise InputError("parameters go with a policy's name", got=f"{sorted(parameters)} with {given!r}")
