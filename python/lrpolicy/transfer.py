"""A policy that was measured in one setting, carried over to another; what that assumes is said.

- Rates grow with the batch size (the linear scaling rule of Goyal et al. 2017, arXiv 1706.02677) and with
  1 - momentum, so that the length of a step stays lr / (1 - momentum): for SGD and Nesterov. The rates of the other
  optimizers, which scale their steps themselves, stay as they are.
- Lengths keep their share of the training: stepsize, stepvalue, start, plateau_winsize and poly's max_iter grow with
  max_iter, and a gamma that acts in every iteration acts as much over the whole training.
- The iterations of an epoch (TLR's `epoch`) follow the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lrpolicy.database import Setting
from lrpolicy.search import RateRange, rounded
from lrpolicy.similarity import alike
from lrpolicy.stateful import AnyPolicy, policy_from_dict

_RATES = ("base_lr", "max_lr", "min_lr", "restart_below")
_LENGTHS = ("stepsize", "max_iter", "start")
_SCALED_OPTIMIZERS = ("SGD", "Nesterov")

# How gamma follows a training that is `longer` times as long; the policies not named use gamma once for each step.
_GAMMA: Mapping[str, Callable[[float, float], float]] = {
    "exp": lambda gamma, longer: gamma ** (1 / longer),
    "triexp": lambda gamma, longer: gamma ** (1 / longer),
    "sinexp": lambda gamma, longer: gamma ** (1 / longer),
    "inv": lambda gamma, longer: gamma / longer,
    "sigmoid": lambda gamma, longer: gamma / longer,
}


def rate_factor(measured: Setting, wanted: Setting) -> float:
    """What a rate is multiplied by."""
    if wanted.optimizer not in _SCALED_OPTIMIZERS or max(measured.momentum, wanted.momentum) >= 1:
        return 1.0
    factor = (wanted.batch_size / measured.batch_size) * (1 - wanted.momentum) / (1 - measured.momentum)
    return 1.0 if alike(factor, 1) else factor


def transferred(policy: AnyPolicy, measured: Setting, wanted: Setting) -> AnyPolicy:
    """The policy for the wanted setting; itself where nothing changes."""
    factor, longer = rate_factor(measured, wanted), wanted.max_iter / measured.max_iter
    changes: dict[str, object] = {}
    for name, value in policy.parameters.items():
        if name in _RATES and factor != 1:
            changes[name] = rounded(value * factor)  # type: ignore[operator]
        elif name == "epoch":
            changes[name] = _length(value, measured.batch_size / wanted.batch_size)  # type: ignore[arg-type]
        elif longer == 1:
            continue
        elif name in _LENGTHS:
            changes[name] = _length(value, longer) if value else 0  # type: ignore[arg-type]
        elif name == "plateau_winsize":
            changes[name] = [_length(winsize, longer) for winsize in value]  # type: ignore[union-attr,arg-type]
        elif name == "stepvalue":
            changes[name] = sorted({_length(step, longer) for step in value})  # type: ignore[union-attr,arg-type]
        elif name == "gamma" and policy.name in _GAMMA:
            changes[name] = rounded(_GAMMA[policy.name](value, longer), 9)  # type: ignore[arg-type]
    return policy_from_dict(policy.to_dict() | changes) if changes else policy


def transferred_range(found: RateRange, measured: Setting, wanted: Setting) -> RateRange:
    """The range of good fixed rates for the wanted setting."""
    factor = rate_factor(measured, wanted)
    return RateRange(*(rounded(rate * factor) for rate in (found.low, found.best, found.high)))


def assumptions(measured: Setting, wanted: Setting) -> list[str]:
    """What `transferred` took for granted, in full sentences; nothing where the settings are alike."""
    told = []
    factor = rate_factor(measured, wanted)
    if factor != 1:
        pairs = {
            "batch": (measured.batch_size, wanted.batch_size),
            "momentum": (measured.momentum, wanted.momentum),
        }
        changes = [f"{name} {old:.4g} -> {new:.4g}" for name, (old, new) in pairs.items() if not alike(old, new)]
        told.append(f"rates are multiplied by {factor:.4g}: {', '.join(changes)} (linear scaling)")
    if wanted.max_iter != measured.max_iter:
        told.append(f"lengths keep their share of the training: {measured.max_iter} -> {wanted.max_iter} iterations")
    if not alike(wanted.weight_decay, measured.weight_decay):
        told.append(f"weight decay is taken not to matter: {measured.weight_decay:.4g} -> {wanted.weight_decay:.4g}")
    return told


def _length(iterations: int, longer: float) -> int:
    return max(1, round(iterations * longer))
