"""PolicyLR against PyTorch's own schedulers, wherever the mathematics is the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as theirs
from torch_support import rates_seen, sgd

from lrpolicy.integrations.torch import PolicyLR
from lrpolicy.policies import Policy

STEPS = 400
Make = Callable[[torch.optim.Optimizer], theirs.LRScheduler]


def cyclic(mode: str, gamma: float = 1.0) -> Make:
    return lambda o: theirs.CyclicLR(o, 0.01, 0.06, step_size_up=16, mode=mode, gamma=gamma, cycle_momentum=False)  # type: ignore[arg-type]


CASES: dict[str, tuple[Policy, Make, float]] = {
    "triangular": (Policy("tri", base_lr=0.01, max_lr=0.06, stepsize=16), cyclic("triangular"), 1),
    "triangular2": (Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=16), cyclic("triangular2"), 1),
    "exp_range": (
        Policy("triexp", base_lr=0.01, max_lr=0.06, stepsize=16, gamma=0.99),
        cyclic("exp_range", 0.99),
        1,
    ),
    "cosine annealing": (
        Policy("cos", base_lr=0.01, max_lr=0.06, stepsize=64),
        lambda o: theirs.CosineAnnealingLR(o, T_max=32, eta_min=0.01),
        0.06,
    ),
    "step": (Policy("step", base_lr=0.1, gamma=0.7, stepsize=9), lambda o: theirs.StepLR(o, 9, 0.7), 0.1),
    "multistep": (
        Policy("multistep", base_lr=0.1, gamma=0.1, stepvalue=(5, 60, 61)),
        lambda o: theirs.MultiStepLR(o, [5, 60, 61]),
        0.1,
    ),
    "exponential": (Policy("exp", base_lr=0.1, gamma=0.99), lambda o: theirs.ExponentialLR(o, 0.99), 0.1),
    "polynomial": (
        Policy("poly", base_lr=0.1, power=0.5, max_iter=300),
        lambda o: theirs.PolynomialLR(o, total_iters=300, power=0.5),
        0.1,
    ),
    "lambda, inv": (
        Policy("inv", base_lr=0.1, gamma=0.01, power=0.75),
        lambda o: theirs.LambdaLR(o, lambda t: (1 + 0.01 * t) ** -0.75),
        0.1,
    ),
    "lambda, sin": (
        Policy("sin", base_lr=0.0, max_lr=1.0, stepsize=16),
        lambda o: theirs.LambdaLR(o, lambda t: abs(np.sin(np.pi * t / 32)) if t % 32 else 0.0),
        1,
    ),
    "constant": (Policy("fixed", base_lr=0.1), lambda o: theirs.ConstantLR(o, factor=1.0), 0.1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rates_are_pytorchs(name: str) -> None:
    """Theirs are recursive in places: their own rounding grows with the steps, to about 1e-14."""
    policy, make, lr = CASES[name]
    ours, other = sgd(), sgd(lr=lr)
    rates = rates_seen(ours, PolicyLR(ours, policy), STEPS)
    expected = rates_seen(other, make(other), STEPS)
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=1e-16)


def test_warm_restarts_are_the_falling_half_of_a_cosine_begun_anew() -> None:
    """CosineAnnealingWarmRestarts jumps up where `cos` swings back, so a restart is what SequentialLR does."""
    other = sgd(lr=0.06)
    expected = rates_seen(other, theirs.CosineAnnealingWarmRestarts(other, T_0=32, eta_min=0.01), 96)
    ours = sgd(lr=0.06)
    halves = [PolicyLR(ours, "cos", base_lr=0.01, max_lr=0.06, stepsize=64) for _ in range(3)]
    rates = rates_seen(ours, theirs.SequentialLR(ours, halves, milestones=[32, 64]), 96)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_cyclic_in_float32_tensors_is_nearer_to_the_exact_rate_than_pytorchs() -> None:
    policy = CASES["triangular2"][0]
    ours, other = (sgd(lr=torch.tensor(0.5)) for _ in range(2))
    rates = rates_seen(ours, PolicyLR(ours, policy), 200)
    expected = rates_seen(other, cyclic("triangular2")(other), 200)
    exact = policy.rates(range(200)).astype(np.float32)
    assert rates == exact.tolist()
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
