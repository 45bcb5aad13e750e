"""A policy in a training loop of your own: fits y = 3x + 1 with PyTorch."""

from __future__ import annotations

import torch

from lrpolicy import Policy

MAX_ITER = 400
policy = Policy("tri2", base_lr=0.01, max_lr=0.5, stepsize=100)

torch.manual_seed(1)
x = torch.linspace(-1, 1, 64).unsqueeze(1)
y = 3 * x + 1
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=policy.rate(0))

for t, rate in enumerate(policy.rates(range(MAX_ITER)).tolist()):
    optimizer.param_groups[0]["lr"] = rate
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    if t % 100 == 0:
        print(f"iteration {t}: rate {rate:.4f}, loss {loss.item():.6f}")

print(f"y = {model.weight.item():.3f} x + {model.bias.item():.3f}")
