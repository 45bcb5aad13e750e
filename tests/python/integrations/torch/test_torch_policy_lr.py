"""PolicyLR as a citizen of torch.optim: every policy, resuming, groups, tensors, compositions, copies, wrong input."""

from __future__ import annotations

import copy
import gc
import io
import math
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.optim import lr_scheduler
from torch_support import EVERY, float32_rates, parameter, rates_seen, sgd, small_net

from lrpolicy.compositions import warm_up
from lrpolicy.errors import InputError
from lrpolicy.integrations.torch import PolicyLR
from lrpolicy.integrations.torch.groups import fill_together
from lrpolicy.policies import Policy
from lrpolicy.stateful import AdaptivePolicy
from lrpolicy.sweeps import Sweep

TRI2 = Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=7)


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: policy.name)
def test_every_policy_reaches_the_optimizer_to_the_bit(policy: Policy) -> None:
    optimizer = sgd()
    scheduler = PolicyLR(optimizer, policy)
    assert isinstance(scheduler, lr_scheduler.LRScheduler)
    assert rates_seen(optimizer, scheduler, 80) == policy.rates(range(80)).tolist()
    assert scheduler.last_epoch == 80
    assert scheduler.get_last_lr() == scheduler.get_lr() == [policy.rate(80)]
    assert scheduler._step_count == 81


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: policy.name)
def test_tensor_rates_are_written_in_place_and_rounded_once(policy: Policy) -> None:
    for dtype in (torch.float32, torch.float64):
        rate = torch.tensor(1.0, dtype=dtype)
        optimizer = sgd(lr=rate)
        seen = rates_seen(optimizer, PolicyLR(optimizer, policy), 40)
        assert optimizer.param_groups[0]["lr"] is rate
        assert seen == torch.from_numpy(policy.rates(range(40))).to(dtype).tolist()


@pytest.mark.parametrize(
    "given_",
    [
        ("tri2", {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 7}),
        ("triangular2", {"base_lr": 0.01, "max_lr": 0.06, "stepsize": 7}),
        (TRI2, {}),
        (TRI2.to_dict(), {}),
        (TRI2.to_text(), {}),
        ([TRI2], {}),
    ],
    ids=["name", "alias", "policy", "dict", "text", "list"],
)
def test_a_policy_can_be_given_in_many_ways(given_: tuple[Any, dict[str, Any]]) -> None:
    policy, parameters = given_
    optimizer = sgd()
    assert rates_seen(optimizer, PolicyLR(optimizer, policy, **parameters), 20) == TRI2.rates(range(20)).tolist()


def test_any_schedule_will_do() -> None:
    sweep = Sweep(0.001, 1.0, 50)
    optimizer = sgd()
    scheduler = PolicyLR(optimizer, sweep)
    assert rates_seen(optimizer, scheduler, 60) == [sweep.rate(t) for t in range(60)]
    again = PolicyLR(sgd(), sweep)
    again.load_state_dict(scheduler.state_dict())
    assert again.get_last_lr() == scheduler.get_last_lr()


@pytest.mark.parametrize("tensor", [False, True])
def test_each_group_can_have_a_policy_of_its_own(tensor: bool) -> None:
    optimizer = sgd(3, lr=torch.tensor(1.0, dtype=torch.float64) if tensor else 1.0)
    policies = [EVERY[3], EVERY[8], TRI2]
    scheduler = PolicyLR(optimizer, policies)
    for t in range(30):
        assert [float(group["lr"]) for group in optimizer.param_groups] == [policy.rate(t) for policy in policies]
        assert [type(rate) for rate in scheduler.get_last_lr()] == [Tensor if tensor else float] * 3
        optimizer.step()
        scheduler.step()


def test_a_shared_policy_drives_all_groups_and_those_that_come_later() -> None:
    optimizer = sgd(5, lr=torch.tensor(0.5))
    scheduler = PolicyLR(optimizer, TRI2)
    assert len({id(group["lr"]) for group in optimizer.param_groups}) == 1
    optimizer.step()
    scheduler.step()
    optimizer.add_param_group({"params": [parameter()], "lr": 9.0})
    optimizer.step()
    scheduler.step()
    rates = [float(rate) for rate in scheduler.get_last_lr()]
    assert rates == [float(np.float32(TRI2.rate(2)))] * 5 + [TRI2.rate(2)]
    assert [float(group["lr"]) for group in optimizer.param_groups] == rates


