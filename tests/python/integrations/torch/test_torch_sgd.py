"""Our SGD against torch.optim.SGD, which it is a drop-in for: the same trainings, states and circumstances."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lrpolicy.errors import InputError
from lrpolicy.integrations.torch import ASLR, SGD, TLR


def small_net(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 36, 4)
    )
    return net.to(dtype)


def descend(net: nn.Module, optimizer: Any, steps: range, *, after: Callable[[], object] = lambda: None) -> None:
    dtype = next(net.parameters()).dtype
    for t in steps:
        torch.manual_seed(t)
        optimizer.zero_grad(set_to_none=t % 2 == 0)
        net(torch.randn(8, 2, 8, 8).to(dtype)).square().mean().backward()
        optimizer.step()
        after()


def weights(net: nn.Module) -> list[Tensor]:
    return [parameter.detach().double() for parameter in net.parameters()]


def assert_close(ours: list[Tensor], theirs: list[Tensor], tolerance: float = 2e-5) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


def groups(net: nn.Module) -> list[dict[str, Any]]:
    first, *rest, last = net.parameters()
    return [
        {"params": [first], "lr": 0.02, "momentum": 0.5},
        {"params": rest, "weight_decay": 0.01, "nesterov": True},
        {"params": [last], "lr": torch.tensor(0.05)},
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"weight_decay": 0.01},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.9, "maximize": True, "lr": 1e-4},
        {"momentum": 0.9, "foreach": False},
        {"foreach": True},
        {"momentum": 0.9, "fused": True},
    ],
    ids=str,
)
def test_a_training_is_that_of_torch(options: dict[str, Any]) -> None:
    """30 steps, PyTorch in double; where the kernel has no part PyTorch in float32, to the bit."""
    net, wide, same = small_net(), small_net(torch.float64), small_net()
    options = {"lr": 0.05} | options
    descend(net, SGD(net.parameters(), **options), range(30))
    descend(wide, torch.optim.SGD(wide.parameters(), **options), range(30))
    assert_close(weights(net), weights(wide))
    if options.keys() & {"dampening", "maximize"} or "momentum" not in options:
        descend(same, torch.optim.SGD(same.parameters(), **options), range(30))
        assert all(map(torch.equal, weights(net), weights(same)))


def test_groups_have_their_own_rates_momenta_and_decays() -> None:
    net, wide = small_net(), small_net(torch.float64)
    descend(net, SGD(groups(net), lr=0.01, momentum=0.9), range(20))
    descend(wide, torch.optim.SGD(groups(wide), lr=0.01, momentum=0.9), range(20))
    assert_close(weights(net), weights(wide))


def test_states_go_both_ways() -> None:
    def resumed(first: Any, second: Any) -> list[Tensor]:
        net = small_net()
        optimizer = first(net.parameters(), lr=0.05, momentum=0.9)
        descend(net, optimizer, range(7))
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        optimizer = second(net.parameters(), lr=0.05, momentum=0.9)
        optimizer.load_state_dict(torch.load(file, weights_only=True))
        descend(net, optimizer, range(7, 15))
        return weights(net)

    whole = small_net()
    descend(whole, SGD(whole.parameters(), lr=0.05, momentum=0.9), range(15))
    assert all(map(torch.equal, resumed(SGD, SGD), weights(whole)))
    assert_close(resumed(SGD, torch.optim.SGD), weights(whole))
    assert_close(resumed(torch.optim.SGD, SGD), weights(whole))


def spoilt(net: nn.Module) -> None:
    """Other memory and layouts behind the same parameters, as `Module.to` gives them."""
    for parameter in net.parameters():
        parameter.data = parameter.data.clone()


@pytest.mark.parametrize("spoil", [spoilt, lambda net: net.to(memory_format=torch.channels_last)])
def test_weights_may_move_between_steps(spoil: Callable[[nn.Module], object]) -> None:
    net, wide = small_net(), small_net(torch.float64)
    ours, theirs = (kind(n.parameters(), lr=0.05, momentum=0.9) for kind, n in ((SGD, net), (torch.optim.SGD, wide)))
    for first in (0, 5, 10):
        descend(net, ours, range(first, first + 5))
        descend(wide, theirs, range(first, first + 5))
        spoil(net)
    assert_close(weights(net), weights(wide))


def test_what_the_kernel_does_not_take_is_updated_all_the_same() -> None:
    """float64 and bfloat16, a sparse gradient, a tensor that is not contiguous; one without a gradient stays."""
    values = {
        "double": torch.ones(3, dtype=torch.float64),
        "short": torch.ones(3, dtype=torch.bfloat16),
        "table": torch.ones(4, 2),
        "turned": torch.ones(3, 2).T,
        "float": torch.ones(3),
        "still": torch.ones(3),
    }

    def after(kind: Any) -> list[Tensor]:
        tensors = {name: value.clone().requires_grad_() for name, value in values.items()}
        optimizer = kind(list(tensors.values()), lr=0.5, momentum=0.5)
        for _ in range(3):
            for name, tensor in tensors.items():
                tensor.grad = None if name == "still" else torch.ones_like(tensor) / 4
            tensors["table"].grad = torch.ones(4, 2).to_sparse()
            optimizer.step()
        return list(tensors.values())

    for ours, theirs in zip(after(SGD), after(torch.optim.SGD), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("source", ["displacement", "gradient"])
def test_tlr_learns_a_rate_for_each_tensor(source: str) -> None:
    found = []
    for kind in (SGD, torch.optim.SGD):
        net = small_net()
        optimizer = kind(net.parameters(), lr=0.02, momentum=0.8)
        rates: list[list[float]] = []
        scheduler = TLR(optimizer, 6, source=source, per_tensor=True)
        descend(net, optimizer, range(24), after=lambda: rates.append(scheduler.get_last_lr()))  # noqa: B023
        found.append(torch.tensor(rates, dtype=torch.float64))
    assert len(found[0][-1].unique()) >= 3
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=0)


def test_aslr_draws_a_rate_for_each_tensor() -> None:
    nets = []
    for kind in (SGD, torch.optim.SGD):
        net = small_net()
        optimizer = kind(net.parameters(), lr=0.02, momentum=0.8)
        scheduler = ASLR(optimizer, seed=5)
        descend(net, optimizer, range(10))
        scheduler.step(1.0)
        descend(net, optimizer, range(10, 20))
        nets.append(weights(net))
    assert_close(*nets)


def test_hooks_closures_and_copies() -> None:
    net, calls = small_net(), []
    optimizer = SGD(net.parameters(), lr=0.05, momentum=0.9)
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    descend(net, optimizer, range(2))
    assert calls == ["before", "after"] * 2

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = net(torch.ones(2, 2, 8, 8)).square().mean()
        loss.backward()
        return loss

    assert optimizer.step(closure).requires_grad
    both = copy.deepcopy((net, optimizer))
    descend(net, optimizer, range(3))
    descend(*both, range(3))
    assert all(map(torch.equal, weights(net), weights(both[0])))


def test_a_grad_scaler_drives_a_fused_one() -> None:
    """It unscales the gradients within the step, and leaves out one whose gradients are not finite."""
    results = []
    for kind in (SGD, torch.optim.SGD):
        net, scaler = small_net(), torch.amp.GradScaler("cpu", init_scale=64.0)
        optimizer = kind(net.parameters(), lr=0.1, momentum=0.9, fused=True)
        for t in range(4):
            torch.manual_seed(t)
            optimizer.zero_grad()
            loss = net(torch.randn(8, 2, 8, 8)).square().mean() * (torch.inf if t == 2 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        results.append(weights(net))
    assert_close(*results, tolerance=0.0)


def test_parameters_that_share_memory_are_refused() -> None:
    base = torch.ones(4)
    first, second = base[:3].requires_grad_(), base[1:].requires_grad_()
    optimizer = SGD([first, second], lr=0.1, momentum=0.9)
    for parameter in (first, second):
        parameter.grad = torch.ones(3)
    with pytest.raises(InputError, match="shares memory with"):
        optimizer.step()
