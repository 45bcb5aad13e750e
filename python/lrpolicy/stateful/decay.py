"""The decaying sequences seq1 to seq4 and the strategies that advance them (Yang and Huang's report, section 3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

from lrpolicy import _core
from lrpolicy.stateful.values import State, check_name, check_state, real, settle

SEQUENCES = {name: (formula, meaning) for name, formula, meaning in _core.sequence_table}
STRATEGIES = {name: (condition, meaning) for name, condition, meaning in _core.strategy_table}

CHANGES = 4
CONVERGED_BELOW = 0.009


@dataclass(frozen=True, slots=True)
class DecayState(State):
    """How far a sequence has come.

    `advances` counts its steps, `losses` the finite losses seen, `loss` is the last of those, `cutoff` what a change
    must stay below for by_cutoff, and `skipped` says that the last loss was not finite and was not remembered.
    """

    schedule: ClassVar[str] = "sequence"
    advances: int = 0
    losses: int = 0
    loss: float = 0.0
    cutoff: float = 0.0
    skipped: bool = False


@dataclass(frozen=True)
class DecaySequence:
    """base_lr times a decaying sequence that a strategy advances; observes the validation loss after every epoch.

    `sequence` is seq1 (1/n), seq2 (1/sqrt(n)), seq3 (0.9^n) or seq4 (falls by tenths, over and over, ever lower). The
    first epoch has base_lr itself; after 50 advances they stand at 1/51, 1/sqrt(51), 0.9^50 and 0.02 of it.
    `strategy` is by_epoch, by_cutoff (the loss changed by less than a cutoff, at first 0.01 of the first loss, times
    0.2 each time it fires) or by_oscillate (the loss grew). A loss that is not finite advances by_epoch alone, and the
    next one is compared with the last finite one. The rate never falls below `min_lr`.

    Raises InputError for an unknown sequence or strategy, base_lr not above 0, or min_lr outside [0, base_lr].
    """

    sequence: str
    strategy: str
    base_lr: float
    min_lr: float = 0.0
    _core: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name("sequence", self.sequence, SEQUENCES)
        check_name("strategy", self.strategy, STRATEGIES)
        base_lr, min_lr = real("base_lr", self.base_lr), real("min_lr", self.min_lr)
        core = _core.DecaySequenceCore(self.sequence, self.strategy, base_lr, min_lr)
        settle(self, base_lr=base_lr, min_lr=min_lr, _core=core)

    def init(self) -> DecayState:
        """The state during the first epoch."""
        return DecayState()

    def update(self, state: DecayState, loss: float, /) -> DecayState:
        """The state after an epoch that ended with this validation loss. Raises InputError."""
        values = check_state(state, DecayState).to_tuple()
        return DecayState(*self._core.update(values, real("the validation loss", loss)))

    def rate(self, state: DecayState, t: int = 0, tensor: int = 0) -> float:
        """The rate until the next update, the same for every iteration and tensor. Raises InputError."""
        rate: float = self._core.rate(check_state(state, DecayState).to_tuple())
        return rate

    def __reduce__(self) -> tuple[Any, ...]:
        return DecaySequence, (self.sequence, self.strategy, self.base_lr, self.min_lr)


def convergence_epoch(accuracies: Iterable[float]) -> int | None:
    """The first epoch at which four consecutive changes of the accuracy add up to less than 0.009.

    `accuracies` holds one ratio for each epoch, the first epoch's first; epochs count from 1, so that 5 is the earliest
    answer. None where that never happens (the report's convergence time, its Table 2).
    """
    changes = [abs(after - before) for before, after in pairwise(accuracies)]
    for last in range(CHANGES, len(changes) + 1):
        if sum(changes[last - CHANGES : last]) < CONVERGED_BELOW:
            return last + 1
    return None
