"""FeedbackLR and ASLR: what a loss does to rates, against PyTorch's schedulers, and wrong input."""

from __future__ import annotations

import copy
import io
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as theirs
from torch_support import loss_of, parameter, sgd, small_net

from lrpolicy import Policy
from lrpolicy.compositions import SwitchOnPlateau
from lrpolicy.errors import InputError
from lrpolicy.integrations.torch import ASLR, FeedbackLR
from lrpolicy.stateful import AdaptivePolicy, Aslr, DecaySequence, Plateau

SEQ3 = DecaySequence("seq3", "by_epoch", base_lr=0.5)


def losses(count: int, seed: int = 2) -> list[float]:
    random = np.random.default_rng(seed)
    return (2 * 0.97 ** np.arange(count) + 0.1 * random.standard_normal(count)).tolist()


def rate_of(optimizer: torch.optim.Optimizer, group: int = 0) -> float:
    return float(optimizer.param_groups[group]["lr"])


@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize("tensor", [False, True])
def test_plateau_is_reduce_lr_on_plateau_without_a_threshold(patience: int, tensor: bool) -> None:
    ours, other = (sgd(lr=torch.tensor(0.5, dtype=torch.float64) if tensor else 0.5) for _ in range(2))
    scheduler = FeedbackLR(ours, Plateau(0.5, 0.7, [patience] * 100, min_lr=0.001))
    expected = theirs.ReduceLROnPlateau(other, factor=0.7, patience=patience - 1, threshold=0, eps=0, min_lr=0.001)
    for loss in losses(150):
        scheduler.step(torch.tensor(loss, dtype=torch.float64))
        expected.step(loss)
        assert rate_of(ours) == pytest.approx(rate_of(other), rel=1e-12)
    assert rate_of(ours) < 0.05


