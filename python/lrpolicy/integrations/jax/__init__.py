"""JAX: every policy as an optax schedule (install lrpolicy[jax])."""

from __future__ import annotations

from lrpolicy.integrations.jax.policy_schedule import PolicySchedule

__all__ = ["PolicySchedule"]
