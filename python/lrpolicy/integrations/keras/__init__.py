"""Keras 3: every policy as a LearningRateSchedule, on the JAX or the torch backend (install lrpolicy[keras])."""

from __future__ import annotations

from lrpolicy.integrations.keras.policy_schedule import PolicySchedule

__all__ = ["PolicySchedule"]
