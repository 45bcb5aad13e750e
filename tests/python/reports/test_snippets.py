"""What the report offers to paste runs, and gives the policy's rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrpolicy.policies import POLICIES, Policy
from lrpolicy.records import TrialSpec
from lrpolicy.reports.snippets import SNIPPETS, caffe, jax, keras, pytorch, remark, snippets
from lrpolicy.solver import Solver
from lrpolicy.stateful import AdaptivePolicy

MAX_ITER = 40
_VALUES: dict[str, Any] = {
    "base_lr": float(np.float32(0.01)),
    "max_lr": float(np.float32(0.1)),
    "gamma": float(np.float32(0.9)),
    "power": 0.75,
    "stepsize": 7,
    "max_iter": MAX_ITER,
    "stepvalue": (10, 30),
}
EVERY = [Policy(name, **{field: _VALUES[field] for field in info.parameters}) for name, info in POLICIES.items()]


def spec(policy: Policy, **changes: Any) -> TrialSpec:
    settings = {"seed": 1, "max_iter": MAX_ITER, "batch_size": 64, "test_interval": 10, "optimizer": "SGD"}
    settings |= {"momentum": float(np.float32(0.9)), "weight_decay": float(np.float32(0.0005))}
    return TrialSpec(policy.to_dict(), **(settings | changes))


def executed(source: str, **given: Any) -> dict[str, Any]:
    """The names that a snippet leaves behind; it must run as it is, with what its reader has."""
    names = {"__name__": "pasted", **given}
    exec(compile(source, "pasted.py", "exec"), names)
    return names


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: policy.name)
def test_caffe_reads_the_same_policy_back(policy: Policy) -> None:
    solver = Solver.parse('net: "net.prototxt"\n' + caffe(policy, spec(policy)))
    assert solver.policy == policy
    message = solver.message
    assert (message.max_iter, message.type, message.momentum) == (MAX_ITER, "SGD", np.float32(0.9))
    assert message.weight_decay == np.float32(0.0005)


def test_caffe_is_told_which_policies_need_our_patch() -> None:
    needing = {policy.name for policy in EVERY if "patched" in caffe(policy, spec(policy))}
    assert needing == {"tri", "tri2", "triexp", "sin", "sin2", "sinexp", "cos"}


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: policy.name)
def test_pytorch_gets_every_rate(policy: Policy) -> None:
    torch = pytest.importorskip("torch")
    names = executed(pytorch(policy, spec(policy)), model=torch.nn.Linear(2, 1))
    optimizer, scheduler = names["optimizer"], names["scheduler"]
    assert (optimizer.defaults["momentum"], optimizer.defaults["weight_decay"]) == (0.9, 0.0005)
    rates = []
    for _ in range(MAX_ITER):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == policy.rates(range(MAX_ITER)).tolist()
    scheduler.load_state_dict(scheduler.state_dict())  # a checkpoint can hold it


@pytest.mark.parametrize("policy", EVERY[-3:], ids=lambda policy: policy.name)
def test_jax_gets_every_rate_even_when_it_is_traced(policy: Policy) -> None:
    jax_itself = pytest.importorskip("jax")
    pytest.importorskip("optax")
    names = executed(jax(policy, spec(policy)))
    traced = jax_itself.jit(names["schedule"])
    expected = policy.rates(range(MAX_ITER)).astype(np.float32)
    assert [float(traced(t)) for t in range(MAX_ITER)] == expected.tolist()
    assert float(traced(10 * MAX_ITER)) == expected[-1]
    parameters = jax_itself.numpy.ones(3)
    updates, _ = names["optimizer"].update(parameters, names["optimizer"].init(parameters), parameters)
    assert np.asarray(updates) == pytest.approx(-expected[0] * 1.0005)


@pytest.mark.parametrize("policy", EVERY[-3:], ids=lambda policy: policy.name)
def test_keras_gets_every_rate_and_can_save_the_schedule(policy: Policy) -> None:
    itself = pytest.importorskip("keras")
    names = executed(keras(policy, spec(policy)))
    expected = policy.rates(range(MAX_ITER)).astype(np.float32)
    assert [float(names["schedule"](t)) for t in range(MAX_ITER)] == expected.tolist()
    saved = itself.optimizers.schedules.serialize(names["schedule"])
    assert float(itself.optimizers.schedules.deserialize(saved)(10 * MAX_ITER)) == expected[-1]
    assert float(names["optimizer"].learning_rate) == expected[0]


@pytest.mark.parametrize("name", SNIPPETS)
def test_settings_that_were_zero_are_left_out(name: str) -> None:
    written = SNIPPETS[name](EVERY[0], spec(EVERY[0], momentum=0.0, weight_decay=0.0))
    assert "momentum" not in written
    assert "decay" not in written


def test_a_remark_says_where_other_frameworks_differ() -> None:
    assert "inside the momentum history" in remark(spec(EVERY[0]))
    assert remark(spec(EVERY[0], momentum=0.0)) == ""
    assert remark(spec(EVERY[0], optimizer="Adam", momentum=0.0)).startswith("It was measured with Caffe's Adam")


ADAPTIVE = [
    AdaptivePolicy("seq3", base_lr=0.5, strategy="by_oscillate"),
    AdaptivePolicy("plateau", base_lr=0.25, gamma=0.5, plateau_winsize=[2, 3], min_lr=0.03125),
    AdaptivePolicy("aslr", base_lr=0.1, seed=7),
    AdaptivePolicy("tlr", base_lr=0.25, source="gradient", per_tensor=True, epoch=3),
]


@pytest.mark.parametrize("policy", ADAPTIVE, ids=lambda policy: policy.name)
def test_pytorch_gets_the_schedule_of_an_adaptive_policy(policy: AdaptivePolicy) -> None:
    torch = pytest.importorskip("torch")
    settings = TrialSpec(policy.to_dict(), 1, 40, 64, 10, "SGD", 0.5, 0.0)
    text = snippets(policy, settings)["PyTorch"]
    model = torch.nn.Linear(2, 1)
    names = executed(text, model=model, loader=[1, 2, 3])
    scheduler, optimizer = names["scheduler"], names["optimizer"]
    made = scheduler.schedules[0] if policy.name in ("seq3", "plateau") else scheduler.schedule
    wanted = policy.schedule(3, made.lr_mult if policy.name == "tlr" else (1.0,))
    assert made == wanted
    model(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    scheduler.step(1.0) if policy.name != "tlr" else scheduler.step()
    assert all(rate > 0 for rate in scheduler.get_last_lr())


def test_pytorch_cannot_show_naive_its_second_gradient() -> None:
    naive = AdaptivePolicy("tlr", base_lr=0.25, variant="naive", source="gradient", eta=0.1)
    assert list(snippets(naive, TrialSpec(naive.to_dict(), 1, 40, 64, 10, "SGD", 0.5, 0.0))) == ["Caffe"]
