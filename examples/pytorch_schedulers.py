"""A policy and TLR as PyTorch schedulers, saved and resumed in the middle: python pytorch_schedulers.py

The net learns y = sin(3x). PolicyLR sets the rates of a policy; TLR learns its rate from the weights' own motion.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

from lrpolicy.integrations.torch import TLR, PolicyLR

EPOCH = 30
Make = Callable[[SGD], Any]


def fresh(make: Make) -> tuple[nn.Module, SGD, Any]:
    """A net, its optimizer and a scheduler, before the first update."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = SGD(net.parameters(), lr=0.01, momentum=0.8)
    return net, optimizer, make(optimizer)


def train(net: nn.Module, optimizer: SGD, scheduler: Any, iterations: range) -> None:
    """One update for each iteration; the batch depends on the iteration alone."""
    for t in iterations:
        x = torch.rand(64, 1, generator=torch.Generator().manual_seed(t)) * 2 - 1
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), torch.sin(3 * x))
        loss.backward()
        optimizer.step()
        scheduler.step()
        if t % 300 == 299:
            print(f"  iteration {t + 1}: rate {scheduler.get_last_lr()[0]:.4f}, loss {loss.item():.6f}")


def train_in_two_parts(make: Make) -> None:
    """The second part starts from a file, at an iteration that ends no epoch and no window."""
    first, second, file = fresh(make), fresh(make), io.BytesIO()
    train(*first, range(505))
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    for part, state in zip(second, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    train(*second, range(505, 1200))


print("PolicyLR, tri2")
train_in_two_parts(lambda optimizer: PolicyLR(optimizer, "tri2", base_lr=0.01, max_lr=0.3, stepsize=7 * EPOCH))
print("TLR, started at a rate of 0.01, allowed up to 0.3")
train_in_two_parts(lambda optimizer: TLR(optimizer, epoch_iterations=EPOCH, max_lr=0.3))
