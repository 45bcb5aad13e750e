"""Small nets, optimizers and policies that the tests of the PyTorch adapter share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lrpolicy.integrations.torch import PolicyLR
from lrpolicy.policies import POLICIES, Policy

_VALUES: dict[str, Any] = {
    "base_lr": 0.01, "max_lr": 0.06, "gamma": 0.97, "power": 0.75, "stepsize": 7, "stepvalue": (10, 30), "max_iter": 60,
}  # fmt: skip
EVERY = [Policy(name, **{field: _VALUES[field] for field in info.parameters}) for name, info in POLICIES.items()]


def parameter(*shape: int, seed: int = 0) -> Tensor:
    """A tensor that learns, of ones or, with a seed, of normal numbers."""
    if not seed:
        return torch.ones(*(shape or (1,)), requires_grad=True)
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def sgd(groups: int = 1, lr: float | Tensor = 1.0, **options: Any) -> torch.optim.SGD:
    return torch.optim.SGD([{"params": [parameter()]} for _ in range(groups)], lr=lr, **options)


def rates_seen(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int, group: int = 0) -> list[float]:
    """The rate with which each of `steps` updates is made."""
    seen = []
    for _ in range(steps):
        seen.append(float(optimizer.param_groups[group]["lr"]))
        optimizer.step()
        scheduler.step()
    return seen


def float32_rates(policy: Policy, iterations: Sequence[int]) -> NDArray[np.float32]:
    """The rates that a training with rates held as float32 tensors gets: for the conformance test of all frameworks."""
    rate = torch.tensor(0.5)
    optimizer = sgd(lr=rate)
    scheduler = PolicyLR(optimizer, policy)
    rates = []
    for t in iterations:
        if t > 0:
            scheduler.last_epoch = t - 1
            optimizer.step()
            scheduler.step()
        rates.append(np.float32(rate.item()))
    return np.array(rates)


def small_net(seed: int = 1) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def batch(t: int, size: int = 16) -> tuple[Tensor, Tensor]:
    """The same batch for the same t, from a fixed teacher with noise."""
    generator = torch.Generator().manual_seed(1000 + t)
    x = torch.randn(size, 6, generator=generator)
    y = x[:, :3] * 2 - x[:, 3:] + 0.3 * torch.randn(size, 3, generator=generator)
    return x, y


def loss_of(net: nn.Module, t: int, size: int = 16) -> Tensor:
    x, y = batch(t, size)
    return nn.functional.mse_loss(net(x), y)
