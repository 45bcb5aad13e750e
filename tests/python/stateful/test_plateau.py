"""Caffe forks' plateau against PyTorch's ReduceLROnPlateau where the two mean the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lrpolicy.errors import InputError
from lrpolicy.stateful import Plateau, PlateauState, TrainLoss


@pytest.mark.parametrize("winsize", [1, 2, 7])
@pytest.mark.parametrize("seed", range(4))
def test_equal_winsizes_are_pytorchs_patience(winsize: int, seed: int) -> None:
    """gamma is a power of two, so that PyTorch's repeated products are exact too."""
    generator = np.random.default_rng(seed)
    losses = 1 / np.sqrt(1 + np.arange(300)) + generator.normal(0, 0.05, 300)
    losses[seed] = math.nan
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=winsize - 1, threshold=0.0, threshold_mode="abs", eps=0.0
    )
    plateau = Plateau(0.3, 0.5, [winsize] * 400)
    state = PlateauState(0, 0, math.inf)
    if seed == 0:  # the fork counts from iteration 0 where PyTorch counts a NaN there as one bad epoch
        losses[0] = 2.0
    for t, loss in enumerate(losses):
        reference.step(float(loss))
        state = plateau.update(state, TrainLoss(t, loss))
        assert plateau.rate(state, t) == optimizer.param_groups[0]["lr"]
    assert state.lowered > 3


def test_windows_are_used_up_in_order_and_then_the_rate_stays() -> None:
    plateau = Plateau(0.1, 0.1, [2, 3])
    state, lowered = plateau.init(), []
    for t in range(12):
        state = plateau.update(state, TrainLoss(t, 1.0))
        lowered.append(state.lowered)
    assert lowered == [0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2]
    assert plateau.rate(state) == pytest.approx(0.001, rel=1e-15)


def test_losses_may_be_given_now_and_then() -> None:
    """Time is the iteration, not the number of losses."""
    plateau = Plateau(0.1, 0.5, [100])
    state = plateau.update(plateau.init(), TrainLoss(0, 1.0))
    state = plateau.update(state, TrainLoss(99, 1.0))
    assert state.lowered == 0
    assert plateau.update(state, TrainLoss(100, 1.0)).lowered == 1
    assert plateau.update(state, TrainLoss(100, 0.9)).lowered == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0, 0.5, [5]), "base_lr must be a number above 0"),
        ((0.1, -1, [5]), "gamma must be"),
        ((0.1, 0.5, []), "at least one"),
        ((0.1, 0.5, [5, 0]), "plateau_winsize must hold whole numbers from 1 to 2\\^50, got 0"),
        ((0.1, 0.5, [5.5]), "plateau_winsize must be a whole number, got 5.5"),
        ((0.1, 0.5, 5), "plateau_winsize must be a list"),
        ((0.1, 0.5, "55"), "plateau_winsize must be a list"),
        ((0.1, 0.5, [5], 0.2), "min_lr must not be above base_lr"),
    ],
)
def test_wrong_settings_are_named(arguments: tuple, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Plateau(*arguments)


def test_wrong_observations_are_named() -> None:
    plateau = Plateau(0.1, 0.5, [5])
    with pytest.raises(InputError, match="observes a TrainLoss"):
        plateau.update(plateau.init(), 1.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="iteration is a whole number"):
        plateau.update(plateau.init(), TrainLoss(-1, 1.0))


def test_an_infinite_minimum_is_saved_too() -> None:
    plateau = Plateau(0.1, 0.5, [5])
    for loss in (math.inf, -math.inf):
        state = plateau.update(plateau.init(), TrainLoss(0, loss))
        assert state.minimum == loss
        assert type(state).from_json(state.to_json()) == state