@pytest.mark.parametrize(
    ("sequence", "factor"),
    [
        ("seq1", lambda n: 1 / (n + 1)),
        ("seq2", lambda n: 1 / math.sqrt(n + 1)),
        ("seq3", lambda n: 0.9**n),
        ("seq4", lambda n: 1.0 if n == 0 else (1 - ((n - 1) % 10) / 10) / ((n - 1) // 10 + 1)),
    ],
)
def test_sequences_by_epoch_are_lambda_lr(sequence: str, factor: Any) -> None:
    ours, other = sgd(), sgd(lr=0.5)
    scheduler = FeedbackLR(ours, DecaySequence(sequence, "by_epoch", base_lr=0.5))
    expected = theirs.LambdaLR(other, factor)
    for loss in losses(60):
        assert rate_of(ours) == pytest.approx(rate_of(other), rel=1e-12)
        other.step()
        expected.step()
        scheduler.step(loss)


@pytest.mark.parametrize("strategy", ["by_epoch", "by_cutoff", "by_oscillate"])
@pytest.mark.parametrize("cut", [0, 1, 20])
def test_feedback_resumes_to_the_bit_from_a_file(strategy: str, cut: int) -> None:
    schedules = [DecaySequence("seq4", strategy, base_lr=0.5), Plateau(0.1, 0.5, [2, 3, 4])]
    optimizer, other = sgd(2), sgd(2)
    scheduler, again = (FeedbackLR(each, schedules) for each in (optimizer, other))
    for loss in losses(cut):
        scheduler.step(loss)
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    for twin in (again, copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert twin.state_dict() == scheduler.state_dict()
    for loss in losses(60)[cut:]:
        scheduler.step(loss)
        again.step(metrics=loss)
        assert again.get_last_lr() == scheduler.get_last_lr() == [rate_of(other, 0), rate_of(other, 1)]


PLATEAU_TEXT = "plateau:base_lr=0.1,gamma=0.5,plateau_winsize=2,plateau_winsize=3"


@pytest.mark.parametrize(
    ("given", "parameters", "schedule"),
    [
        ("seq3:base_lr=0.1,strategy=by_oscillate", {}, DecaySequence("seq3", "by_oscillate", 0.1)),
        ("seq2", {"base_lr": 0.1}, DecaySequence("seq2", "by_epoch", 0.1)),
        (PLATEAU_TEXT, {}, Plateau(0.1, 0.5, [2, 3])),
        ({"lr_policy": "seq4", "base_lr": 0.1}, {}, DecaySequence("seq4", "by_epoch", 0.1)),
        (AdaptivePolicy("seq1", base_lr=0.1), {}, DecaySequence("seq1", "by_epoch", 0.1)),
    ],
)
def test_a_schedule_may_be_named_as_everywhere(given: Any, parameters: dict[str, Any], schedule: Any) -> None:
    assert FeedbackLR(sgd(), given, **parameters).schedules == [schedule]
    if not parameters:
        assert FeedbackLR(sgd(2), [given, SEQ3]).schedules == [schedule, SEQ3]


def test_a_loss_that_is_not_finite_is_no_improvement() -> None:
    optimizer = sgd()
    scheduler = FeedbackLR(optimizer, Plateau(1.0, 0.1, [2, 2]))
    for loss in (1.0, math.nan, math.inf):
        scheduler.step(loss)
    assert rate_of(optimizer) == pytest.approx(0.1)


def drawn(options: dict[str, Any], seed: int = 5, steps: int = 12) -> tuple[list[list[float]], ASLR]:
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=options.pop("lr", 0.02))
    scheduler = ASLR(optimizer, seed, **options)
    rates = []
    for t in range(steps):
        optimizer.zero_grad()
        loss_of(net, t).backward()
        before = [p.detach().clone() for p in net.parameters()]
        optimizer.step()
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
        for p, was, group in zip(net.parameters(), before, optimizer.param_groups * 4, strict=False):
            torch.testing.assert_close(was - p, p.grad * group["lr"], rtol=1e-3, atol=1e-7)
    return rates, scheduler


def test_every_update_and_tensor_has_the_draw_of_the_schedule() -> None:
    rates, scheduler = drawn({})
    schedule = Aslr(0.02, 5)
    assert rates == [schedule.rates(schedule.init(), t, 4).tolist() for t in range(12)]
    assert len(set(np.ravel(rates))) == 48
    assert 0.015 < min(np.ravel(rates)) < max(np.ravel(rates)) < 0.025
    assert scheduler.iteration == 12


def test_draws_that_were_made_ahead_are_those_of_each_update_and_centre() -> None:
    optimizer = sgd(2, lr=0.02)
    scheduler, schedule = ASLR(optimizer, 5), Aslr(0.02, 5)
    state = schedule.init()
    for t in range(200):
        optimizer.step()
        assert [group["lr"] for group in optimizer.param_groups] == schedule.rates(state, t, 2).tolist()
        if t in (90, 150):
            scheduler.step(float(t))
            state = schedule.update(state, float(t))
    assert schedule.center(state) != 0.02


def test_one_draw_for_all_groups() -> None:
    rates, _ = drawn({"per_tensor": False})
    assert rates == [[Aslr(0.02, 5).rate(Aslr(0.02, 5).init(), t)] for t in range(12)]


def test_a_refused_aslr_leaves_the_groups_whole() -> None:
    optimizer = torch.optim.SGD(small_net().parameters(), lr=0.1)
    with pytest.raises(InputError, match="seed"):
        ASLR(optimizer, seed=-1)
    assert len(optimizer.param_groups) == 1


def test_the_cost_moves_the_centre() -> None:
    optimizer = sgd(lr=0.1)
    scheduler = ASLR(optimizer, 1)
    centers = []
    for cost in (2.0, 1.5, 1.6, 1.7, 1.8, math.nan, 1.2, 1.3):
        scheduler.step(torch.tensor(cost))
        centers.append(scheduler.center)
    assert centers == [0.1, 0.1, 0.2, 0.1, 0.09, 0.1, 0.1, 0.2]
    assert scheduler.last_epoch == 8


def test_groups_keep_their_ratio_and_zero_stays_zero() -> None:
    groups = [{"params": [parameter(2), parameter(3)], "lr": lr} for lr in (0.02, 0.01, 0.0)]
    optimizer = torch.optim.Adam(groups)
    ASLR(optimizer, 3)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1] * 6
    optimizer.step()
    draws = Aslr(0.02, 3).rates(Aslr(0.02, 3).init(), 0, 6) * [1, 1, 0.5, 0.5, 0, 0]
    assert [group["lr"] for group in optimizer.param_groups] == draws.tolist()


def test_a_starting_rate_of_more_digits_is_rounded_with_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"base_lr 0\.25 is read as 0\.3"):
        assert ASLR(sgd(lr=0.25)).center == 0.3


