"""TLR's restart_below: against NumPy from the gradients alone, the core on the same observations, and resumed."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lrpolicy.errors import InputError
from lrpolicy.integrations.torch import TLR
from lrpolicy.kernels import Plan
from lrpolicy.stateful import Tlr, TlrWindow

BASE, BELOW, WINDOW, UPDATES = 0.1, 0.06, 2, 120
SHAPES = [(3, 4), (5,)]
WAYS: list[dict[str, Any]] = [{}, {"source": "gradient"}, {"capturable": True}]


def gradients(t: int) -> list[np.ndarray]:
    """Of windows that oppose each other, so that rates fall; the second tensor's fall faster."""
    generator = np.random.default_rng(t)
    sign = -1 if (t // WINDOW) % 2 else 1
    return [sign + noise * generator.standard_normal(s) for s, noise in zip(SHAPES, (0.9, 0.1), strict=True)]


def fresh(**options: Any) -> tuple[list[Tensor], torch.optim.SGD, TLR]:
    weights = [torch.ones(shape, dtype=torch.float64, requires_grad=True) for shape in SHAPES]
    lr = torch.tensor(BASE, dtype=torch.float64) if options.get("capturable") else BASE
    optimizer = torch.optim.SGD(weights, lr=lr)
    return weights, optimizer, TLR(optimizer, WINDOW, window=1.0, restart_below=BELOW, **options)


def train(weights: list[Tensor], optimizer: torch.optim.SGD, scheduler: TLR, ts: range) -> list[list[float]]:
    """The rates after each update."""
    seen = []
    for t in ts:
        for weight, gradient in zip(weights, gradients(t), strict=True):
            weight.grad = torch.from_numpy(gradient)
        optimizer.step()
        scheduler.step()
        seen.append([float(group["lr"]) for group in optimizer.param_groups])
    return seen


def by_hand(per_tensor: bool) -> tuple[list[list[float]], list[int]]:
    """The rates after each window from the windows' mean gradients, by Algorithm 2's step, and how often each fell."""
    rates, restarts = [BASE] * (2 if per_tensor else 1), [0] * (2 if per_tensor else 1)
    before, seen = None, []
    for start in range(0, UPDATES, WINDOW):
        g = [np.mean(each, axis=0) for each in zip(*map(gradients, range(start, start + WINDOW)), strict=True)]
        g = [each.ravel() for each in g] if per_tensor else [np.concatenate([each.ravel() for each in g])]
        for i in range(len(rates)):
            if before is None:
                continue
            d, n = g[i] @ before[i], g[i] @ g[i]
            rates[i] *= 1 + (min(d / (4 * (n - d)), 0.25) if n > d else 0.25)
            if rates[i] < BELOW:
                rates[i], restarts[i] = BASE, restarts[i] + 1
        before = g
        seen.append(list(rates))
    return seen, restarts


@pytest.mark.parametrize("per_tensor", [False, True])
@pytest.mark.parametrize("options", WAYS, ids=str)
def test_rates_and_restarts_follow_from_the_gradients(options: dict[str, Any], per_tensor: bool) -> None:
    parts = fresh(per_tensor=per_tensor, **options)
    seen = np.array(train(*parts, range(UPDATES)))[WINDOW - 1 :: WINDOW]
    expected, restarts = by_hand(per_tensor)
    np.testing.assert_allclose(seen, expected, rtol=1e-9)
    assert parts[2].state.restarts == tuple(restarts)
    assert min(restarts) >= 3
    assert len(set(restarts)) == len(restarts)
    assert seen.min() >= BELOW


@pytest.mark.parametrize("per_tensor", [False, True])
@pytest.mark.parametrize("source", ["displacement", "gradient"])
def test_the_core_has_the_same_trace_on_the_same_observations(source: str, per_tensor: bool) -> None:
    """To the bit: states, not only rates. The dot products are taken again from a record of weights or gradients."""
    weights, optimizer, scheduler = fresh(source=source, per_tensor=per_tensor)
    settings = {"window": 1.0, "epoch_iterations": WINDOW, "lr_mult": [1.0, 1.0], "restart_below": BELOW}
    core = Tlr(BASE, source=source, per_tensor=per_tensor, **settings)
    state, before = core.init(), [np.zeros(shape) for shape in SHAPES]
    for start in range(0, UPDATES, WINDOW):
        was = [weight.detach().numpy().copy() for weight in weights]
        train(weights, optimizer, scheduler, range(start, start + WINDOW))
        now = [old - weight.detach().numpy() for old, weight in zip(was, weights, strict=True)]
        if source == "gradient":
            now = [a + b for a, b in zip(*map(gradients, range(start, start + WINDOW)), strict=True)]
        pairs = [Plan([a.size]).dot_pair([a], [b]) for a, b in zip(now, before, strict=True)]
        state = core.update(state, TlrWindow([gg[0] for gg, _ in pairs], [gp[0] for _, gp in pairs]))
        before = now
        assert scheduler.state == state
        rates = [core.rate(state, tensor=i) for i in range(2 if per_tensor else 1)]
        assert [group["lr"] for group in optimizer.param_groups] == rates
    assert min(state.restarts) >= 3


@pytest.mark.parametrize("cut", [1, 20, 41])
@pytest.mark.parametrize("options", [*WAYS, {"per_tensor": True}, {"per_tensor": True, "capturable": True}], ids=str)
def test_a_resumed_run_goes_on_to_the_bit_and_counts_on(cut: int, options: dict[str, Any]) -> None:
    parts = fresh(**options)
    train(*parts, range(cut))
    file = io.BytesIO()
    torch.save([parts[0], *(part.state_dict() for part in parts[1:])], file)
    file.seek(0)
    others = fresh(**options)
    saved = torch.load(file, weights_only=True)
    for ours, theirs in zip(others[0], saved[0], strict=True):
        ours.data.copy_(theirs)
    for part, state in zip(others[1:], saved[1:], strict=True):
        part.load_state_dict(state)
    assert train(*others, range(cut, UPDATES)) == train(*parts, range(cut, UPDATES))
    assert all(map(torch.equal, parts[0], others[0]))
    assert others[2].state == parts[2].state
    assert min(others[2].state.restarts) >= 3


def test_groups_keep_their_ratio_through_a_restart() -> None:
    first, second = (torch.ones(2, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [first], "lr": 0.1}, {"params": [second], "lr": 0.01}])
    scheduler = TLR(optimizer, 1, source="gradient", restart_below=0.08)
    seen = []
    for t in range(9):
        first.grad = second.grad = torch.full((2,), -1.0 if t % 2 else 1.0)
        optimizer.step()
        low, high = (group["lr"] for group in reversed(optimizer.param_groups))
        assert low == pytest.approx(high / 10)
        seen.append(high)
    assert scheduler.state.restarts == (4,)
    assert seen == pytest.approx([0.1, 0.0875] * 4 + [0.1])


def test_a_state_without_restarts_is_another_schedules() -> None:
    weights, optimizer, scheduler = fresh()
    plain = TLR(torch.optim.SGD(weights, lr=BASE), WINDOW, window=1.0)
    with pytest.raises(InputError, match="the state of another schedule"):
        scheduler.load_state_dict(plain.state_dict())
    with pytest.raises(InputError, match="the state of another schedule"):
        plain.load_state_dict(scheduler.state_dict())
    assert scheduler.state.restarts == (0,)
    assert optimizer.param_groups[0]["lr"] == BASE


def test_a_state_from_before_there_were_restarts_goes_on() -> None:
    def plain() -> TLR:
        return TLR(torch.optim.SGD(fresh()[0], lr=BASE), WINDOW, window=1.0)

    saved = plain().state_dict()
    saved["schedule"] = repr(plain().schedule).replace(", restart_below=0.0", "")
    del saved["state"]["restarts"]
    scheduler = plain()
    scheduler.load_state_dict(saved)
    assert scheduler.state == plain().state
