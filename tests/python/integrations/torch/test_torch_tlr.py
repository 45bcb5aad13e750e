"""TLR inside optimizer.step(): against NumPy versions of the paper's algorithms, for every optimizer, and resumed."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_support import batch, loss_of, small_net

from lrpolicy.integrations.torch import TLR

X = np.random.default_rng(3).standard_normal((60, 5))
Y = (X @ np.linspace(-1, 1, 5) + np.random.default_rng(4).standard_normal(60) > 0).astype(float)


def logistic_gradient(w: np.ndarray) -> np.ndarray:
    return X.T @ (1 / (1 + np.exp(-X @ w)) - Y) / len(Y) + 0.01 * w


def logistic_loss(w: Tensor) -> Tensor:
    scores = torch.from_numpy(X) @ w
    return nn.functional.binary_cross_entropy_with_logits(scores, torch.from_numpy(Y)) + 0.005 * w.square().sum()


def paper_algorithm_2(alpha: float, c: float, iterations: int) -> tuple[list[float], np.ndarray]:
    """Efficient GD-TLR (Algorithm 2): the rate first, then the weights, g_(-1) = 0."""
    w, g_before, alphas = np.zeros(5), np.zeros(5), []
    for _ in range(iterations):
        g = logistic_gradient(w)
        dot, square = g @ g_before, g @ g
        if dot != 0:
            room = max(4 * (square - dot), 0)
            alpha *= 1 + (min(dot / room, c) if room > 0 else c)
        w = w - alpha * g
        g_before = g
        alphas.append(float(alpha))
    return alphas, w


@pytest.mark.parametrize(("start", "iterations"), [(0.001, 60), (0.1, 45), (1.0, 30)])
def test_one_update_windows_of_gradients_are_the_papers_algorithm_2(start: float, iterations: int) -> None:
    """Past the peak of the rate the iteration is chaotic: roundings grow, until after some more updates runs part."""
    w = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=start)
    TLR(optimizer, 1, source="gradient")
    alphas = []
    for _ in range(iterations):
        optimizer.zero_grad()
        logistic_loss(w).backward()
        optimizer.step()
        alphas.append(optimizer.param_groups[0]["lr"])
    expected, weights = paper_algorithm_2(start, 0.25, iterations)
    np.testing.assert_allclose(alphas, expected, rtol=1e-8)
    np.testing.assert_allclose(w.detach().numpy(), weights, rtol=1e-8)
    assert max(alphas) > alphas[-1] > start


@pytest.mark.parametrize("eta", [0.01, 0.3])
def test_hypergradient_adds_eta_times_the_dot_product_at_every_update(eta: float) -> None:
    """Baydin and others (2018), whatever the window is said to be."""
    w = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1)
    TLR(optimizer, 30, source="gradient", variant="hypergradient", eta=eta)
    at, before, alpha = np.zeros(5), np.zeros(5), 0.1
    for _ in range(60):
        optimizer.zero_grad()
        logistic_loss(w).backward()
        optimizer.step()
        g = logistic_gradient(at)
        alpha = max(alpha + eta * (g @ before), 0)
        at, before = at - alpha * g, g
        assert optimizer.param_groups[0]["lr"] == pytest.approx(alpha, rel=1e-10)


def regression(t: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = batch(t)
    return x.double().numpy(), y.double().numpy()


def paper_equation_10(
    alpha: float, window: int, iterations: int, momentum: float, decay: float, per_tensor: bool
) -> list[list[float]]:
    """SGD-TLR (section 4) on a linear model with a bias, its optimizer PyTorch's SGD written out in NumPy."""
    weights = [np.zeros((3, 6)), np.zeros(3)]
    velocity, start = [np.zeros_like(w) for w in weights], weights
    before: list[np.ndarray] | None = None
    alphas, seen = [alpha, alpha], []
    for t in range(iterations):
        seen.append(list(alphas))
        x, y = regression(t)
        error = 2 * (x @ weights[0].T + weights[1] - y) / y.size
        gradients = [error.T @ x, error.sum(0)]
        velocity = [momentum * v + g + decay * w for v, g, w in zip(velocity, gradients, weights, strict=True)]
        weights = [w - a * v for w, a, v in zip(weights, alphas, velocity, strict=True)]
        if (t + 1) % window == 0:
            g = [(s - w) / a for s, w, a in zip(start, weights, alphas, strict=True)]
            if before is not None:
                dots = np.array([[np.vdot(a, b), np.vdot(a, a)] for a, b in zip(g, before, strict=True)])
                dots = dots if per_tensor else np.tile(dots.sum(0), (2, 1))
                alphas = [
                    a * (1 + (min(d / (4 * (n - d)), 0.25) if n > d else 0.25))
                    for a, (d, n) in zip(alphas, dots, strict=True)
                ]
            before, start = g, weights
    return seen


@pytest.mark.parametrize("per_tensor", [False, True])
@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.8, 5e-4)])
def test_displacements_give_the_papers_equation_10(momentum: float, decay: float, per_tensor: bool) -> None:
    layer = nn.Linear(6, 3, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.02, momentum=momentum, weight_decay=decay)
    scheduler = TLR(optimizer, 21, per_tensor=per_tensor)
    seen = []
    for t in range(120):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.zero_grad()
        x, y = batch(t)
        nn.functional.mse_loss(layer(x.double()), y.double()).backward()
        optimizer.step()
        scheduler.step()
    expected = paper_equation_10(0.02, 7, 120, momentum, decay, per_tensor)
    np.testing.assert_allclose(seen, expected if per_tensor else [[row[0]] for row in expected], rtol=1e-9)
    assert len({row[0] for row in seen}) > 10


