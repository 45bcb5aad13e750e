"""The schedules that observe a loss, seq1 to seq4, plateau and switches, as PyTorch schedulers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrpolicy.compositions import SwitchOnPlateau, SwitchState
from lrpolicy.errors import InputError
from lrpolicy.integrations.policy_like import are_identities_of, as_any_policy, identity
from lrpolicy.integrations.torch.groups import check_optimizer, unshare_rates, write_rates
from lrpolicy.integrations.torch.saving import check_count, check_saved, listed, restored_rates, saved_rates
from lrpolicy.stateful import AdaptivePolicy, DecaySequence, DecayState, Plateau, PlateauState, TrainLoss
from lrpolicy.stateful.values import real, whole

FeedbackSchedule = DecaySequence | Plateau | SwitchOnPlateau
FeedbackLike = FeedbackSchedule | AdaptivePolicy | Mapping[str, Any] | str
FeedbackState = DecayState | PlateauState | SwitchState

_STATES: dict[type, type[FeedbackState]] = {
    DecaySequence: DecayState,
    Plateau: PlateauState,
    SwitchOnPlateau: SwitchState,
}


class FeedbackLR(LRScheduler):
    """Sets the rate of every parameter group to that of a schedule which observes a loss: `step(loss)`.

    `schedule` is a `DecaySequence` (call `step` with the validation loss after every epoch), a `Plateau` or a
    `SwitchOnPlateau` (with the smoothed training loss, after every iteration, or any other pace in which its winsizes
    are counted), or a policy of seq1 to seq4 or plateau as everywhere: its name with its parameters, its text
    ("seq3:base_lr=0.1,strategy=by_oscillate"), a dict of them or an `AdaptivePolicy`. A list of several gives
    each group its own. The rates are the schedule's own numbers, its base_lr first.

    Called like `ReduceLROnPlateau`, and Lightning takes it as one: {"scheduler": ..., "monitor": "val_loss",
    "reduce_on_plateau": True}. A loss that is not finite is what the schedule says it is, never an improvement.

    Raises InputError for a wrong optimizer or schedule, or a list of several with another length than the optimizer's
    groups.
    """

    last_epoch: int

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: FeedbackLike | Sequence[FeedbackLike],
        **parameters: float | str | Sequence[int],
    ) -> None:
        check_optimizer(optimizer)
        if isinstance(schedule, Sequence) and not isinstance(schedule, str) and not parameters:
            self.schedules = [_schedule(each, {}) for each in schedule]
        else:
            self.schedules = [_schedule(schedule, parameters)]
        if len(self.schedules) != 1:
            check_count(len(self.schedules), optimizer)
            unshare_rates(optimizer.param_groups)
        self.states: list[FeedbackState] = [each.init() for each in self.schedules]
        super().__init__(optimizer)

    def _initial_step(self) -> None:
        self.last_epoch, self._step_count = 0, 1
        self._write()

    def step(self, metrics: SupportsFloat | None = None, epoch: int | None = None) -> None:  # type: ignore[override]
        """Observe a loss and set the rates that it leads to. Raises InputError where none is given."""
        if metrics is None or epoch is not None:
            got = "no loss" if metrics is None else f"epoch {epoch}"
            raise InputError("FeedbackLR observes a loss", got=got, remedy="call step(loss)")
        loss = real("the loss", metrics)
        pairs = zip(self.schedules, self.states, strict=True)
        self.states = [self._observed(schedule, state, loss) for schedule, state in pairs]
        self.last_epoch += 1
        self._step_count += 1
        self._write()

    def _observed(self, schedule: FeedbackSchedule, state: Any, loss: float) -> FeedbackState:
        if isinstance(schedule, DecaySequence):
            return schedule.update(state, loss)
        if isinstance(schedule, SwitchOnPlateau):  # the next schedule's first rate is for the update that follows
            return schedule.update(state, TrainLoss(self.last_epoch + 1, loss))
        return schedule.update(state, TrainLoss(self.last_epoch, loss))

    def _write(self) -> None:
        write_rates(self.optimizer.param_groups, self.get_lr())
        self._remember()

    def _remember(self) -> None:
        """Keep the groups' rates for `get_last_lr`."""
        self._last_lr = [
            group["lr"] if isinstance(group["lr"], float) else group["lr"].clone()
            for group in self.optimizer.param_groups
        ]

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """The rate of each group until the next loss. Raises InputError."""
        states: list[Any] = self.states
        pairs = zip(self.schedules, states, strict=True)
        rates = [schedule.rate(state, self.last_epoch) for schedule, state in pairs]
        if len(rates) == 1:
            return rates * len(self.optimizer.param_groups)
        check_count(len(rates), self.optimizer)
        return rates

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and text, which `torch.load` takes with weights_only."""
        return {
            **saved_rates(self),
            "last_epoch": self.last_epoch,
            "_step_count": self._step_count,
            "schedules": [identity(schedule) for schedule in self.schedules],
            "states": [state.to_dict() for state in self.states],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises InputError for another schedule's; nothing has changed then."""
        check_saved(self, state_dict, ("last_epoch", "_step_count", "schedules", "states"))
        if not are_identities_of(state_dict["schedules"], self.schedules):
            got = f"that of {state_dict['schedules']} for {[identity(schedule) for schedule in self.schedules]}"
            raise InputError("this is the state of another schedule", got=got)
        states = listed(state_dict, "states", len(self.schedules))
        pairs = zip(self.schedules, states, strict=True)
        loaded = [_STATES[type(schedule)].from_dict(state) for schedule, state in pairs]
        count, steps = (
            whole("last_epoch", state_dict["last_epoch"], 0),
            whole("_step_count", state_dict["_step_count"], 0),
        )
        write_rates(self.optimizer.param_groups, restored_rates(self, state_dict))
        self.states, self.last_epoch, self._step_count = loaded, count, steps
        self._remember()


def _schedule(given: object, parameters: Mapping[str, Any]) -> FeedbackSchedule:
    """The schedule of whatever names one. Raises InputError."""
    if isinstance(given, FeedbackSchedule) and not parameters:
        return given
    policy = as_any_policy(given, parameters)
    schedule = policy.schedule() if isinstance(policy, AdaptivePolicy) else policy
    if not isinstance(schedule, FeedbackSchedule):
        rule = "FeedbackLR follows seq1 to seq4, plateau or a SwitchOnPlateau"
        raise InputError(rule, got=repr(policy), remedy="there are TLR, ASLR and PolicyLR")
    return schedule
