"""Rates against schedules that others wrote, and the bugs of earlier implementations."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from lrpolicy import Policy

CYCLE = {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 50}
T = range(400)


def torch_rates(make: object, base_lr: float, count: int = len(T)) -> list[float]:
    """The rates a PyTorch scheduler gives, with one step of the optimizer between them."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base_lr)
    scheduler = make(torch.optim.lr_scheduler, optimizer)  # type: ignore[operator]
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(count):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


def cyclic(mode: str, gamma: float = 1.0) -> object:
    return lambda lr, o: lr.CyclicLR(
        o, base_lr=0.01, max_lr=0.06, step_size_up=50, mode=mode, gamma=gamma, cycle_momentum=False
    )


WITNESSES = [
    (Policy("fixed", base_lr=0.1), lambda lr, o: lr.ConstantLR(o, factor=1.0)),
    (Policy("step", base_lr=0.1, gamma=0.5, stepsize=30), lambda lr, o: lr.StepLR(o, 30, gamma=0.5)),
    (Policy("multistep", base_lr=0.1, gamma=0.3, stepvalue=(7, 99, 100)),
     lambda lr, o: lr.MultiStepLR(o, [7, 99, 100], gamma=0.3)),
    (Policy("exp", base_lr=0.1, gamma=0.99), lambda lr, o: lr.ExponentialLR(o, 0.99)),
    (Policy("inv", base_lr=0.1, gamma=0.01, power=0.75),
     lambda lr, o: lr.LambdaLR(o, lambda t: (1 + 0.01 * t) ** -0.75)),
    (Policy("poly", base_lr=0.1, power=1.7, max_iter=300), lambda lr, o: lr.PolynomialLR(o, 300, power=1.7)),
    (Policy("tri", **CYCLE), cyclic("triangular")),
    (Policy("tri2", **CYCLE), cyclic("triangular2")),
    (Policy("triexp", **CYCLE, gamma=0.99), cyclic("exp_range", gamma=0.99)),
    (Policy("cos", base_lr=0.0, max_lr=0.06, stepsize=50), lambda lr, o: lr.CosineAnnealingLR(o, T_max=25)),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "make"), WITNESSES, ids=lambda value: getattr(value, "name", ""))
def test_pytorchs_schedulers_agree(policy: Policy, make: object) -> None:
    start = policy.rate(0)
    np.testing.assert_allclose(policy.rates(T), torch_rates(make, start), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("stepsize", [7, 100, 5000])
def test_the_arcsin_form_of_tri_agrees(stepsize: int) -> None:
    t = np.arange(6 * stepsize)
    wave = 2 / np.pi * np.abs(np.arcsin(np.sin(np.pi * t / (2 * stepsize))))
    expected = 0.05 * wave + 0.01
    policy = Policy("tri", base_lr=0.06, max_lr=0.01, stepsize=stepsize)
    np.testing.assert_allclose(policy.rates(range(6 * stepsize)), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["sin", "sin2", "sinexp"])
def test_numpys_sine_agrees(name: str) -> None:
    t = np.arange(1000)
    factor = {"sin": 1.0, "sin2": 0.5 ** (t // 100), "sinexp": 0.99**t}[name]
    gamma = {"gamma": 0.99} if name == "sinexp" else {}
    expected = 0.05 * factor * np.abs(np.sin(np.pi * t / 100)) + 0.01
    np.testing.assert_allclose(Policy(name, **CYCLE, **gamma).rates(range(1000)), expected, rtol=1e-12)


def test_sigmoid_rises_and_is_half_at_its_stepsize() -> None:
    scipy = pytest.importorskip("scipy.special")
    policy = Policy("sigmoid", base_lr=0.1, gamma=0.05, stepsize=100)
    np.testing.assert_allclose(policy.rates(T), 0.1 * scipy.expit(0.05 * (np.arange(400) - 100)), rtol=1e-12)
    assert policy.rate(100) == 0.05


def test_the_ends_of_the_range_may_stand_in_either_order() -> None:
    for name in ("tri", "tri2", "sin", "sin2", "cos"):
        down = Policy(name, base_lr=0.06, max_lr=0.01, stepsize=50)
        assert down.rates(T).tolist() == Policy(name, **CYCLE).rates(T).tolist()


def test_two_multistep_policies_share_no_counter() -> None:
    first = Policy("multistep", base_lr=1.0, gamma=0.5, stepvalue=(2, 4))
    second = Policy("multistep", base_lr=1.0, gamma=0.5, stepvalue=(3, 5))
    rates = [(first.rate(t), second.rate(t)) for t in range(6)]
    assert rates == [(1, 1), (1, 1), (0.5, 1), (0.5, 0.5), (0.25, 0.5), (0.25, 0.25)]


def test_going_back_to_the_first_iteration_forgets_the_decay() -> None:
    policy = Policy("multistep", base_lr=1.0, gamma=0.5, stepvalue=(2,))
    assert (policy.rate(10), policy.rate(0)) == (0.5, 1.0)


def test_reading_rates_changes_nothing() -> None:
    policy = Policy("multistep", base_lr=1.0, gamma=0.5, stepvalue=(2,))
    before = policy.rate(1)
    policy.rates(range(100))
    assert policy.rate(1) == before


def test_poly_falls_and_stays_at_zero_past_its_end() -> None:
    rates = Policy("poly", base_lr=0.1, power=0.5, max_iter=100).rates(range(300))
    assert (np.diff(rates[:101]) < 0).all()
    assert (rates[100:] == 0).all()


def test_a_single_stepvalue_stays_a_list() -> None:
    for given in (5, [5], (5,), np.array([5])):
        policy = Policy("multistep", base_lr=1.0, gamma=0.5, stepvalue=given)
        assert policy.parameters["stepvalue"] == (5,)
        assert policy.to_dict()["stepvalue"] == [5]


def test_steps_fall_at_their_iteration_and_not_one_later() -> None:
    policy = Policy("step", base_lr=1.0, gamma=0.5, stepsize=100)
    assert [policy.rate(t) for t in (0, 99, 100, 101, 199, 200)] == [1, 1, 0.5, 0.5, 0.5, 0.25]


def test_the_papers_slip_in_section_v_b() -> None:
    """The paper computes a STEP floor with 0.1 though its gamma is 0.85."""
    policy = Policy("step", base_lr=0.001, gamma=0.85, stepsize=5000)
    assert math.isclose(policy.rate(60000), 0.001 * 0.85**12, rel_tol=1e-12)
