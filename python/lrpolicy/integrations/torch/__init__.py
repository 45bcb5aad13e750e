"""PyTorch: every policy, and the rates that learn, as schedulers of torch.optim (install lrpolicy[torch])."""

from __future__ import annotations

from lrpolicy.integrations.torch.policy_lr import PolicyLR

__all__ = ["PolicyLR"]
