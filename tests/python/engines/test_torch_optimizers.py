"""Update rules against torch.optim where the forms coincide (a constant rate), and against NumPy elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lrpolicy.engines.torch.optimizers import Optimizer, Weight
from lrpolicy.solver import Solver


def solver(fields: str) -> Solver:
    source = f'net_param {{ }} lr_policy: "fixed" base_lr: 1 max_iter: 1 {fields}'
    return Solver.parse(source)


def weights(count: int = 2) -> list[Weight]:
    torch.manual_seed(3)
    return [Weight("layer", index, torch.randn(5, 4, requires_grad=True), 1.0, 1.0) for index in range(count)]


def gradients(step: int) -> torch.Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(step))


ORACLES: list[tuple[str, Any, dict[str, Any]]] = [
    ("momentum: 0.9 weight_decay: 0.01", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    ('type: "Nesterov" momentum: 0.9', torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ('type: "AdaGrad" delta: 1e-3', torch.optim.Adagrad, {"lr": 0.05, "eps": 1e-3}),
    ('type: "RMSProp" rms_decay: 0.9 delta: 1e-3', torch.optim.RMSprop, {"lr": 0.05, "alpha": 0.9, "eps": 1e-3}),
    ('type: "AdaDelta" momentum: 0.9 delta: 1e-3', torch.optim.Adadelta, {"lr": 0.05, "rho": 0.9, "eps": 1e-3}),
]


@pytest.mark.parametrize("fields,oracle,options", ORACLES, ids=["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta"])
def test_the_updates_are_those_of_torch_at_a_constant_rate(fields: str, oracle: Any, options: dict[str, Any]) -> None:
    ours, theirs = weights(), [weight.tensor.detach().clone().requires_grad_() for weight in weights()]
    optimizer, other = Optimizer(solver(fields), ours), oracle(theirs, **options)
    for step in range(6):
        for weight, parameter in zip(ours, theirs, strict=True):
            weight.tensor.grad, parameter.grad = gradients(step), gradients(step)
        optimizer.apply(0.05, step)
        other.step()
    for weight, parameter in zip(ours, theirs, strict=True):
        torch.testing.assert_close(weight.tensor, parameter, rtol=1e-5, atol=1e-6)
        assert weight.tensor.grad is None


def test_adam_has_its_epsilon_outside_the_correction() -> None:
    (weight,) = weights(1)
    w = weight.tensor.detach().double().numpy()
    optimizer = Optimizer(solver('type: "Adam" momentum: 0.9 momentum2: 0.99 delta: 0.1'), [weight])
    m = v = np.zeros_like(w)
    for t in range(1, 5):
        g = gradients(t).double().numpy()
        weight.tensor.grad = gradients(t)
        optimizer.apply(0.05, t - 1)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        w = w - 0.05 * np.sqrt(1 - 0.99**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 0.1)
    np.testing.assert_allclose(weight.tensor.detach(), w, rtol=1e-5, atol=1e-6)


def test_the_rate_is_inside_the_history() -> None:
    (weight,) = weights(1)
    w, h = weight.tensor.detach().double().numpy(), np.zeros((5, 4))
    optimizer = Optimizer(solver("momentum: 0.5"), [weight])
    for step, rate in enumerate((1.0, 0.1, 0.01)):
        weight.tensor.grad = gradients(step)
        optimizer.apply(rate, step)
        h = 0.5 * h + rate * gradients(step).double().numpy()
        w = w - h
    np.testing.assert_allclose(weight.tensor.detach(), w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(optimizer.history[0], h, rtol=1e-5, atol=1e-6)


def test_gradients_are_clipped_divided_and_then_regularized() -> None:
    ours = weights()
    first = [weight.tensor.detach().clone() for weight in ours]
    fields = 'clip_gradients: 0.5 iter_size: 4 weight_decay: 0.3 regularization_type: "L1"'
    for weight in ours:
        weight.tensor.grad = gradients(1)
    theirs = [weight.tensor.detach().clone() for weight in ours]
    for parameter in theirs:
        parameter.grad = gradients(1)
    torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    Optimizer(solver(fields), ours).apply(0.1, 0)
    for weight, before, parameter in zip(ours, first, theirs, strict=True):
        assert parameter.grad is not None
        wanted = before - 0.1 * (parameter.grad / 4 + 0.3 * before.sign())
        torch.testing.assert_close(weight.tensor.detach(), wanted, rtol=1e-5, atol=1e-6)


def test_multipliers_frozen_weights_and_weights_without_gradient() -> None:
    tensors = [torch.ones(3, requires_grad=True) for _ in range(3)]
    ours = [
        Weight("a", 0, tensors[0], 2.0, 3.0),
        Weight("a", 1, tensors[1].detach(), 0.0, 1.0),
        Weight("b", 0, tensors[2], 1.0, 1.0),
    ]
    optimizer = Optimizer(solver("weight_decay: 0.1 momentum: 0.9"), ours)
    tensors[0].grad = torch.ones(3)
    optimizer.apply(0.5, 0)
    assert tensors[0].tolist() == pytest.approx([1 - 0.5 * 2 * (1 + 0.3)] * 3)
    assert tensors[1].tolist() == [1, 1, 1]
    assert tensors[2].tolist() == pytest.approx([1 - 0.5 * 0.1] * 3)
    assert len(optimizer.history) == 3