OPTIMIZERS: dict[str, Any] = {
    "SGD": torch.optim.SGD,
    "Nesterov": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, nesterov=True),
    "Adam": torch.optim.Adam,
    "AdamW": lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.1),
    "RMSprop": torch.optim.RMSprop,
    "Adagrad": torch.optim.Adagrad,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("per_tensor", [False, True])
def test_every_optimizer_learns_from_where_its_weights_have_been(name: str, per_tensor: bool) -> None:
    """The rates follow from the weights alone: recomputed in NumPy from a record of those."""
    net = small_net()
    optimizer = OPTIMIZERS[name](net.parameters(), lr=0.003)
    TLR(optimizer, 9, per_tensor=per_tensor)
    weights, rates = [], []
    for t in range(45):
        weights.append([p.detach().double().numpy().copy() for p in net.parameters()])
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.zero_grad()
        loss_of(net, t).backward()
        optimizer.step()
    for t in range(6, 45, 3):
        now, before = ([a - b for a, b in zip(weights[i - 3], weights[i], strict=True)] for i in (t, t - 3))
        if per_tensor:
            sums = [(np.vdot(a, a), np.vdot(a, b)) for a, b in zip(now, before, strict=True)]
        else:
            sums = [(sum(np.vdot(a, a) for a in now), sum(np.vdot(a, b) for a, b in zip(now, before, strict=True)))]
        for (gg, gp), old, older, new in zip(sums, rates[t - 1], rates[t - 4], rates[t], strict=True):
            d, n = gp / (9 * old * older), gg / (9 * old**2)
            factor = 1 + (min(d / (4 * (n - d)), 0.25) if n > d else 0.25)
            assert new == pytest.approx(old * factor, rel=1e-5)  # the weights are float32
    assert rates[5] != rates[6] or rates[8] != rates[9]


def train(net: nn.Module, optimizer: Any, scheduler: TLR, ts: range) -> list[list[float]]:
    rates = []
    for t in ts:
        optimizer.zero_grad()
        loss_of(net, t).backward()
        optimizer.step()
        scheduler.step()
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
    return rates


@pytest.mark.parametrize("cut", [1, 17, 18, 19])
@pytest.mark.parametrize("options", [{}, {"source": "gradient"}, {"per_tensor": True}, {"capturable": True}], ids=str)
def test_a_run_resumed_in_the_middle_of_a_window_goes_on_to_the_bit(cut: int, options: dict[str, Any]) -> None:
    def fresh(seed: int) -> tuple[nn.Module, torch.optim.SGD, TLR]:
        net = small_net(seed)
        lr = torch.tensor(0.01) if options.get("capturable") else 0.01
        optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
        return net, optimizer, TLR(optimizer, 18, **options)

    parts = fresh(1)
    train(*parts, range(cut))
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    file.seek(0)
    others = fresh(2)
    for part, saved in zip(others, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(saved)
    whole = train(*parts, range(cut, 60))
    assert train(*others, range(cut, 60)) == whole
    assert all(map(torch.equal, parts[0].parameters(), others[0].parameters()))
    assert len({row[0] for row in whole}) > 5


def test_copies_and_pickles_keep_learning() -> None:
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    scheduler = TLR(optimizer, 9)
    train(net, optimizer, scheduler, range(10))
    for copied in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        twin, again = copied((net, scheduler))
        twin_rates = train(twin, again.optimizer, again, range(10, 30))
        assert len({row[0] for row in twin_rates}) > 3
        assert again.iteration == 30
    assert train(net, optimizer, scheduler, range(10, 30)) == twin_rates


def test_groups_keep_their_ratio_and_a_rate_of_zero_takes_no_part() -> None:
    net = small_net()
    first, second = net[0], net[2]
    groups = [{"params": first.parameters(), "lr": 0.02}, {"params": [second.weight], "lr": 0.01}]
    optimizer = torch.optim.SGD([*groups, {"params": [second.bias], "lr": 0.0}], lr=1.0)
    scheduler = TLR(optimizer, 3)
    assert scheduler.schedule.lr_mult == (1.0, 1.0, 0.5, 0.0)
    bias = second.bias.clone()
    for row in train(net, optimizer, scheduler, range(40)):
        assert row == [row[0], row[0] / 2, 0.0]
    assert row[0] != 0.02
    assert torch.equal(second.bias, bias)


def test_step_is_free_to_be_left_out() -> None:
    rates = []
    for called in (True, False):
        net = small_net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        scheduler = TLR(optimizer, 9)
        for t in range(30):
            optimizer.zero_grad()
            loss_of(net, t).backward()
            optimizer.step()
            if called:
                scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr() == [rates[-1]]
    assert rates[0] == rates[1] != 0.01


def test_a_later_optimizer_state_restores_the_rate_as_it_was() -> None:
    """initial_lr is what TLR starts from, so that it does not matter whether the optimizer was loaded before."""
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    scheduler = TLR(optimizer, 9)
    train(net, optimizer, scheduler, range(20))
    other = torch.optim.SGD(small_net().parameters(), lr=0.01)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    again = TLR(other, 9)
    again.load_state_dict(scheduler.state_dict())
    assert again.state == scheduler.state
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
