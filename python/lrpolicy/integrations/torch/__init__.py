"""PyTorch: every policy and the rates that learn as schedulers of torch.optim, and an SGD (lrpolicy[torch])."""

from __future__ import annotations

from lrpolicy.integrations.torch.aslr import ASLR
from lrpolicy.integrations.torch.feedback_lr import FeedbackLR
from lrpolicy.integrations.torch.policy_lr import PolicyLR
from lrpolicy.integrations.torch.sgd import SGD
from lrpolicy.integrations.torch.tlr import TLR

__all__ = ["ASLR", "SGD", "TLR", "FeedbackLR", "PolicyLR"]
