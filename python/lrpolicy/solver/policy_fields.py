"""A policy inside a SolverParameter: which fields it takes, how other people's names are read, how it is written."""

from __future__ import annotations

import re
from typing import Any

from lrpolicy.errors import InputError
from lrpolicy.policies import PARAMETERS, POLICIES, Policy, canonical_name
from lrpolicy.prototxt.text import Document, UnknownField

# Policies and fields of other people's Caffes, and what to write instead.
FOREIGN_POLICIES = {
    "plateau": "it falls when the training loss stands still, which needs feedback; "
    'lr_policy "multistep" with stepvalue falls at iterations given beforehand',
    "multifixed": 'it is piecewise constant; lr_policy "multistep" with stepvalue is the nearest',
    "sgdr": 'it is a cosine with restarts; lr_policy "cos" with max_lr and stepsize as its period is the nearest',
}
FOREIGN_FIELDS = {
    "layer": 'this looks like a net; a solver names its net with  net: "FILE.prototxt"',
    "layers": 'this looks like a net; a solver names its net with  net: "FILE.prototxt"',
    "plateau_winsize": 'it belongs to the policy "plateau", which is not known here; see lr_policy "multistep"',
    "warmup_iter": "a warm-up is not known here; leave it out, or start with a cyclic policy at a low base_lr",
    "warmup_start_lr": "a warm-up is not known here; leave it out, or start with a cyclic policy at a low base_lr",
    "rampup_interval": "a ramp is not known here; leave it out, or start with a cyclic policy at a low base_lr",
    "rampup_lr": "a ramp is not known here; leave it out, or start with a cyclic policy at a low base_lr",
    "stagelr": 'it belongs to the policy "multifixed"; see lr_policy "multistep" with stepvalue',
    "stageiter": 'it belongs to the policy "multifixed"; see lr_policy "multistep" with stepvalue',
    "lr_mult": 'it belongs to the policy "sgdr"; see lr_policy "cos" with stepsize',
    "p_mult": 'it belongs to the policy "sgdr"; see lr_policy "cos" with stepsize',
    "period": 'it belongs to the policy "sgdr"; see lr_policy "cos" with stepsize',
}

# The solver's own length; a policy may ask for it, but it is not the policy's.
_SOLVER_FIELDS = {"max_iter"}


def take_start(message: Any, unknown: UnknownField) -> str:
    """Read the foreign field `start_lr_policy` as lr_policy_param.start; returns the note to the user."""
    if unknown.value is None or not re.fullmatch(r"\d{1,9}", unknown.value):
        raise InputError("start_lr_policy must be a whole number, 0 or more", where=unknown.where, got=unknown.value)
    message.lr_policy_param.start = int(unknown.value)
    return f"{unknown.where}: start_lr_policy is read as lr_policy_param {{ start: {unknown.value} }}"


def read_policy(document: Document) -> tuple[Policy, list[str]]:
    """The policy that a SolverParameter describes, and notes: an alias taken, a field that the policy does not use.

    Float fields are float32 in Caffe's schema; the policy holds their exact values. `lr_policy` becomes the
    canonical name in the message.

    Raises:
        InputError: the name is unknown or missing, a parameter is missing or breaks its rule; with file and line.
    """
    message, place = document.message, document.where("lr_policy")
    if message.lr_policy in FOREIGN_POLICIES:
        rule = f'lr_policy "{message.lr_policy}" is not known here'
        raise InputError(rule, where=place, remedy=FOREIGN_POLICIES[message.lr_policy])
    if not message.HasField("lr_policy"):
        remedy = f'known: {", ".join(sorted(POLICIES))}; add for example  lr_policy: "fixed"'
        raise InputError("lr_policy is missing", where=place, remedy=remedy)
    try:
        name, note = canonical_name(message.lr_policy)
    except InputError as error:
        raise error.at(place) from None
    notes = [f"{place}: lr_policy {note}"] if note else []
    message.lr_policy = name
    values = _values(message)
    used = {*POLICIES[name].parameters, *POLICIES[name].optional}
    for field in values:
        if field not in used | _SOLVER_FIELDS:
            notes.append(f'{document.where(*_field(field))}: lr_policy "{name}" does not use {field}')
    try:
        return Policy(name, **{field: value for field, value in values.items() if field in used}), notes
    except InputError as error:
        raise error.at(_place_of(error, values, document)) from None


def write_policy(message: Any, policy: Policy) -> None:
    """Replace the policy inside a SolverParameter. A policy's `max_iter` becomes the solver's."""
    for field in _values(message):
        if field not in _SOLVER_FIELDS:
            message.ClearField(_field(field)[0])
    message.lr_policy = policy.name
    for field, value in policy.parameters.items():
        if field == "start":
            message.lr_policy_param.start = value
        elif isinstance(value, tuple):
            getattr(message, field).extend(value)
        else:
            setattr(message, field, value)


def _field(parameter: str) -> tuple[str, ...]:
    return ("lr_policy_param", "start") if parameter == "start" else (parameter,)


def _values(message: Any) -> dict[str, Any]:
    """The parameters of any policy that are set in the message, in the table's order."""
    values: dict[str, Any] = {}
    for name, info in PARAMETERS.items():
        if name == "start":
            if message.lr_policy_param.HasField("start"):
                values[name] = message.lr_policy_param.start
        elif info.kind == "integers":
            if len(getattr(message, name)):
                values[name] = tuple(getattr(message, name))
        elif message.HasField(name):
            values[name] = getattr(message, name)
    return values


def _place_of(error: InputError, values: dict[str, Any], document: Document) -> str:
    """The line of the parameter that the rule starts with, where the file has it; else of lr_policy."""
    for word in re.findall(r"\w+", error.rule):
        if word in values:
            return document.where(*_field(word))
    return document.where("lr_policy")
