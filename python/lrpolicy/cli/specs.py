"""Policies as a person types them: `tri2`, `tri2:max_lr=0.06,stepsize=2000`, `my_solver.prototxt`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrpolicy.cli.common import names_a_solver, read_solver
from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.iterations import LAST_ITERATION
from lrpolicy.policies import ADAPTIVE_POLICIES, Policy, read_settings, read_text
from lrpolicy.schedules import Schedule
from lrpolicy.solver.policy_fields import NESTED
from lrpolicy.stateful import AdaptivePolicy, AnyPolicy, preview

# A sensible value of every parameter for each policy, so that `lrpolicy plot tri2` shows tri2's shape at once.
_CYCLE = {"base_lr": 0.001, "max_lr": 0.006, "stepsize": 1000}
_EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "fixed": {"base_lr": 0.01},
    "step": {"base_lr": 0.01, "gamma": 0.5, "stepsize": 1000},
    "multistep": {"base_lr": 0.01, "gamma": 0.1, "stepvalue": (5000, 8000)},
    "exp": {"base_lr": 0.01, "gamma": 0.9995},
    "inv": {"base_lr": 0.01, "gamma": 0.001, "power": 0.75},
    "poly": {"base_lr": 0.01, "power": 1.2, "max_iter": 10000},
    "triexp": {**_CYCLE, "gamma": 0.9998},
    "sinexp": {**_CYCLE, "gamma": 0.9998},
    "cos": {**_CYCLE, "stepsize": 2000},
    "sigmoid": {"base_lr": 0.01, "gamma": 0.002, "stepsize": 5000},
    "plateau": {"base_lr": 0.01, "gamma": 0.1, "plateau_winsize": (500, 1000)},
}
_SHORTEST = 10_000
_EXAMPLE_EPOCH = 500


@dataclass(frozen=True)
class Named:
    """A policy with the label it goes by, how long a picture of it should be, and the fields taken from an example.

    `test_interval` is the solver's, or the example's for a policy that observes the test passes.
    """

    label: str
    policy: AnyPolicy
    length: int
    from_example: tuple[str, ...] = ()
    test_interval: int = _EXAMPLE_EPOCH

    @property
    def schedule(self) -> Schedule:
        """Its rates. Raises InputError for a policy whose rates only a training shows."""
        return schedule_of(self.policy, self.test_interval)


def schedule_of(policy: AnyPolicy, test_interval: int) -> Schedule:
    """The rates of a policy, as far as they are known. Raises InputError where only a training shows them."""
    return preview(policy, test_interval) if isinstance(policy, AdaptivePolicy) else policy


def example(name: str) -> AnyPolicy:
    """The example of a policy of the tables: 10,000 iterations show its shape."""
    if name in ADAPTIVE_POLICIES:
        return AdaptivePolicy(name, **_EXAMPLES.get(name, {"base_lr": 0.1}))
    return Policy(name, **_EXAMPLES.get(name, _CYCLE))


def parse(target: str, settings: Sequence[str] = ()) -> Named:
    """What TARGET names: a solver file or shipped set-up, or a policy with `:key=value,...` and `settings`.

    A field that nobody sets has its example's value; `from_example` lists those. Raises InputError.
    """
    if names_a_solver(target):
        if settings:
            raise InputError("--set goes with policy names, not with a solver", got=target, remedy="edit its fields")
        solver = read_solver(target)
        label = f"{Path(target).stem} ({solver.policy.name})"
        length = solver.message.max_iter or natural_length(solver.policy)
        return Named(label, solver.policy, length, test_interval=solver.message.test_interval)
    try:
        return _parse_policy(target, settings)
    except InputError as error:
        where = " ".join([target or '""', *(f"--set {setting}" for setting in settings)])
        remedy = f"`lrpolicy explain {target.partition(':')[0]}` tells what its fields may be"
        raise error.at(error.where or where, remedy) from None


def _parse_policy(target: str, settings: Sequence[str]) -> Named:
    known, own = read_text(target)
    fields = set(example(known).info.parameters) | set(example(known).info.optional)
    shared = {key: value for key, value in read_settings(settings, where="--set").items() if key in fields}
    given = {**shared, **own}
    filled = example(known).parameters
    kind = AdaptivePolicy if known in ADAPTIVE_POLICIES else Policy
    policy = kind(known, **{**filled, **given})
    missing = tuple(key for key in filled if key not in given)
    return Named(target, policy, natural_length(policy), missing)


def parse_all(targets: Iterable[str], settings: Sequence[str]) -> list[Named]:
    """`parse` for each target; every setting must be a field of at least one policy named. Raises InputError."""
    named = [parse(target, settings if not names_a_solver(target) else ()) for target in targets]
    takers = [entry.policy.info for target, entry in zip(targets, named, strict=True) if not names_a_solver(target)]
    fields = {field for info in takers for field in (*info.parameters, *info.optional)}
    for key in read_settings(settings, where="--set"):
        if key not in fields:
            remedy = did_you_mean(key, fields) or "name a policy; a solver has its own fields"
            raise InputError(f'no policy named here has "{key}"', where="--set", remedy=remedy)
    return named


def natural_length(policy: AnyPolicy) -> int:
    """How many iterations a picture of this policy needs to show what it does."""
    values = policy.parameters
    steps = values.get("stepvalue", ())
    lengths = [int(values.get("max_iter", 0)), 10 * int(values.get("stepsize", 0))]  # type: ignore[arg-type]
    if isinstance(steps, tuple) and steps:
        lengths.append(steps[-1] * 5 // 4)
    return min(max(lengths) or _SHORTEST, LAST_ITERATION)


def setting_text(policy: AnyPolicy, fields: Iterable[str]) -> str:
    """Some of a policy's parameters as `key=value` words."""
    words = []
    for field in fields:
        value = policy.parameters[field]
        words += [f"{field}={item}" for item in value] if isinstance(value, tuple) else [f"{field}={plain(value)}"]
    return " ".join(words)


def plain(value: object) -> str:
    """A parameter's value as a prototxt has it, numbers as short as they can be read."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float | int) else str(value)


def prototxt(policy: AnyPolicy) -> str:
    """The policy as the lines of a solver prototxt."""
    lines: list[str] = [f'lr_policy: "{policy.name}"']
    nested: list[str] = []
    for field, value in policy.parameters.items():
        home = nested if field in NESTED else lines
        home += [f"{field}: {_literal(item)}" for item in (value if isinstance(value, tuple) else (value,))]
    return "\n".join([*lines, *([f"lr_policy_param {{ {' '.join(nested)} }}"] if nested else [])])


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == np.float32(value):  # read from a prototxt: 0.1, not 0.10000000149011612
        value = float(str(np.float32(value)))
    return f'"{value}"' if isinstance(value, str) else str(value)