@pytest.mark.parametrize("fused", [False, True])
def test_an_update_left_out_draws_nothing(fused: bool) -> None:
    def run(overflows: tuple[int, ...]) -> list[float]:
        net = small_net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01, fused=fused)
        scheduler = ASLR(optimizer, 1)
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=10**6)
        t, batches = 0, 0
        while t < 9:
            batches += 1
            bad = batches in overflows
            optimizer.zero_grad()
            scaler.scale(loss_of(net, t) * (math.inf if bad else 1)).backward()
            scaler.step(optimizer)
            scaler.update(64.0)
            t += not bad
        assert scheduler.iteration == 9
        return [p.sum().item() for p in net.parameters()]

    assert run((1, 4, 5)) == run(())


def test_aslr_resumes_to_the_bit_and_copies_keep_drawing() -> None:
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    scheduler = ASLR(optimizer, 7)

    def go(model: nn.Module, drawer: ASLR, ts: range) -> list[list[float]]:
        rates = []
        for t in ts:
            drawer.optimizer.zero_grad()
            loss_of(model, t).backward()
            drawer.optimizer.step()
            rates.append([group["lr"] for group in drawer.optimizer.param_groups])
            if t % 4 == 3:
                drawer.step(3.0 - (t % 8))
        return rates

    go(net, scheduler, range(10))
    other_net = small_net(9)
    other = torch.optim.SGD(other_net.parameters(), lr=0.02, momentum=0.9)
    again = ASLR(other, 7)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in (net, optimizer, scheduler)], file)
    file.seek(0)
    for part, saved in zip((other_net, other, again), torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(saved)
    twin_net, twin = copy.deepcopy((net, scheduler))
    rest = go(net, scheduler, range(10, 30))
    assert go(other_net, again, range(10, 30)) == rest
    assert go(twin_net, twin, range(10, 30)) == rest
    assert all(map(torch.equal, net.parameters(), other_net.parameters()))


def test_capturable_draws_when_it_is_told_to_into_the_same_tensors() -> None:
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=torch.tensor(0.02))
    scheduler = ASLR(optimizer, 5, capturable=True)
    held = [group["lr"] for group in optimizer.param_groups]
    assert len({id(rate) for rate in held}) == 4
    optimizer.step()
    assert [rate.item() for rate in held] == [pytest.approx(0.02)] * 4
    scheduler.draw()
    assert [rate.item() for rate in held] == Aslr(0.02, 5).rates(Aslr(0.02, 5).init(), 0, 4).astype(np.float32).tolist()
    assert all(group["lr"] is rate for group, rate in zip(optimizer.param_groups, held, strict=True))


def text_for_a_rate() -> None:
    optimizer = sgd()
    optimizer.param_groups[0]["lr"] = "0.1"
    ASLR(optimizer)


def grown() -> None:
    optimizer = sgd()
    ASLR(optimizer)
    optimizer.add_param_group({"params": [parameter()]})
    optimizer.step()


