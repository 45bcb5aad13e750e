"""By what a saved state knows its policy again: in another process, of another version, and of whoever's class."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from lrpolicy.compositions import SwitchOnPlateau, lasting, warm_up
from lrpolicy.errors import InputError
from lrpolicy.integrations.policy_like import are_identities_of, as_schedule, identity, is_identity_of
from lrpolicy.policies import Policy
from lrpolicy.stateful import AdaptivePolicy, Aslr, DecaySequence, Plateau, Tlr
from lrpolicy.sweeps import Sweep

FIXED = Policy("fixed", base_lr=0.1)


class Halving:
    """A schedule of someone else, which prints as its address."""

    def rate(self, t: int, /) -> float:
        return 0.5**t

    def rates(self, ts: Any) -> np.ndarray:
        return 0.5 ** np.asarray(ts)


class Named(Halving):
    """One that says what it is."""

    def __init__(self, power: float) -> None:
        self.power = power

    def __repr__(self) -> str:
        return f"Named({self.power})"


EVERY = [
    lambda: FIXED,
    lambda: AdaptivePolicy("plateau", base_lr=0.1, gamma=0.5, plateau_winsize=[3, 4]),
    lambda: warm_up(5) >> lasting(Halving(), 10) >> FIXED,
    lambda: SwitchOnPlateau([Halving(), warm_up(5) >> FIXED], [3]),
    lambda: Sweep(0.001, 1.0, 50),
    lambda: Tlr(0.1, lr_mult=(1.0, 0.5), per_tensor=True),
    lambda: Aslr(0.1, 3),
    lambda: DecaySequence("seq3", "by_epoch", base_lr=0.1),
    lambda: Plateau(0.1, 0.5, [2, 3]),
    Halving,
    lambda: Named(2.0),
]
TLR = (
    "Tlr(base_lr=0.1, variant='efficient', source='gradient', bound=0.25, eta=None, window=1.0, epoch_iterations=1,"
    " lr_mult=(1.0,), per_tensor=False, min_lr=0.0, max_lr=1e+100, divergence=1000000.0)"
)
CHAIN = (
    "Chain(parts=((0, Ramp(start=0.0, end=0.1, iterations=5, shape='linear')), (5, Policy('fixed', base_lr=0.1))),"
    " length=None)"
)
SWITCH = (
    "SwitchOnPlateau(schedules=(Policy('fixed', base_lr=0.1), Sweep(low=0.001, high=1.0, iterations=50,"
    " scale='log')), winsize=(3,))"
)
# As states of earlier versions have them.
OLDER = [
    (Sweep(0.001, 1.0, 50), "Sweep(low=0.001, high=1.0, iterations=50, scale='log')"),
    (Plateau(0.1, 0.5, [2, 3]), "Plateau(base_lr=0.1, gamma=0.5, plateau_winsize=(2, 3), min_lr=0.0)"),
    (Tlr(0.1, window=1.0), TLR),
    (warm_up(5) >> FIXED, CHAIN),
    (SwitchOnPlateau([FIXED, Sweep(0.001, 1.0, 50)], [3]), SWITCH),
]


@pytest.mark.parametrize("make", EVERY)
def test_a_policy_is_known_again_from_json_and_from_what_it_printed(make: Any) -> None:
    saved = json.loads(json.dumps(identity(make())))
    assert is_identity_of(saved, make())
    assert is_identity_of(repr(make()), make())
    assert "0x" not in str(saved)
    others = [other() for other in EVERY if other is not make]
    assert not any(is_identity_of(saved, other) for other in others)
    assert are_identities_of([saved, identity(FIXED)], [make(), FIXED])
    assert not are_identities_of([saved], [make(), FIXED])
    assert not are_identities_of(saved, [make()])


@pytest.mark.parametrize(("schedule", "printed"), OLDER)
def test_what_earlier_versions_saved_is_known_again(schedule: Any, printed: str) -> None:
    assert is_identity_of(printed, schedule)
    assert not is_identity_of(printed.replace("=0", "=3", 1), schedule)


def test_other_values_are_another_policy() -> None:
    assert not is_identity_of(identity(Named(2.0)), Named(3.0))
    assert not is_identity_of(identity(warm_up(5) >> FIXED), warm_up(6) >> FIXED)
    assert not is_identity_of(identity(Tlr(0.1)), Tlr(0.1, restart_below=0.01))
    assert not is_identity_of(identity(Tlr(0.1, restart_below=0.01)), Tlr(0.1))


@pytest.mark.parametrize("make", [Halving, lambda: warm_up(5) >> lasting(Halving(), 10) >> FIXED])
def test_a_torch_scheduler_goes_on_with_anothers_schedule(make: Any) -> None:
    torch = pytest.importorskip("torch")
    from lrpolicy.integrations.torch import FeedbackLR, PolicyLR

    def resumed(scheduler: Any, again: Any, *arguments: float) -> None:
        for _ in range(7):
            scheduler.optimizer.step()
            scheduler.step(*arguments)
        file = io.BytesIO()
        torch.save(scheduler.state_dict(), file)
        file.seek(0)
        again.load_state_dict(torch.load(file, weights_only=True))
        assert again.get_last_lr() == scheduler.get_last_lr()

    first, second = (torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.5) for _ in range(2))
    resumed(PolicyLR(first, make()), PolicyLR(second, make()))
    switches = [SwitchOnPlateau([make(), FIXED], [100]) for _ in range(2)]
    resumed(FeedbackLR(first, switches[0]), FeedbackLR(second, switches[1]), 1.0)


@pytest.mark.parametrize("name", ["tlr", "TLR", "Tlr"])
def test_what_observes_the_training_is_sent_to_what_takes_it_by_any_name(name: str) -> None:
    for given, parameters in ((name, {"base_lr": 0.1}), (f"{name}:base_lr=0.1", {}), ({"lr_policy": name}, {})):
        with pytest.raises(InputError, match=r'"tlr" observes the training: .*; use PolicyCallback$'):
            as_schedule(given, parameters, instead="PolicyCallback")
