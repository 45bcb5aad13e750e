"""TLR for PyTorch: rates that are trained along with the weights, inside `optimizer.step()`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import Any

from torch import Tensor
from torch.optim import LBFGS, Optimizer

from lrpolicy.errors import InputError
from lrpolicy.integrations.policy_like import identity, is_identity_of
from lrpolicy.integrations.torch.device_tlr import DeviceTlr
from lrpolicy.integrations.torch.groups import (
    Group,
    base_and_multipliers,
    check_optimizer,
    names_of,
    parameters_of,
    write_rates,
)
from lrpolicy.integrations.torch.hooked import HookedLR, was_left_out
from lrpolicy.integrations.torch.saving import check_saved, restored_rates, saved_rates
from lrpolicy.integrations.torch.windows import Displacement, GradientSum, check_tensor
from lrpolicy.stateful import Tlr, TlrEvent, TlrState, TlrWindow
from lrpolicy.stateful.values import LARGEST_RATE, real, whole

_WORTH_A_WARNING = TlrEvent.NON_FINITE | TlrEvent.DIVERGING


class TLR(HookedLR):
    """Learns the rate: it rises while the directions of successive windows agree, and falls where they do not.

    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    >>> scheduler = TLR(optimizer, epoch_iterations=len(loader))

    The rate starts at the optimizer's lr (after another scheduler at its `initial_lr`, as PyTorch's own do); groups
    keep the ratios of theirs (a group of rate 0 takes no part). After every K = max(1, floor(window *
    epoch_iterations)) updates two dot products for each tensor say how to change it; `lrpolicy.stateful.Tlr` has the
    variants, limits and events. `optimizer.step()` itself does all this, through hooks, and counts the updates that it
    makes: accumulated batches are one, and one that a GradScaler leaves out is none. `step()` may be called as with any
    scheduler and only counts. `remove()` takes the hooks off, for another scheduler.

    - source "displacement" (the paper's equation 10): how far the weights have moved over a window, divided by the
      rate. No work between two windows; two copies of the weights in memory, one of them at least float32. PyTorch
      multiplies by the rate after momentum, so the division is exact. Momentum, weight decay, clipping and an Adam's
      scaling are in it. The new rate holds from the next update.
    - source "gradient": the sum of the gradients as the optimizer gets them (unscaled, perhaps clipped; averaged under
      DDP), one addition more for each update. The new rate holds for the update at the window's end. Dense gradients
      only. A parameter without a gradient adds nothing.

    `per_tensor` gives each parameter tensor a rate of its own and splits the optimizer's groups for it, one for each
    tensor: make TLR before the optimizer's state is loaded, and other schedulers after it. torch.optim.SGD then steps
    tensor by tensor; `lrpolicy.integrations.torch.SGD` does not. On every rank of DDP the rates are the same, because
    weights and gradients are.

    With `restart_below` a rate that has fallen below it starts again from its initial one; with `per_tensor` each by
    itself. Like `min_lr` it is compared with the rate before the groups' ratios. `state.restarts` counts.

    The dot products are those of `lrpolicy.kernels`, or of `lrpolicy.cuda` where that was built, and so the rates are
    the same on the CPU and on an NVIDIA GPU, bit for bit where the weights are; elsewhere PyTorch's.

    `capturable` keeps rates and dot products on the device: nothing waits for it, and the rates must be tensors. There
    are no hooks then, because the replay of a CUDA graph runs none: call `step()` after every update, outside of the
    graph. The first window starts at the weights that TLR is made with, `restart()` begins another. An update that a
    GradScaler left out counts as one there.

    Raises InputError for a wrong optimizer or setting, rates that are negative, not finite or 0 in all groups,
    parameters that are sharded or not floating point, and variant "naive", which needs a second gradient that no
    optimizer has; later for other parameters or rates in the optimizer than TLR knows of.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epoch_iterations: int,
        *,
        variant: str = "efficient",
        source: str = "displacement",
        bound: float = 0.25,
        window: float = 1 / 3,
        eta: float | None = None,
        per_tensor: bool = False,
        capturable: bool = False,
        min_lr: float = 0.0,
        max_lr: float = LARGEST_RATE,
        divergence: float = 1e6,
        restart_below: float = 0.0,
    ) -> None:
        check_optimizer(optimizer)
        _check_choices(optimizer, variant, source, capturable)
        groups = optimizer.param_groups
        for name, parameter in zip(names_of(groups), parameters_of(groups), strict=True):
            check_tensor(parameter, name)
        base_lr, multipliers = base_and_multipliers(groups)
        self.schedule = Tlr(
            base_lr,
            variant,
            source,
            bound,
            eta,
            window,
            epoch_iterations,
            [m for m, group in zip(multipliers, groups, strict=True) for _ in group["params"]],
            per_tensor,
            min_lr,
            max_lr,
            divergence,
            restart_below,
        )
        super().__init__(optimizer, per_tensor=per_tensor, capturable=capturable)
        self._displaces = source == "displacement"
        kind = Displacement if self._displaces else GradientSum
        self._window = kind(self._parameters, capturable=self.capturable)
        self._updates, self._said, self._due = 0, 0, self.schedule.next_due(0)
        self._state = self.schedule.init()
        self._device: DeviceTlr | None = None
        if capturable:
            self._device = DeviceTlr(self.schedule, self._state, self._parameters[0].device)
            self._window.begin()
        self._write()

    @property
    def state(self) -> TlrState:
        """The learned rates and what they remember, as a value; with `capturable` the device is waited for."""
        return self._state if self._device is None else self._device.state()

    @property
    def events(self) -> tuple[str, ...]:
        """What the last window met, in words; empty where nothing was worth saying."""
        return self.schedule.events(self.state)

    def restart(self) -> None:
        """Begin a window at the weights as they are: after they were changed by anything but the optimizer."""
        self._window.drop()
        self._updates = 0
        if self.capturable:
            self._window.begin()

    def step(self, epoch: int | None = None) -> None:
        """Count; with `capturable` also learn from the update that was just made. Raises InputError for an epoch."""
        if epoch is not None:
            raise InputError("TLR learns from every update and cannot jump", got=f"epoch {epoch}")
        self.last_epoch += 1
        self._step_count += 1
        if self.capturable:
            self._check_rates()
            self._after_update()

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        self._check_rates()
        self._window.begin()
        if self._displaces:
            return None
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._add_gradients(optimizer)
            return None
        return (args[0],), {**kwargs, "closure": self._followed(closure, optimizer)}

    def _followed(self, closure: Callable[[], Any], optimizer: Optimizer) -> Callable[[], Any]:
        """A closure that leaves gradients behind, and then has them added up before the optimizer reads the rate."""

        def followed() -> Any:
            loss = closure()
            self._add_gradients(optimizer)
            return loss

        return followed

    def _add_gradients(self, optimizer: Optimizer) -> None:
        """A fused optimizer's gradients are still scaled, if a GradScaler drives it."""
        if was_left_out(optimizer):
            return
        scale = getattr(optimizer, "grad_scale", None)
        window = self._window
        assert isinstance(window, GradientSum)
        window.add(self._names, 1.0 if scale is None else 1.0 / float(scale))
        self._updates += 1
        if self.iteration == self._due:
            self._learn()

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not was_left_out(optimizer):
            self._after_update()

    def _after_update(self) -> None:
        due = self.iteration == self._due
        if self._displaces:
            self._updates += 1
            if due:
                self._learn()
        self.iteration += 1
        if due:
            self._due = self.schedule.next_due(self.iteration)

    def _learn(self) -> None:
        """Close the window, change the rates, begin the next one.

        Only here is looked whether the optimizer still has the parameters of the start: nothing depends on it before.
        """
        self._check_parameters()
        dots = self._window.close(self._names)
        if self._device is None:
            gg, gp = dots.cpu().numpy()
            self._state = self.schedule.update(self._state, TlrWindow(gg, gp, self._updates))
            self._warn()
        else:
            self._device.update(dots, self._updates)
        self._write()
        self._updates = 0

    def _write(self) -> None:
        groups = self.optimizer.param_groups
        if self._device is not None:
            self._device.write([group["lr"] for group in groups], self.multipliers)
        else:
            rates = self._state.rates
            self._set_rates(rates if self.per_tensor else rates * len(groups))
        self._written = [group["lr"] for group in groups]

    def _check_rates(self) -> None:
        """A displacement is divided by the rate: it must have been ours. What is in a known tensor is not looked at."""
        groups, written = self.optimizer.param_groups, self._written
        if len(groups) != len(written):
            self._check_parameters()
        for number, group in enumerate(groups):
            if group["lr"] is not written[number]:
                self._take_over(number, group)

    def _take_over(self, number: int, group: Group) -> None:
        """Go on with another object of the same rate; an optimizer's loaded state has some."""
        name = f"lr of parameter group {number}"
        if self.capturable and not isinstance(group["lr"], Tensor):
            raise InputError(f"{name} must stay a tensor, which a graph can read", got=repr(group["lr"]))
        ours, given = float(self._written[number]), real(name, group["lr"])
        if given != ours:
            remedy = "load the scheduler's state after the optimizer's; call remove() before others set rates"
            raise InputError(f"{name} must stay what TLR has set, {ours:g}", got=given, remedy=remedy)
        self._written[number] = group["lr"]

    def _warn(self) -> None:
        """Say each kind of event once; `events` has those of every window."""
        met = reduce(or_, self._state.events, 0) & _WORTH_A_WARNING
        if met & ~self._said:
            culprit = self._state.non_finite_tensor
            name = f" ({self._names()[culprit]})" if culprit >= 0 else ""
            warnings.warn(f"TLR: {'; '.join(self.events)}{name}", RuntimeWarning, stacklevel=2)
        self._said |= met

    def state_dict(self) -> dict[str, Any]:
        """Numbers, text and the window's tensors (not copies), which `torch.load` takes with weights_only."""
        return {
            **saved_rates(self),
            "last_epoch": self.last_epoch,
            "iteration": self.iteration,
            "updates": self._updates,
            "schedule": identity(self.schedule),
            "state": self.state.to_dict(),
            "window": self._window.state_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, in the middle of a window too, bit for bit.

        Load the optimizer's state first. Raises InputError for the state of another schedule or of tensors of other
        shapes; nothing has changed then.
        """
        check_saved(self, state_dict, ("last_epoch", "iteration", "updates", "schedule", "state", "window"))
        if not is_identity_of(state_dict["schedule"], self.schedule):
            got = f"{state_dict['schedule']}, not {identity(self.schedule)}"
            raise InputError("this is the state of another schedule", got=got)
        state = TlrState.from_dict(state_dict["state"])
        counts = [whole(name, state_dict[name], 0) for name in ("last_epoch", "iteration", "updates")]
        rates = restored_rates(self, state_dict)
        self._window.load_state_dict(state_dict["window"], self._names())
        write_rates(self.optimizer.param_groups, rates)
        self._written = [group["lr"] for group in self.optimizer.param_groups]
        self.last_epoch, self.iteration, self._updates = counts
        self._step_count = self.last_epoch + 1
        self._due = self.schedule.next_due(self.iteration)
        self._state = state
        if self._device is not None:
            self._device.load(state)


def _check_choices(optimizer: Optimizer, variant: str, source: str, capturable: bool) -> None:
    if variant == "naive":
        remedy = "use another, or lrpolicy.stateful.Tlr in a loop of your own"
        raise InputError('variant "naive" needs a second gradient, which an optimizer has not', remedy=remedy)
    if source == "gradient" and capturable:
        raise InputError('capturable goes with source "displacement"', got=source)
    if source == "gradient" and isinstance(optimizer, LBFGS):
        raise InputError('source "gradient" needs one gradient for each update', got="LBFGS, which takes several")
