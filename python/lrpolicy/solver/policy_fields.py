"""A policy inside a SolverParameter: which fields it takes, how other people's names are read, how it is written."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from lrpolicy.errors import InputError
from lrpolicy.policies import (
    ADAPTIVE_PARAMETERS,
    ADAPTIVE_POLICIES,
    PARAMETERS,
    POLICIES,
    AdaptivePolicyInfo,
    Policy,
    PolicyInfo,
    canonical_name,
)
from lrpolicy.prototxt import messages
from lrpolicy.prototxt.text import Document, UnknownField
from lrpolicy.stateful import AdaptivePolicy, AnyPolicy, Aslr

# Policies and fields of other people's Caffes, and what to write instead.
FOREIGN_POLICIES = {
    "multifixed": 'it is piecewise constant; lr_policy "multistep" with stepvalue is the nearest',
    "sgdr": 'it is a cosine with restarts; lr_policy "cos" with max_lr and stepsize as its period is the nearest',
}
_NO_RAMPS = (
    "Caffe's solver has no warm-up: leave it out, or start with a cyclic policy at a low base_lr; "
    "for PyTorch, JAX and Keras there is  lrpolicy.compositions.warm_up(500) >> policy"
)
FOREIGN_FIELDS = {
    "layer": 'this looks like a net; a solver names its net with  net: "FILE.prototxt"',
    "layers": 'this looks like a net; a solver names its net with  net: "FILE.prototxt"',
    "warmup_iter": _NO_RAMPS,
    "warmup_start_lr": _NO_RAMPS,
    "rampup_interval": _NO_RAMPS,
    "rampup_lr": _NO_RAMPS,
    "stagelr": 'it belongs to the policy "multifixed"; see lr_policy "multistep" with stepvalue',
    "stageiter": 'it belongs to the policy "multifixed"; see lr_policy "multistep" with stepvalue',
    "lr_mult": 'it belongs to the policy "sgdr"; see lr_policy "cos" with stepsize',
    "p_mult": 'it belongs to the policy "sgdr"; see lr_policy "cos" with stepsize',
    "period": 'it belongs to the policy "sgdr"; see lr_policy "cos" with stepsize',
}

# Parameters of policies that stand in lr_policy_param; all others are fields of the solver itself.
NESTED = tuple(messages.LearningRatePolicyParameter.DESCRIPTOR.fields_by_name)

# The solver's own length; a policy may ask for it, but it is not the policy's.
_SOLVER_FIELDS = {"max_iter"}


def take_foreign(message: Any, unknown: UnknownField) -> str | None:
    """Read other people's `start_lr_policy` and `plateau_winsize` as fields of lr_policy_param; returns the note to the
    user, or None for a field that has no place there.
    """
    if unknown.message != "SolverParameter" or unknown.name not in ("start_lr_policy", "plateau_winsize"):
        return None
    if unknown.value is None or not re.fullmatch(r"\d{1,9}", unknown.value):
        raise InputError(f"{unknown.name} must be a whole number, 0 or more", where=unknown.where, got=unknown.value)
    if unknown.name == "plateau_winsize":
        message.lr_policy_param.plateau_winsize.append(int(unknown.value))
    else:
        message.lr_policy_param.start = int(unknown.value)
    ours = unknown.name.removesuffix("_lr_policy")
    return f"{unknown.where}: {unknown.name} is read as lr_policy_param {{ {ours}: {unknown.value} }}"


def read_policy(document: Document) -> tuple[AnyPolicy, list[str]]:
    """The policy that a SolverParameter describes, and notes: an alias taken, a field that the policy does not use.

    Float fields are float32 in Caffe's schema; the policy holds their exact values. `lr_policy` becomes the
    canonical name in the message.

    Raises:
        InputError: the name is unknown or missing, a parameter is missing or breaks its rule, a field of
            lr_policy_param belongs to another policy, a policy that observes the tests has none; with file and line.
    """
    message, place = document.message, document.where("lr_policy")
    if message.lr_policy in FOREIGN_POLICIES:
        rule = f'lr_policy "{message.lr_policy}" is not known here'
        raise InputError(rule, where=place, remedy=FOREIGN_POLICIES[message.lr_policy])
    if not message.HasField("lr_policy"):
        remedy = f'known: {", ".join(sorted([*POLICIES, *ADAPTIVE_POLICIES]))}; add for example  lr_policy: "fixed"'
        raise InputError("lr_policy is missing", where=place, remedy=remedy)
    try:
        name, note = canonical_name(message.lr_policy)
    except InputError as error:
        raise error.at(place) from None
    notes = [f"{place}: lr_policy {note}"] if note else []
    message.lr_policy = name
    info: PolicyInfo | AdaptivePolicyInfo = ADAPTIVE_POLICIES[name] if name in ADAPTIVE_POLICIES else POLICIES[name]
    values = _values(message)
    notes += _unused(info, values, document)
    used = {field: value for field, value in values.items() if field in (*info.parameters, *info.optional)}
    try:
        if isinstance(info, PolicyInfo):
            return Policy(name, **used), notes
        policy = AdaptivePolicy(name, **used)
    except InputError as error:
        remedy = f"`lrpolicy explain {name}` tells what its fields may be"
        raise error.at(_place_of(error, values, document), remedy) from None
    _check_feedback(info, document)
    schedule = policy.schedule()
    if isinstance(schedule, Aslr) and np.float32(schedule.center(schedule.init())) != np.float32(schedule.base_lr):
        notes.append(f"{document.where('base_lr')}: {schedule.note}")
    return policy, notes


def write_policy(message: Any, policy: AnyPolicy) -> None:
    """Replace the policy inside a SolverParameter. A policy's `max_iter` becomes the solver's."""
    for field in _values(message):
        if field not in _SOLVER_FIELDS and field not in NESTED:
            message.ClearField(field)
    message.ClearField("lr_policy_param")
    message.lr_policy = policy.name
    for field, value in policy.parameters.items():
        home = message.lr_policy_param if field in NESTED else message
        if isinstance(value, tuple):
            getattr(home, field).extend(value)
        else:
            setattr(home, field, value)


def _field(parameter: str) -> tuple[str, ...]:
    return ("lr_policy_param", parameter) if parameter in NESTED else (parameter,)


def _values(message: Any) -> dict[str, Any]:
    """The parameters of any policy that are set in the message, in the tables' order."""
    values: dict[str, Any] = {}
    for name in (*PARAMETERS, *(name for name in ADAPTIVE_PARAMETERS if name not in PARAMETERS)):
        home = message.lr_policy_param if name in NESTED else message
        if messages.is_repeated(home.DESCRIPTOR.fields_by_name[name]):
            if len(getattr(home, name)):
                values[name] = tuple(getattr(home, name))
        elif home.HasField(name):
            values[name] = getattr(home, name)
    return values