def test_a_rate_that_becomes_a_tensor_is_written_in_place_from_then_on() -> None:
    optimizer = sgd()
    scheduler = PolicyLR(optimizer, TRI2)
    rates_seen(optimizer, scheduler, 5)
    rate = optimizer.param_groups[0]["lr"] = torch.tensor(0.0, dtype=torch.float64)
    assert rates_seen(optimizer, scheduler, 5)[1:] == TRI2.rates(range(6, 10)).tolist()
    assert optimizer.param_groups[0]["lr"] is rate


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad])
def test_any_optimizer_trains_as_with_its_rate_set_by_hand(make: Any) -> None:
    def trained(by_hand: bool) -> list[Tensor]:
        net = small_net()
        optimizer = make(net.parameters(), lr=0.5)
        scheduler = None if by_hand else PolicyLR(optimizer, TRI2)
        for t in range(12):
            optimizer.param_groups[0]["lr"] = TRI2.rate(t) if by_hand else optimizer.param_groups[0]["lr"]
            optimizer.zero_grad()
            net(torch.ones(4, 6)).square().mean().backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
        return list(net.parameters())

    assert all(map(torch.equal, trained(True), trained(False)))


@given(st.integers(0, 60), st.integers(1, 40), st.sampled_from(EVERY), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_saved_state_goes_on_to_the_bit_whoever_is_loaded_first(
    cut: int, more: int, policy: Policy, tensor: bool, optimizer_first: bool
) -> None:
    def fresh() -> tuple[torch.optim.SGD, PolicyLR]:
        optimizer = sgd(2, lr=torch.tensor(0.3) if tensor else 0.3)
        return optimizer, PolicyLR(optimizer, policy)

    optimizer, scheduler = fresh()
    rates_seen(optimizer, scheduler, cut)
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other, again = fresh()
    loads = [(again, "scheduler"), (other, "optimizer")]
    for target, name in reversed(loads) if optimizer_first else loads:
        target.load_state_dict(saved[name])
    assert again.state_dict() == scheduler.state_dict()
    assert rates_seen(other, again, more) == rates_seen(optimizer, scheduler, more)


def test_the_optimizer_gets_its_rates_back_without_a_state_of_its_own() -> None:
    """pytorch/pytorch issues 65342 and 29697: a scheduler made anew sets the first rate, and loading left it there."""
    optimizer = sgd()
    scheduler = PolicyLR(optimizer, TRI2)
    rates_seen(optimizer, scheduler, 11)
    other = sgd()
    PolicyLR(other, TRI2).load_state_dict(scheduler.state_dict())
    assert other.param_groups[0]["lr"] == TRI2.rate(11)


def test_last_epoch_starts_in_the_middle_as_in_pytorch() -> None:
    optimizer = sgd()
    with pytest.raises(KeyError, match="initial_lr"):
        PolicyLR(optimizer, TRI2, last_epoch=9)
    optimizer.param_groups[0]["initial_lr"] = 0.1
    assert rates_seen(optimizer, PolicyLR(optimizer, TRI2, last_epoch=9), 10) == TRI2.rates(range(10, 20)).tolist()


def test_initial_lr_stays_the_optimizers_own() -> None:
    optimizer = sgd(lr=0.25)
    assert PolicyLR(optimizer, TRI2).base_lrs == [0.25]
    assert optimizer.param_groups[0]["initial_lr"] == 0.25


def test_sequential_lr_restarts_a_policy_at_its_milestone_and_resumes() -> None:
    def fresh() -> tuple[torch.optim.SGD, lr_scheduler.SequentialLR]:
        optimizer = sgd(lr=0.05)
        parts = [
            lr_scheduler.LinearLR(optimizer, start_factor=0.2, total_iters=4),
            PolicyLR(optimizer, TRI2),
            PolicyLR(optimizer, "exp", base_lr=0.02, gamma=0.9),
        ]
        return optimizer, lr_scheduler.SequentialLR(optimizer, parts, milestones=[5, 20])

    optimizer, scheduler = fresh()
    decay = Policy("exp", base_lr=0.02, gamma=0.9)
    seen = rates_seen(optimizer, scheduler, 12)
    assert seen[:5] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05], rel=1e-15)
    other, again = fresh()
    again.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    for one, its in ((optimizer, scheduler), (other, again)):
        rest = rates_seen(one, its, 18)
        assert seen[5:] + rest[:8] == TRI2.rates(range(15)).tolist()
        assert rest[8:] == decay.rates(range(10)).tolist()


