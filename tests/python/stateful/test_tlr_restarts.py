"""TLR's restart_below, against TLR without it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lrpolicy.errors import InputError
from lrpolicy.stateful import Tlr, TlrEvent, TlrState, TlrWindow


def test_a_rate_that_has_fallen_too_low_starts_again() -> None:
    """Opposed gradients lower the efficient rate by an eighth; each tensor's by itself."""
    tlr = Tlr(0.1, lr_mult=[1.0, 1.0], per_tensor=True)
    restarting = replace(tlr, restart_below=0.05)
    plain, state = tlr.init(), restarting.init()
    opposed = TlrWindow([1.0, 1.0], [-1.0, 0.0])
    seen = []
    for _ in range(7):
        plain, state = tlr.update(plain, opposed), restarting.update(state, opposed)
        seen.append(restarting.rate(state, tensor=0))
        assert restarting.rate(state, tensor=1) == tlr.rate(plain, tensor=1) == 0.1
    assert tlr.rate(plain) < 0.05
    fallen = next(i for i in range(7) if seen[i] == 0.1 and i > 0)
    assert seen[fallen - 1] >= 0.05
    assert state.restarts == (1, 0)
    assert state.events == (TlrEvent.RESTARTED, 0)
    assert restarting.events(state) == ("tensor 0: the rate fell below 0.05 and starts again from 0.1",)
    assert replace(state, rates=plain.rates, events=plain.events, restarts=plain.restarts) == plain
    assert TlrState.from_json(state.to_json()) == state


def test_a_state_from_before_there_were_restarts_is_read() -> None:
    state = Tlr(0.1, lr_mult=[1.0, 1.0], per_tensor=True).init()
    assert TlrState.from_dict({key: value for key, value in state.to_dict().items() if key != "restarts"}) == state
    with pytest.raises(InputError, match='this tlr state lacks the field "rates"'):
        TlrState.from_dict({key: value for key, value in state.to_dict().items() if key not in ("rates", "restarts")})
