"""Switches against PyTorch's ReduceLROnPlateau."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lrpolicy import InputError, Policy
from lrpolicy.compositions import SwitchOnPlateau, SwitchState, rehearse, warm_up
from lrpolicy.stateful import PlateauState, TrainLoss

FIRST, SECOND = Policy("fixed", base_lr=0.1), Policy("tri", base_lr=0.01, max_lr=0.02, stepsize=10)
SWITCH = SwitchOnPlateau([FIRST, SECOND], [5])


@pytest.mark.parametrize("seed", range(4))
def test_the_switch_comes_where_pytorch_would_lower(seed: int) -> None:
    generator = np.random.default_rng(seed)
    losses = 1 / np.sqrt(1 + np.arange(300)) + generator.normal(0, 0.05, 300)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=19, threshold=0.0, threshold_mode="abs"
    )
    lowered = []
    for loss in losses:
        reference.step(float(loss))
        lowered.append(optimizer.param_groups[0]["lr"] < 1)
    switched = lowered.index(True)
    rates, states = rehearse(SwitchOnPlateau([FIRST, SECOND], [20]), losses)
    assert rates[:switched].tolist() == [0.1] * switched
    assert rates[switched:].tolist() == SECOND.rates(range(300 - switched)).tolist()
    assert SwitchState.from_json(states[-1].to_json()) == states[-1]
    assert states[-1].since == switched


def test_switching_goes_on_in_the_middle_and_through_chains() -> None:
    schedule = SwitchOnPlateau([warm_up(5) >> FIRST, SECOND, FIRST], [10, 30])
    losses = [1.0] * 100
    whole, states = rehearse(schedule, losses)
    state = SwitchState.from_dict(states[17].to_dict())
    for t in range(18, 100):
        state = schedule.update(state, TrainLoss(t, losses[t]))
        assert schedule.rate(state, t) == whole[t]
    assert (whole[9], whole[10], whole[40]) == (0.1, 0.01, 0.1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SwitchOnPlateau([FIRST], [3]), "a switch needs two schedules or more, got 1"),
        (lambda: SwitchOnPlateau([FIRST, SECOND], [3, 4]), "winsize has a number for each schedule but the last"),
        (lambda: SwitchOnPlateau([FIRST, SECOND], [0]), "plateau_winsize"),
        (lambda: SwitchOnPlateau([FIRST, 3], [5]), "a switch leads from schedule to schedule"),
        (lambda: SWITCH.rate(PlateauState(0, 0, math.inf), 0), "needs a state of its own"),
        (lambda: SWITCH.rate(SwitchState(1, 50, 0, 1.0), 49), "the iteration must be"),
    ],
)  # fmt: skip
def test_wrong_input(make: object, says: str) -> None:
    with pytest.raises(InputError) as caught:
        make()  # type: ignore[operator]
    assert says in str(caught.value)