def test_chained_scheduler_multiplies_what_the_policy_has_set() -> None:
    optimizer = sgd(lr=1.0)
    halved = lr_scheduler.MultiplicativeLR(optimizer, lambda _: 0.5)
    chained = lr_scheduler.ChainedScheduler([PolicyLR(optimizer, TRI2), halved], optimizer)
    assert rates_seen(optimizer, chained, 20)[1:] == (TRI2.rates(range(1, 20)) * 0.5).tolist()


def test_copies_and_pickles_go_their_own_way() -> None:
    optimizer = sgd()
    scheduler = PolicyLR(optimizer, TRI2)
    rates_seen(optimizer, scheduler, 6)
    for twin in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert twin.optimizer is not optimizer
        assert rates_seen(twin.optimizer, twin, 9) == TRI2.rates(range(6, 15)).tolist()
    assert scheduler.last_epoch == 6


def test_nothing_keeps_a_scheduler_alive() -> None:
    """pytorch/pytorch issues 25605 and 85410: reference cycles held GPU memory until the collector came by."""
    optimizer = sgd()
    scheduler = PolicyLR(optimizer, TRI2)
    rates_seen(optimizer, scheduler, 4)
    gone = weakref.ref(scheduler)
    gc.disable()
    try:
        del scheduler
        assert gone() is None
    finally:
        gc.enable()


def test_wrong_order_is_warned_of_as_in_pytorch() -> None:
    optimizer = sgd()
    for make in (lambda: PolicyLR(optimizer, TRI2), lambda: lr_scheduler.ExponentialLR(optimizer, 0.9)):
        with pytest.warns(UserWarning, match="before `optimizer.step"):
            make().step()
    overridden = sgd()
    scheduler = PolicyLR(overridden, TRI2)
    overridden.step = lambda: None  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match="has been overridden"):
        scheduler.step()


def test_an_epoch_given_to_step_is_the_count() -> None:
    optimizer = sgd()
    scheduler = PolicyLR(optimizer, TRI2)
    rates_seen(optimizer, scheduler, 3)
    with pytest.warns(UserWarning, match="epoch parameter"):
        scheduler.step(11)
    assert optimizer.param_groups[0]["lr"] == TRI2.rate(11)
    for loss in (1.5, torch.tensor(0.37)):
        with pytest.raises(InputError, match=r"is a whole number; a policy observes no loss, got .*FeedbackLR or ASLR"):
            scheduler.step(loss)  # type: ignore[arg-type]
    assert scheduler.last_epoch == 11


def test_the_count_may_be_set() -> None:
    optimizer = sgd()
    scheduler = PolicyLR(optimizer, TRI2)
    rates_seen(optimizer, scheduler, 3)
    scheduler.last_epoch = 70
    assert rates_seen(optimizer, scheduler, 3)[1:] == TRI2.rates(range(71, 73)).tolist()


def test_a_subclass_can_override_step() -> None:
    class EverySecond(PolicyLR):
        calls = -1

        def step(self, epoch: int | None = None) -> None:
            self.calls += 1
            if self.calls % 2 == 0:
                super().step(epoch)

    optimizer = sgd()
    scheduler = EverySecond(optimizer, TRI2)
    assert rates_seen(optimizer, scheduler, 20) == np.repeat(TRI2.rates(range(10)), 2).tolist()


def test_tensors_of_one_device_are_filled_together_exactly() -> None:
    """What a CUDA device gets; it is the same arithmetic here."""
    values = [0.1, 1e-45, 3.0, 0.0, 1e300]
    tensors = [torch.tensor(math.inf), torch.tensor(math.nan), torch.ones(()), torch.ones(()), torch.ones(()).double()]
    fill_together(tensors, values)
    expected = [np.float32(0.1), np.float32(1e-45), 3.0, 0.0, 1e300]
    assert [tensor.item() for tensor in tensors] == expected


