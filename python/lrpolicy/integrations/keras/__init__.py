"""Keras 3 on JAX or torch: every policy as a schedule, the adaptive ones as a callback (install lrpolicy[keras])."""

from __future__ import annotations

from lrpolicy.integrations.keras.policy_callback import PolicyCallback
from lrpolicy.integrations.keras.policy_schedule import PolicySchedule

__all__ = ["PolicyCallback", "PolicySchedule"]
