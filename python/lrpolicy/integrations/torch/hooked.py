"""What ASLR and TLR share: they act inside `optimizer.step()`, tensor by tensor where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any
from weakref import WeakKeyDictionary, ref

from torch import Tensor
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.hooks import RemovableHandle

from lrpolicy.errors import InputError
from lrpolicy.integrations.torch.groups import (
    base_and_multipliers,
    check_optimizer,
    names_of,
    parameters_of,
    split_groups,
    unshare_rates,
    write_rates,
)

# Whose hooks an optimizer has. They keep the scheduler alive as long as the optimizer.
_HOOKED: WeakKeyDictionary[Optimizer, ref[HookedLR]] = WeakKeyDictionary()


class HookedLR(LRScheduler):
    """Base of the schedulers that `optimizer.step()` itself drives, so that an update left out is not counted.

    The groups keep the ratios of the rates that they start with: `multipliers` of `base_lr`, the rate of the first
    group that learns. `per_tensor` splits the groups, one for each parameter tensor. `capturable` registers no hooks,
    because the replay of a CUDA graph would run none.
    """

    last_epoch: int
    _hooks: tuple[RemovableHandle, ...] = ()

    def __init__(self, optimizer: Optimizer, *, per_tensor: bool, capturable: bool) -> None:
        check_optimizer(optimizer)
        _check_alone(optimizer)
        _check_kind(optimizer, per_tensor=per_tensor, capturable=capturable)
        base_and_multipliers(optimizer.param_groups)  # refused before anything is split
        self.per_tensor, self.capturable = bool(per_tensor), bool(capturable)
        if capturable and not all(isinstance(group["lr"], Tensor) for group in optimizer.param_groups):
            rule = "capturable needs rates that are tensors, which a graph can read"
            raise InputError(rule, got="a float", remedy="make the optimizer with lr=torch.tensor(...)")
        if per_tensor:
            split_groups(optimizer)
        unshare_rates(optimizer.param_groups)
        self.base_lr, self.multipliers = base_and_multipliers(optimizer.param_groups)
        self._parameters = parameters_of(optimizer.param_groups)
        self.iteration = 0
        super().__init__(optimizer)
        self._register()

    def _initial_step(self) -> None:
        self.last_epoch, self._step_count = 0, 1

    def _register(self) -> None:
        """Ask the optimizer to call `_before` and `_after`."""
        if not self.capturable:
            before, after = self.optimizer.register_step_pre_hook, self.optimizer.register_step_post_hook
            self._hooks = (before(self._before), after(self._after))
            _HOOKED[self.optimizer] = ref(self)

    def remove(self) -> None:
        """Let go of the optimizer, whose groups and rates stay as they are: another scheduler may follow.

        As PyTorch's own, it begins at the groups' `initial_lr`, not at the rates that were learned.
        """
        if self._hooks:
            del _HOOKED[self.optimizer]
        for hook in self._hooks:
            hook.remove()
        self._hooks = ()

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """Before the optimizer reads rates and gradients; may exchange the arguments of its step."""
        return None

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """After the weights have moved."""

    def _check_parameters(self) -> None:
        """Raise InputError where the optimizer has other parameter tensors than at the start."""
        groups = self.optimizer.param_groups
        present = parameters_of(groups)
        if len(present) != len(self._parameters) or len(groups) != len(self.multipliers):
            had = f"{len(self._parameters)} parameters in {len(self.multipliers)} groups"
            got = f"{len(present)} in {len(groups)}"
            kind = type(self).__name__
            remedy = f"make {kind} after add_param_group; remove() takes this one off"
            raise InputError(f"{kind} was made for {had}", got=got, remedy=remedy)
        if not all(map(is_, present, self._parameters)):
            changed = [was is now for was, now in zip(self._parameters, present, strict=True)].index(False)
            rule = f"{self._names()[changed]} is another tensor than at the start"
            raise InputError(rule, remedy="make the scheduler anew")

    def _names(self) -> list[str]:
        """What to call the parameter tensors in a message."""
        return names_of(self.optimizer.param_groups)

    def _set_rates(self, rates: Sequence[float]) -> None:
        """Set each group's rate, its multiplier on top."""
        scaled = [rate * multiplier for rate, multiplier in zip(rates, self.multipliers, strict=True)]
        write_rates(self.optimizer.param_groups, scaled)

    def get_lr(self) -> list[float | Tensor]:
        """The rates as the optimizer has them, tensors as copies."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return [rate.clone() if isinstance(rate, Tensor) else rate for rate in rates]

    get_last_lr = get_lr

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_hooks"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copied or unpickled optimizer has lost its hooks."""
        self.__dict__.update(state)
        self._register()


def _check_alone(optimizer: Optimizer) -> None:
    held = _HOOKED.get(optimizer)
    other = None if held is None else held()
    if other is not None:
        rule = f"the optimizer has a scheduler that works inside its steps already, a {type(other).__name__}"
        raise InputError(rule, remedy="call remove() of that one first")


def _check_kind(optimizer: Optimizer, *, per_tensor: bool, capturable: bool) -> None:
    """Raise InputError for an optimizer without hooks, and where a split of its groups would not reach what it does."""
    kind = type(optimizer).__name__
    if not capturable and not hasattr(optimizer, "_optimizer_step_pre_hooks"):
        rule = "the scheduler works inside optimizer.step(), by the optimizer's hooks"
        remedy = "make the scheduler before accelerator.prepare, or with the optimizer that is inside"
        raise InputError(rule, got=f"{kind}, which has none", remedy=remedy)
    wraps = any(isinstance(held, Optimizer) for held in vars(optimizer).values())  # as ZeroRedundancyOptimizer does
    if per_tensor and (wraps or isinstance(optimizer, LBFGS)):
        rule = "per_tensor splits the optimizer's parameter groups"
        raise InputError(rule, got=f"{kind}, whose groups cannot be split", remedy="use per_tensor=False")


def was_left_out(optimizer: Optimizer) -> bool:
    """Whether a fused optimizer's step did nothing, because its GradScaler had found an infinity.

    Other optimizers are not called at all then. Waits for the device where there is a GradScaler.
    """
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found.item())