def swapped() -> None:
    optimizer = sgd(2)
    ASLR(optimizer)
    optimizer.step()
    optimizer.param_groups[1]["params"][0] = parameter()
    for _ in range(64):
        optimizer.step()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FeedbackLR(sgd(), "seq3"), 'policy "seq3" needs base_lr'),
        (lambda: FeedbackLR(sgd(), "tlr:base_lr=1"), "follows seq1 to seq4, plateau or .*; there are TLR, ASLR and"),
        (lambda: FeedbackLR(sgd(), "fixed", base_lr=1), "follows seq1 to seq4, plateau or a SwitchOnPlateau, got Poli"),
        (lambda: FeedbackLR(sgd(), SEQ3, base_lr=1), "parameters go with a policy's name"),
        (lambda: FeedbackLR(sgd(3), [SEQ3, SEQ3]), "the optimizer has 3, got 2"),
        (lambda: FeedbackLR(sgd(), []), "the optimizer has 1, got 0"),
        (lambda: FeedbackLR(small_net(), SEQ3), "got a Sequential"),
        (lambda: FeedbackLR(sgd(), SEQ3).step(), r"observes a loss, got no loss; call step\(loss\)"),
        (lambda: FeedbackLR(sgd(), SEQ3).step(1.0, 3), "got epoch 3"),
        (lambda: FeedbackLR(sgd(), SEQ3).step("1.0"), "the loss must be a number, got '1.0'"),
        (lambda: FeedbackLR(sgd(), SEQ3).step(torch.ones(2)), "the loss must be a number, got tensor"),
        (lambda: ASLR(sgd(lr=0.1)).step("low"), "the cost must be a number, got 'low'"),
        (text_for_a_rate, "lr of parameter group 0 must be a number, got '0.1'"),
        (lambda: ASLR(sgd(lr=0.1)).step(), "observes the validation cost, got no cost"),
        (lambda: ASLR(sgd(lr=0.0)), "lr must be above 0"),
        (lambda: ASLR(sgd(lr=math.inf)), "must be a finite number"),
        (lambda: ASLR(sgd(lr=0.1), seed=-1), "seed must be a whole number from 0"),
        (lambda: ASLR(sgd(lr=0.1), capturable=True), "capturable needs rates that are tensors"),
        (grown, "make ASLR after add_param_group"),
        (swapped, "parameter 0 of group 1 is another tensor"),
    ],
)
def test_wrong_input_is_one_clear_line(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [lambda o: FeedbackLR(o, SEQ3), lambda o: ASLR(o, 3)], ids=["feedback", "aslr"])
def test_a_wrong_state_is_refused_and_changes_nothing(make: Any) -> None:
    scheduler = make(sgd(lr=0.5))
    before = scheduler.state_dict()
    changes = {"scheduler": "TLR", "version": 2, "rates": [-0.1], "last_epoch": -1}
    changes |= {name: [] for name in ("states",) if name in before}
    changes |= {name: ["another"] for name in ("schedule", "schedules") if name in before}
    for key, value in changes.items():
        with pytest.raises(InputError):
            scheduler.load_state_dict({**before, key: value})
    with pytest.raises(InputError, match='"rates" of this state must be a list of 1, got 2'):
        scheduler.load_state_dict({**before, "rates": [0.1, 0.2]})
    for missing in before:
        with pytest.raises(InputError, match=missing):
            scheduler.load_state_dict({key: value for key, value in before.items() if key != missing})
    assert scheduler.state_dict() == before


def test_a_switch_counts_the_next_schedule_from_its_first_update() -> None:
    first, second = Policy("fixed", base_lr=0.1), Policy("exp", base_lr=0.05, gamma=0.5)
    optimizer = sgd()
    scheduler = FeedbackLR(optimizer, SwitchOnPlateau([first, second], [3]))
    rates = []
    for loss in [3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]:
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step(loss)
    assert rates == [0.1] * 6 + [0.05, 0.025]
    other = FeedbackLR(sgd(), SwitchOnPlateau([first, second], [3]))
    other.load_state_dict(scheduler.state_dict())
    assert other.states == scheduler.states
    assert other.get_last_lr() == [0.0125]