def _unused(info: PolicyInfo | AdaptivePolicyInfo, values: dict[str, Any], document: Document) -> list[str]:
    """Notes on the solver's fields that the policy does not use.

    Those of lr_policy_param are ours alone, and one of another policy is an error (but `start`, which every cyclic
    policy has and other Caffes' files set beside the others too).
    """
    notes = []
    for field in values:
        if field in (*info.parameters, *info.optional, *_SOLVER_FIELDS):
            continue
        rule, place = f'lr_policy "{info.name}" does not use {field}', document.where(*_field(field))
        if field in NESTED and field != "start":
            takes = ", ".join(name for name in (*info.parameters, *info.optional) if name in NESTED)
            remedy = f"remove it; its lr_policy_param has: {takes}" if takes else "remove it"
            raise InputError(rule, where=place, remedy=remedy)
        notes.append(f"{place}: {rule}")
    return notes


def _check_feedback(info: AdaptivePolicyInfo, document: Document) -> None:
    """Raise InputError for a policy that would wait for test passes in vain."""
    if info.feedback == "test loss" and document.message.test_interval < 1:
        rule = f'lr_policy "{info.name}" observes the loss of each test pass, and test_interval is not set'
        remedy = "add for example  test_interval: 500  (the iterations of an epoch)"
        raise InputError(rule, where=document.where("lr_policy"), remedy=remedy)


def _place_of(error: InputError, values: dict[str, Any], document: Document) -> str:
    """The line of the parameter that the rule starts with, where the file has it; else of lr_policy."""
    for word in re.findall(r"\w+", error.rule):
        if word in values:
            return document.where(*_field(word), _wrong_element(error, values[word]))
    return document.where("lr_policy")


def _wrong_element(error: InputError, value: Any) -> int:
    """Which element of a list the error is about: the one that it got, or the first that falls ("100 after 300")."""
    if not isinstance(value, tuple):
        return 0
    got = str(error.got)
    falls = " after " in got
    return next((i for i, v in enumerate(value) if str(v) == got or (falls and i and v <= value[i - 1])), 0)
