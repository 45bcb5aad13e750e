"""The rates of an optimizer's parameter groups: read, written in place, and one group for each tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrpolicy.errors import InputError
from lrpolicy.stateful.values import real

Group = dict[str, Any]


def check_optimizer(optimizer: object) -> None:
    """Raise InputError where `optimizer` is none, or has a step() that no scheduler can follow."""
    if not isinstance(optimizer, Optimizer):
        raise InputError("a scheduler needs a torch.optim.Optimizer", got=f"a {type(optimizer).__name__}")
    if not hasattr(optimizer.step, "__func__") and not hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        raise InputError(
            "optimizer.step is no method any more", remedy="make the scheduler before you compile or replace it"
        )


def rate_of(name: str, value: object) -> float:
    """`value` as a rate. Raises InputError, naming the field, where it is no finite number, 0 or above."""
    rate = real(name, value)
    if not (math.isfinite(rate) and rate >= 0):
        raise InputError(f"{name} must be a finite number, 0 or above", got=rate)
    return rate


def current_rates(groups: Sequence[Group]) -> list[float]:
    """The rates that the optimizer has now; a rate on another device is waited for."""
    return [float(group["lr"]) for group in groups]


def write_rates(groups: Sequence[Group], rates: Sequence[float]) -> None:
    """Set the rates: floats are replaced, tensors written in place, those of a CUDA device together.

    A tensor that neighbouring groups share is written once, where they have the same rate.
    """
    on_cuda, their_rates = [], []
    last: tuple[object, float] = (None, 0.0)
    for group, rate in zip(groups, rates, strict=True):
        held = group["lr"]
        if type(held) is float or not isinstance(held, Tensor):
            group["lr"] = rate
            continue
        if held is last[0] and rate == last[1]:
            continue
        last = held, rate
        if held.is_cuda:
            on_cuda.append(held)
            their_rates.append(rate)
        else:
            held.fill_(rate)
    if on_cuda:
        fill_together(on_cuda, their_rates)


def fill_together(tensors: list[Tensor], values: list[float]) -> None:
    """Fill each tensor with its value, in two launches for all of one device; 0 + value is the value, exactly."""
    torch._foreach_zero_(tensors)
    torch._foreach_add_(tensors, values)


def unshare_rates(groups: Sequence[Group]) -> None:
    """Give each group a rate tensor of its own; `SGD(groups, lr=torch.tensor(0.1))` has all of them share one."""
    seen: set[int] = set()
    for group in groups:
        held = group["lr"]
        if isinstance(held, Tensor):
            group["lr"] = held.clone() if id(held) in seen else held
            seen.add(id(held))


def split_groups(optimizer: Optimizer) -> None:
    """Make one group of each parameter tensor, with its group's options, so that each can have its own rate."""
    split = []
    for group in optimizer.param_groups:
        for index, parameter in enumerate(group["params"]):
            names = {"param_names": [group["param_names"][index]]} if "param_names" in group else {}
            split.append({**group, "params": [parameter], **names})
    optimizer.param_groups[:] = split
    unshare_rates(split)


def parameters_of(groups: Sequence[Group]) -> list[Tensor]:
    """Every parameter tensor, in the order of the groups."""
    return [parameter for group in groups for parameter in group["params"]]


def names_of(groups: Sequence[Group]) -> list[str]:
    """What to call each parameter tensor in a message: its name where the optimizer was given one."""
    return list(_names(groups))


def _names(groups: Sequence[Group]) -> Iterator[str]:
    for number, group in enumerate(groups):
        known = group.get("param_names")
        for index in range(len(group["params"])):
            yield f"parameter {index} of group {number}" + (f" ({known[index]})" if known else "")


def base_and_multipliers(groups: Sequence[Group]) -> tuple[float, list[float]]:
    """The rate of the first group that learns, and each group's as a multiple of it: their `initial_lr`, or else lr.

    Raises InputError for a rate that is negative or not finite, and where no group has one above 0.
    """
    given = [group["initial_lr" if "initial_lr" in group else "lr"] for group in groups]
    rates = [rate_of(f"lr of parameter group {number}", rate) for number, rate in enumerate(given)]
    base = next((rate for rate in rates if rate > 0), None)
    if base is None:
        raise InputError("lr must be above 0 in a parameter group at least", got=rates)
    return base, [rate / base for rate in rates]
