"""Schedules made of schedules: warm-up, one after another, cool-down, and switches that observe the training.

>>> from lrpolicy import Policy
>>> body = Policy("cos", base_lr=0.1, max_lr=0.001, stepsize=2000)
>>> schedule = warm_up(100) >> body >> cool_down(500, at=8100)
>>> schedule.rate(0), schedule.rate(100), schedule.rate(8100), schedule.rate(8600)
(0.0, 0.1, 0.1, 0.0)
"""

from __future__ import annotations

from lrpolicy.compositions.chain import Chain, CoolDown, Lasting, WarmUp, cool_down, lasting, warm_up
from lrpolicy.compositions.ramp import Ramp
from lrpolicy.compositions.switching import SwitchOnPlateau, SwitchState, rehearse
from lrpolicy.compositions.text import is_chain, parse_chain

__all__ = [
    "Chain",
    "CoolDown",
    "Lasting",
    "Ramp",
    "SwitchOnPlateau",
    "SwitchState",
    "WarmUp",
    "cool_down",
    "is_chain",
    "lasting",
    "parse_chain",
    "rehearse",
    "warm_up",
]
