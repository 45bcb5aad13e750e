"""What every scheduler checks and saves: its optimizer's groups, whose a state is, and the rates at that time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrpolicy.errors import InputError
from lrpolicy.integrations.torch.groups import current_rates, rate_of

VERSION = 1


def saved_rates(scheduler: LRScheduler) -> dict[str, Any]:
    """The scheduler's kind and version, and the rates that its optimizer holds now, whoever set them."""
    rates = current_rates(scheduler.optimizer.param_groups)
    return {"scheduler": type(scheduler).__name__, "version": VERSION, "rates": rates}


def check_saved(scheduler: LRScheduler, state_dict: object, fields: Iterable[str]) -> None:
    """Raise InputError where this is no state of the scheduler's kind and version, or lacks a field."""
    if not isinstance(state_dict, Mapping):
        raise InputError("a scheduler's state is a mapping", got=repr(state_dict))
    kind = type(scheduler).__name__
    for key, wanted in {"scheduler": kind, "version": VERSION}.items():
        if state_dict.get(key) != wanted:
            raise InputError(f"this is no state of {kind}, version {VERSION}", got=f"{key} {state_dict.get(key)}")
    for name in ("rates", *fields):
        if name not in state_dict:
            raise InputError(f'this state of {kind} lacks the field "{name}"')


def listed(state_dict: Mapping[str, Any], name: str, count: int, remedy: str | None = None) -> list[Any]:
    """The field's list. Raises InputError where it is none, or of another length than `count`."""
    values = state_dict[name]
    if not isinstance(values, list) or len(values) != count:
        got = f"{len(values)}" if isinstance(values, list) else repr(values)
        raise InputError(f'"{name}" of this state must be a list of {count}', got=got, remedy=remedy)
    return values


def restored_rates(scheduler: LRScheduler, state_dict: Mapping[str, Any]) -> list[float]:
    """The saved rates. Raises InputError where the optimizer has another number of groups now, or one is no rate."""
    remedy = "give the optimizer as many parameter groups as it had (add_param_group) first"
    rates = listed(state_dict, "rates", len(scheduler.optimizer.param_groups), remedy)
    return [rate_of("a rate of this state", rate) for rate in rates]


def check_count(count: int, optimizer: Optimizer) -> None:
    """Raise InputError where the optimizer has another number of groups."""
    groups = len(optimizer.param_groups)
    if groups != count:
        rule = f"one schedule for each parameter group is needed: the optimizer has {groups}"
        raise InputError(rule, got=count, remedy="give one for all, or make the scheduler after add_param_group")
