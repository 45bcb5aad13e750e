"""JAX: every policy as an optax schedule or transformation, and the rates that learn (install lrpolicy[jax])."""

from __future__ import annotations

from lrpolicy.integrations.jax.feedback import FeedbackState, observe
from lrpolicy.integrations.jax.policy_schedule import PolicySchedule
from lrpolicy.integrations.jax.scaling import scale_by_policy
from lrpolicy.integrations.jax.tlr import TlrTrace

__all__ = ["FeedbackState", "PolicySchedule", "TlrTrace", "observe", "scale_by_policy"]