def test_what_the_hook_of_the_conformance_test_gives() -> None:
    ts = [0, 1, 7, 1000]
    assert float32_rates(TRI2, ts).tolist() == TRI2.rates(ts).astype(np.float32).tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PolicyLR(sgd(), "tri3"), "unknown; known"),
        (lambda: PolicyLR(sgd(), "tri2", base_lr=0.1), "needs max_lr"),
        (lambda: PolicyLR(sgd(), "fixed", base_lr=-1), "base_lr"),
        (lambda: PolicyLR(sgd(), TRI2, base_lr=0.1), "go with a policy's name"),
        (lambda: PolicyLR(sgd(), 0.1), "a policy is a Policy"),
        (lambda: PolicyLR(sgd(), "tlr"), '"tlr" observes the training: .*; use TLR, ASLR or FeedbackLR'),
        (lambda: PolicyLR(sgd(), ["seq3:base_lr=1"]), '"seq3" observes .*; use TLR, ASLR or FeedbackLR'),
        (lambda: PolicyLR(sgd(), {"lr_policy": "aslr"}), '"aslr" observes .*; use TLR, ASLR or FeedbackLR'),
        (lambda: PolicyLR(sgd(), AdaptivePolicy("tlr", base_lr=1)), '"tlr" observes .*; use TLR, ASLR or FeedbackLR'),
        (lambda: PolicyLR(sgd(), lambda t: 0.1), "a policy is a Policy"),
        (lambda: PolicyLR(sgd(), warm_up(5)), "a policy is a Policy, .*; join it to a policy with >>"),
        (lambda: PolicyLR(sgd(), []), "got none"),
        (lambda: PolicyLR(sgd(3), [TRI2, TRI2]), "the optimizer has 3, got 2"),
        (lambda: PolicyLR(small_net(), TRI2), "torch.optim.Optimizer, got a Sequential"),
        (lambda: PolicyLR(sgd(), TRI2, last_epoch=-2), "last_epoch must be a whole number from -1"),
    ],
)
def test_wrong_input_is_one_clear_line(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_group_that_comes_later_needs_a_policy_where_each_has_its_own() -> None:
    optimizer = sgd(2)
    scheduler = PolicyLR(optimizer, [TRI2, TRI2])
    rates_seen(optimizer, scheduler, 3)
    optimizer.add_param_group({"params": [parameter()]})
    with pytest.raises(InputError, match="the optimizer has 3, got 2; give one for all"):
        scheduler.step()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policies": [EVERY[0].to_dict()]}, "the state of another policy"),
        ({"version": 7}, "no state of PolicyLR, version 1, got version 7"),
        ({"scheduler": "StepLR"}, "got scheduler StepLR"),
        ({"rates": [0.1, 0.1]}, '"rates" of this state must be a list of 1, got 2; give .*add_param_group'),
        ({"last_epoch": "3"}, "last_epoch must be a whole number"),
        ({"last_epoch": None}, "last_epoch must be a whole number"),
        ({"rates": 0.1}, "must be a list of 1, got 0.1"),
        ({"rates": ["x"]}, "a rate of this state must be a number"),
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(change: dict[str, Any], message: str) -> None:
    optimizer = sgd()
    scheduler = PolicyLR(optimizer, TRI2)
    rates_seen(optimizer, scheduler, 5)
    before = scheduler.state_dict()
    with pytest.raises(InputError, match=message):
        scheduler.load_state_dict({**before, "last_epoch": 9, **change})
    assert scheduler.state_dict() == before
    for missing in before:
        with pytest.raises(InputError, match=missing):
            scheduler.load_state_dict({key: value for key, value in before.items() if key != missing})


def test_the_state_of_a_pytorch_scheduler_is_refused() -> None:
    foreign = lr_scheduler.CosineAnnealingLR(sgd(), 10).state_dict()
    with pytest.raises(InputError, match="no state of PolicyLR"):
        PolicyLR(sgd(), TRI2).load_state_dict(foreign)
    with pytest.raises(InputError, match="is a mapping"):
        PolicyLR(sgd(), TRI2).load_state_dict([1])  # type: ignore[arg-type]
