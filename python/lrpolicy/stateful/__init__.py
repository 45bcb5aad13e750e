"""Rates that depend on what the training shows: TLR, ASLR, the Yang-Huang sequences with their strategies, plateau.

Each schedule is a description without memory; what it remembers is a state, a plain value that the caller keeps.
`AdaptivePolicy` names one as a solver prototxt does.

>>> schedule = DecaySequence("seq3", "by_epoch", base_lr=1.0)
>>> state = schedule.init()
>>> state = schedule.update(state, 2.3)  # a validation loss
>>> schedule.rate(state, t=600)
0.9
>>> DecayState.from_json(state.to_json()) == state
True
"""

from __future__ import annotations

from lrpolicy.stateful.adaptive import AdaptivePolicy, AdaptiveSchedule, AnyPolicy, parse_policy, policy_from_dict
from lrpolicy.stateful.aslr import Aslr, AslrState
from lrpolicy.stateful.decay import DecaySequence, DecayState, convergence_epoch
from lrpolicy.stateful.plateau import Plateau, PlateauState, TrainLoss
from lrpolicy.stateful.preview import Preview, preview
from lrpolicy.stateful.tlr import Tlr, TlrEvent, TlrState, TlrWindow

__all__ = [
    "AdaptivePolicy",
    "AdaptiveSchedule",
    "AnyPolicy",
    "Aslr",
    "AslrState",
    "DecaySequence",
    "DecayState",
    "Plateau",
    "PlateauState",
    "Preview",
    "Tlr",
    "TlrEvent",
    "TlrState",
    "TlrWindow",
    "TrainLoss",
    "convergence_epoch",
    "parse_policy",
    "policy_from_dict",
    "preview",
]
