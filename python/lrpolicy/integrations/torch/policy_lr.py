"""Policies as PyTorch learning-rate schedulers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrpolicy import _core
from lrpolicy.errors import InputError
from lrpolicy.integrations.policy_like import PolicyLike, are_identities_of, as_schedule, identity
from lrpolicy.integrations.torch.groups import check_optimizer, unshare_rates, write_rates
from lrpolicy.integrations.torch.saving import check_count, check_saved, restored_rates, saved_rates
from lrpolicy.policies import Policy
from lrpolicy.schedules import Schedule
from lrpolicy.stateful.values import whole

_INSTEAD = "TLR, ASLR or FeedbackLR"


class PolicyLR(LRScheduler):
    """Sets the rate of every parameter group to a policy's, step by step.

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = PolicyLR(optimizer, "tri2", base_lr=0.01, max_lr=0.06, stepsize=2000)
    >>> scheduler.get_last_lr()
    [0.01]

    `policy` is a `Policy`, its name with its parameters, its text ("tri2:base_lr=0.01,...") or a chain's
    ("warm_up:iterations=500 >> ..."), the dict of `Policy.to_dict`, or any `Schedule`; a list of several gives each
    group its own. The rates are the policy's own numbers: the optimizer's lr at the start is kept as `initial_lr` for
    other schedulers and has no part in them. Call `step()` after every `optimizer.step()`.

    A rate depends on the count of steps alone. Nothing drifts, `last_epoch` may be set, and a resumed run goes on bit
    for bit: `load_state_dict` also gives the optimizer back the rates it had, whichever is loaded first. Rates held as
    tensors are written in place. With one policy for all, groups that are added later follow it, from the next `step()`
    on.

    In a `ChainedScheduler`, put it before a `MultiplicativeLR`, whose factor then is that of the step alone. Others,
    such as `LinearLR`, multiply by what has changed since the step before, and this sets the rate anew in each: for a
    warm-up take a `SequentialLR` or a chain ("warm_up:iterations=500 >> ..."). Accelerate calls `step()` once for each
    process after every update (unless `step_scheduler_with_optimizer` or `split_batches` says otherwise): stepsize and
    max_iter then count batches of one process.

    Raises InputError for a wrong optimizer or policy, a list of several with another length than the optimizer's
    groups, and KeyError, as PyTorch does, for `last_epoch` without `initial_lr` in the groups.
    """

    policies: list[Schedule]

    def __init__(
        self,
        optimizer: Optimizer,
        policy: PolicyLike | Sequence[PolicyLike],
        last_epoch: int = -1,
        **parameters: float | Sequence[int],
    ) -> None:
        check_optimizer(optimizer)
        self.policies = _policies(policy, parameters)
        if len(self.policies) > 1:
            check_count(len(self.policies), optimizer)
            unshare_rates(optimizer.param_groups)
        self._count_from(whole("last_epoch", last_epoch, -1), 0)
        super().__init__(optimizer, last_epoch)

    def _count_from(self, t: int, steps: int) -> None:
        """Start the counters, in the core where it can do the whole step."""
        only = self.policies[0]
        shared = len(self.policies) == 1 and isinstance(only, Policy)
        self._stepper = _core.PolicyStepper(only, t, steps) if shared else _Stepper(t, steps)  # type: ignore[arg-type]
        self._advance = self._stepper.advance

    def step(self, epoch: int | None = None) -> None:
        """Set the next rates; call it after `optimizer.step()`. An `epoch`, deprecated by PyTorch, is set as count."""
        if epoch is None and self._advance(self.optimizer.param_groups):
            return
        if epoch is None and self._stepper.steps > 1:  # past the steps at which PyTorch warns of a wrong order
            self._stepper.t += 1
            self._stepper.steps += 1
            write_rates(self.optimizer.param_groups, self.get_lr())
            return
        if epoch is not None:
            _check_epoch(epoch)
        super().step(epoch)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """The rate of each group at the present count, whatever the optimizer holds. Raises InputError."""
        t, groups = max(self._stepper.t, 0), self.optimizer.param_groups
        if len(self.policies) == 1:
            return [self.policies[0].rate(t)] * len(groups)
        check_count(len(self.policies), self.optimizer)
        return [policy.rate(t) for policy in self.policies]

    _get_closed_form_lr = get_lr

    def get_last_lr(self) -> list[float | Tensor]:
        """The rates that `step` has set last, in the kind that each group holds: float, or a tensor of its own."""
        return [
            torch.full_like(group["lr"], rate) if isinstance(group["lr"], Tensor) else rate
            for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True)
        ]

    @property
    def last_epoch(self) -> int:
        """The count of steps, from 0; -1 before the first."""
        return self._stepper.t

    @last_epoch.setter
    def last_epoch(self, value: int) -> None:
        self._stepper.t = whole("last_epoch", value)

    @property
    def _step_count(self) -> int:
        return self._stepper.steps

    @_step_count.setter
    def _step_count(self, value: int) -> None:
        self._stepper.steps = value

    @property
    def _last_lr(self) -> list[float | Tensor]:
        return self.get_last_lr()

    @_last_lr.setter
    def _last_lr(self, value: object) -> None:
        """What the base class stores here, `get_last_lr` computes."""

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and text, which `torch.load` takes with weights_only."""
        return {
            **saved_rates(self),
            "last_epoch": self.last_epoch,
            "_step_count": self._step_count,
            "policies": [identity(policy) for policy in self.policies],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; the optimizer gets back the rates that it had then.

        Raises InputError for the state of another policy, scheduler, version or number of groups; nothing has changed
        then. For going on with another policy, make a PolicyLR with its `last_epoch`.
        """
        check_saved(self, state_dict, ("last_epoch", "_step_count", "policies"))
        if not are_identities_of(state_dict["policies"], self.policies):
            remedy = "to go on with another policy, make a PolicyLR with last_epoch"
            got = f"that of {state_dict['policies']} for {[identity(policy) for policy in self.policies]}"
            raise InputError("this is the state of another policy", got=got, remedy=remedy)
        t, steps = whole("last_epoch", state_dict["last_epoch"]), whole("_step_count", state_dict["_step_count"], 0)
        write_rates(self.optimizer.param_groups, restored_rates(self, state_dict))
        self._count_from(t, steps)

    def __getstate__(self) -> dict[str, Any]:
        plain = {key: value for key, value in self.__dict__.items() if key not in ("_stepper", "_advance")}
        return {**plain, "_stepper": (self._stepper.t, self._stepper.steps)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        counters = state.pop("_stepper")
        self.__dict__.update(state)
        self._count_from(*counters)


@dataclass
class _Stepper:
    """The counters alone, for schedules that the core does not know and for a policy in each group."""

    t: int
    steps: int

    @staticmethod
    def advance(groups: list[dict[str, Any]], /) -> bool:
        """Never; the scheduler does it."""
        return False


def _check_epoch(epoch: object) -> None:
    """Raise InputError for what is no count: most often a loss."""
    try:
        whole("epoch", epoch)
    except InputError:
        rule = "an epoch given to step() is a whole number; a policy observes no loss"
        raise InputError(rule, got=epoch, remedy="call step() alone, or use FeedbackLR or ASLR") from None


def _policies(given: object, parameters: Mapping[str, Any]) -> list[Schedule]:
    if isinstance(given, Sequence) and not isinstance(given, str) and not parameters:
        if not given:
            raise InputError("one policy is needed, or one for each parameter group", got="none")
        return [as_schedule(item, instead=_INSTEAD) for item in given]
    return [as_schedule(given, parameters, instead=_INSTEAD)]
