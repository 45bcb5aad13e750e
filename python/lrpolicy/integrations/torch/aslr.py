"""ASLR for PyTorch: a rate drawn for every update and parameter tensor, around a centre that the cost moves."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, SupportsFloat

import numpy as np
from torch.optim import Optimizer

from lrpolicy.errors import InputError
from lrpolicy.integrations.policy_like import identity, is_identity_of
from lrpolicy.integrations.torch.groups import base_and_multipliers, check_optimizer, write_rates
from lrpolicy.integrations.torch.hooked import HookedLR, was_left_out
from lrpolicy.integrations.torch.saving import check_saved, restored_rates, saved_rates
from lrpolicy.stateful import Aslr, AslrState
from lrpolicy.stateful.values import real, whole

# A rate of one digit that was held as a float32 is no rate of more digits.
_FLOAT32 = 2.0**-23
# Updates whose rates are drawn at a time: a call from Python between two updates finds its code in no cache.
_AHEAD = 64


class ASLR(HookedLR):
    """Draws the rates of every update around a centre c, which a search moves: `step(cost)` after every epoch.

    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> scheduler = ASLR(optimizer, seed=1)

    The search starts at the optimizer's lr, rounded to one digit (with a warning where that changes it), and observes
    the validation cost (`lrpolicy.stateful.Aslr` has the rules). `optimizer.step()` itself draws, before it moves the
    weights, from U(c - s/2, c + s/2): a pure function of the seed, the count of updates and the tensor, the same on
    every machine, rank and device, and after a restart. PyTorch's generators are not touched. Updates that a
    GradScaler leaves out draw nothing.

    By default every parameter tensor has draws of its own. For that the optimizer's groups are split, one for each
    tensor: make ASLR before the optimizer's state is loaded, and other schedulers after it. torch.optim.SGD then steps
    tensor by tensor; `lrpolicy.integrations.torch.SGD` does not. With `per_tensor=False` all groups share one draw.
    Groups keep the ratios of the rates that they start with.

    `capturable`: rates must be tensors and are written in place; call `draw()` before each replay of a graph, because
    a replay runs no hooks.

    Raises InputError for a wrong optimizer, a rate that is negative, not finite or 0 in all groups, a wrong seed.
    """

    def __init__(
        self, optimizer: Optimizer, seed: int = 0, *, per_tensor: bool = True, capturable: bool = False
    ) -> None:
        check_optimizer(optimizer)
        base_lr, _ = base_and_multipliers(optimizer.param_groups)
        self.schedule = Aslr(base_lr, seed)
        self.state = self.schedule.init()
        self._drawn: list[list[float]] = []
        self._drawn_for, self._drawn_from = self.state, 0
        super().__init__(optimizer, per_tensor=per_tensor, capturable=capturable)
        if self.schedule.note is not None and not math.isclose(self.center, base_lr, rel_tol=_FLOAT32):
            warnings.warn(self.schedule.note, UserWarning, stacklevel=2)

    def draw(self) -> None:
        """Set the rates of the next update.

        Raises InputError where the optimizer has other groups than before, at once, or other parameters in them, within
        64 updates.
        """
        groups = self.optimizer.param_groups
        place = self.iteration - self._drawn_from
        if (
            not 0 <= place < len(self._drawn)
            or self._drawn_for is not self.state
            or len(groups) != len(self.multipliers)
        ):
            self._draw_ahead()
            place = 0
        write_rates(groups, self._drawn[place])
        self.iteration += 1

    def _draw_ahead(self) -> None:
        """Draw the rates of the updates to come, as if the cost never moved the centre."""
        self._check_parameters()
        self._drawn_for, self._drawn_from = self.state, self.iteration
        tensors = len(self.multipliers) if self.per_tensor else 1
        iterations = range(self.iteration, self.iteration + _AHEAD)
        drawn = np.array([self.schedule.rates(self.state, t, tensors) for t in iterations])
        self._drawn = (drawn * self.multipliers).tolist()

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self.draw()

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """An update that a fused optimizer left out for its GradScaler gives its draw back."""
        if was_left_out(optimizer):
            self.iteration -= 1

    @property
    def center(self) -> float:
        """c, around which the rates are drawn."""
        return self.schedule.center(self.state)

    def step(self, metrics: SupportsFloat | None = None, epoch: int | None = None) -> None:  # type: ignore[override]
        """Observe the validation cost of an epoch. Raises InputError where none is given."""
        if metrics is None or epoch is not None:
            got = "no cost" if metrics is None else f"epoch {epoch}"
            raise InputError("ASLR observes the validation cost", got=got, remedy="call step(cost) after every epoch")
        self.state = self.schedule.update(self.state, real("the cost", metrics))
        self.last_epoch += 1
        self._step_count += 1

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and text, which `torch.load` takes with weights_only."""
        return {
            **saved_rates(self),
            "last_epoch": self.last_epoch,
            "iteration": self.iteration,
            "schedule": identity(self.schedule),
            "state": self.state.to_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises InputError for another schedule's; nothing has changed then."""
        check_saved(self, state_dict, ("last_epoch", "iteration", "schedule", "state"))
        if not is_identity_of(state_dict["schedule"], self.schedule):
            got = f"{state_dict['schedule']}, not {identity(self.schedule)}"
            raise InputError("this is the state of another schedule", got=got)
        state = AslrState.from_dict(state_dict["state"])
        epoch, iteration = (whole(name, state_dict[name], 0) for name in ("last_epoch", "iteration"))
        write_rates(self.optimizer.param_groups, restored_rates(self, state_dict))
        self.state, self.last_epoch, self._step_count, self.iteration = state, epoch, epoch + 1, iteration
