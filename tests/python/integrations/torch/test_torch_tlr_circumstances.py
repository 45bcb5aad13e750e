"""TLR where training is not plain: scaled gradients, closures, odd tensors, the device's arithmetic."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch_support import loss_of, parameter, small_net

from lrpolicy.integrations.torch import TLR
from lrpolicy.integrations.torch.device_tlr import DeviceTlr
from lrpolicy.stateful import Tlr, TlrWindow

OVERFLOWS = (4, 5, 13)


def rates_of_a_run(source: str, kind: str, fused: bool = False) -> tuple[list[float], Tensor]:
    """30 updates: plain, with a GradScaler that also meets infinities, accumulated in halves, or by closures."""
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.5, fused=fused)
    scheduler = TLR(optimizer, 9, source=source)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=10**6, enabled=kind == "scaled")
    rates, t, batches = [], 0, 0
    while t < 30:
        batches += 1
        overflows = kind == "scaled" and batches in OVERFLOWS
        optimizer.zero_grad()
        if kind == "closure":
            optimizer.step(lambda: (optimizer.zero_grad(), loss_of(net, t).backward())[1])  # noqa: B023
        elif kind == "accumulated":
            for _ in range(2):
                (loss_of(net, t) / 2).backward()
            optimizer.step()
        else:
            scaler.scale(loss_of(net, t) * (math.inf if overflows else 1)).backward()
            scaler.step(optimizer)
            scaler.update(1024.0)
        scheduler.step()
        t += not overflows
        if not overflows:
            rates.append(optimizer.param_groups[0]["lr"])
    assert scheduler.iteration == 30
    return rates, next(net.parameters()).detach()


@pytest.mark.parametrize("source", ["displacement", "gradient"])
@pytest.mark.parametrize(
    ("kind", "fused"), [("scaled", False), ("scaled", True), ("accumulated", False), ("closure", False)]
)
def test_only_updates_count_and_gradients_are_unscaled(source: str, kind: str, fused: bool) -> None:
    """A scale of a power of two, and halves that are added up, change no bit of a gradient."""
    plain, weights = rates_of_a_run(source, "plain", fused)
    rates, same = rates_of_a_run(source, kind, fused)
    assert rates == plain
    assert torch.equal(weights, same)
    assert len(set(plain)) > 5


def test_a_parameter_without_a_gradient_stands_still_and_may_come_back() -> None:
    for source in ("displacement", "gradient"):
        net = small_net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        scheduler = TLR(optimizer, 3, source=source)
        for t in range(30):
            optimizer.zero_grad()
            net[2].weight.requires_grad_(t % 7 < 4)
            loss_of(net, t).backward()
            optimizer.step()
        assert math.isfinite(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[0]["lr"] != 0.01
        assert scheduler.events == ()


def test_the_layout_of_a_tensor_changes_nothing() -> None:
    """Channels last, a transposed view, and a parameter of no element."""
    states = []
    for odd in (False, True):
        torch.manual_seed(5)
        conv = nn.Conv2d(3, 4, 3, dtype=torch.float64)
        matrix = torch.randn(4, 5, dtype=torch.float64)
        images = torch.randn(2, 3, 6, 6, dtype=torch.float64)
        learned = matrix.t().contiguous().t() if odd else matrix
        learned.requires_grad_()
        assert learned.is_contiguous() is not odd
        if odd:
            conv = conv.to(memory_format=torch.channels_last)
            assert not conv.weight.is_contiguous()
        empty = [torch.empty(0, requires_grad=True)] if odd else []
        optimizer = torch.optim.SGD([*conv.parameters(), learned, *empty], lr=0.001)
        scheduler = TLR(optimizer, 1)
        for _ in range(8):
            optimizer.zero_grad()
            (conv(images).mean((2, 3)) @ learned - 1).square().sum().backward()
            optimizer.step()
        states.append(scheduler.state)
    assert states[0].rates == pytest.approx(states[1].rates, rel=1e-10)
    assert states[0].squared == pytest.approx(states[1].squared, rel=1e-10)
    assert states[0].rates[0] > 0.001


@pytest.mark.parametrize("source", ["displacement", "gradient"])
def test_short_and_long_floats_side_by_side(source: str) -> None:
    kinds = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
    ws = [torch.linspace(1, 2, 40, dtype=kind).requires_grad_() for kind in kinds]
    optimizer = torch.optim.SGD(ws, lr=0.01)
    scheduler = TLR(optimizer, 1, source=source)
    for _ in range(12):
        optimizer.zero_grad()
        torch.stack([w.double().square().sum() for w in ws]).sum().backward()
        optimizer.step()
    assert scheduler.state.rates[0] > 0.05
    wide = [torch.float64, *[torch.float32] * 3]
    window = scheduler.state_dict()["window"]
    assert [buffer.dtype for buffer in window["now"]] == (kinds if source == "displacement" else wide)
    assert [buffer.dtype for buffer in window["before"]] == wide


@given(
    st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), min_size=2, max_size=12), st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_a_rate_changes_by_a_quarter_at_most_and_never_reaches_zero(gradients: list[list[float]], mean: bool) -> None:
    w = parameter(3)
    optimizer = torch.optim.SGD([w], lr=0.01, momentum=0.5)
    TLR(optimizer, 1, source="gradient" if mean else "displacement", divergence=1e300)
    for gradient in gradients:
        before = optimizer.param_groups[0]["lr"]
        w.grad = torch.tensor(gradient)
        optimizer.step()
        assert 0.75 * (1 - 1e-12) <= optimizer.param_groups[0]["lr"] / before <= 1.25 * (1 + 1e-12)


def numbers(signed: bool) -> st.SearchStrategy[float]:
    odd = [0.0, math.inf, math.nan, 1e300, *([-math.inf, -1e300] if signed else [])]
    return st.one_of(st.floats(-1e3 if signed else 1e-3, 1e3), st.sampled_from(odd))


@st.composite
def windows(draw: st.DrawFn) -> tuple[Tlr, list[tuple[list[float], list[float], int]]]:
    variant = draw(st.sampled_from(["efficient", "newton", "fixed_eta", "hypergradient"]))
    eta = 0.001 if variant in ("fixed_eta", "hypergradient") else None
    multipliers = draw(st.sampled_from([[1.0], [1.0, 0.5, 2.0], [0.0, 1.0, 0.25], [3.0, 0.0]]))
    source = draw(st.sampled_from(["gradient", "displacement"]))
    per_tensor = draw(st.booleans())
    limits = {"min_lr": 0.001, "max_lr": draw(st.sampled_from([0.06, 1e100]))}
    limits["restart_below"] = draw(st.sampled_from([0.0, 0.045]))
    schedule = Tlr(0.05, variant, source, eta=eta, lr_mult=multipliers, per_tensor=per_tensor, **limits)
    lists = [
        st.lists(numbers(signed), min_size=len(multipliers), max_size=len(multipliers)) for signed in (False, True)
    ]
    return schedule, draw(st.lists(st.tuples(*lists, st.integers(1, 9)), min_size=1, max_size=6))


@given(windows())
@settings(max_examples=300, deadline=None)
def test_the_devices_arithmetic_is_the_compiled_machines(case: Any) -> None:
    """With a rate for each tensor to the bit; one rate for all up to the order of a sum over tensors."""
    schedule, observed = case
    state = schedule.init()
    device = DeviceTlr(schedule, state, torch.device("cpu"))
    for gg, gp, updates in observed:
        state = schedule.update(state, TlrWindow(gg, gp, updates))
        device.update(torch.tensor([gg, gp], dtype=torch.float64), updates)
        found = device.state()
        for name in ("windows", "non_finite_tensor", "events", "restarts"):
            assert getattr(found, name) == getattr(state, name)
        for name in ("rates", "scales", "squared", "first"):
            exact = schedule.per_tensor or len(schedule.lr_mult) == 1
            expected = getattr(state, name) if exact else pytest.approx(getattr(state, name), rel=1e-11)
            assert getattr(found, name) == expected


@pytest.mark.parametrize("below", [0.0, 0.001])
def test_capturable_never_waits_for_the_device(below: float) -> None:
    """Under fake tensors nothing has a value, so that every .item() fails: the whole of a training step passes."""
    with FakeTensorMode():
        net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        rate = torch.empty((), dtype=torch.float64)
        optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["initial_lr"] = rate
        with pytest.raises(DataDependentOutputException):
            rate.item()
        optimizer.param_groups[0]["initial_lr"] = 0.01  # known on the host, as a rate that a user gives is
        scheduler = TLR(optimizer, 6, capturable=True, restart_below=below)
        for _ in range(8):
            net(torch.empty(4, 6)).square().mean().backward()
            with torch.no_grad():
                for p in net.parameters():
                    p.sub_(p.grad * rate)
            scheduler.step()
    assert scheduler._device is not None
    assert scheduler._device._windows == 4


def test_restart_begins_a_window_at_weights_that_someone_else_has_changed() -> None:
    for capturable in (False, True):
        w = parameter(4)
        optimizer = torch.optim.SGD([w], lr=torch.tensor(0.1, dtype=torch.float64))
        scheduler = TLR(optimizer, 1, capturable=capturable)
        with torch.no_grad():
            w.mul_(100)
        scheduler.restart()
        w.grad = torch.ones(4)
        optimizer.step()
        scheduler.step()
        assert scheduler.state.squared[0] == pytest.approx(4, rel=1e-4)


def test_one_bad_tensor_leaves_the_rate_and_is_named_once() -> None:
    for source in ("gradient", "displacement"):
        ws = [parameter(3), parameter(2)]
        optimizer = torch.optim.SGD([("first", ws[0]), ("second.bias", ws[1])], lr=0.1)
        scheduler = TLR(optimizer, 1, source=source)
        for bad in (False, False, True, True):
            ws[0].grad, ws[1].grad = torch.ones(3), torch.full((2,), math.nan if bad else 1.0)
            before = optimizer.param_groups[0]["lr"]
            if bad and "not finite" not in " ".join(scheduler.events):
                with pytest.warns(RuntimeWarning, match=r"tensor 1 are not finite.*second\.bias"):
                    optimizer.step()
            else:
                optimizer.step()
            assert (optimizer.param_groups[0]["lr"] == before) is (bad or scheduler.state.windows == 1)


def test_divergence_is_reported() -> None:
    w = parameter(3)
    optimizer = torch.optim.SGD([w], lr=5.0)
    TLR(optimizer, 1, min_lr=5.0)
    with pytest.warns(RuntimeWarning, match=r"over 1e\+06 times the first window's"):
        for _ in range(10):
            optimizer.zero_grad()
            w.square().sum().backward()
            optimizer.step()


def test_nothing_is_said_where_all_is_well() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rates_of_a_run("displacement", "plain")
