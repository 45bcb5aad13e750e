"""TLR in PyTorch: what it refuses, and how it says so."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch_support import parameter, sgd, small_net

from lrpolicy.errors import InputError
from lrpolicy.integrations.torch import TLR


def sparse() -> TLR:
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = torch.optim.SGD(table.named_parameters(), lr=0.1)
    scheduler = TLR(optimizer, 1, source="gradient")
    table(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    return scheduler


def grown(**options: Any) -> None:
    optimizer = sgd(2)
    TLR(optimizer, 1, **options)
    optimizer.add_param_group({"params": [parameter()]})
    optimizer.step()


def swapped() -> None:
    optimizer = sgd(2)
    TLR(optimizer, 1)
    optimizer.param_groups[1]["params"][0] = parameter()
    optimizer.step()


def swapped_within_a_window() -> None:
    optimizer = sgd(2)
    TLR(optimizer, 9)
    optimizer.step()
    optimizer.param_groups[1]["params"][0] = parameter()
    optimizer.step()
    optimizer.step()


def driven_by_another(window: int = 1) -> None:
    optimizer = sgd()
    TLR(optimizer, 3 * window)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step()


def reshaped(source: str) -> None:
    """Pruned behind the scheduler's back, in the middle of a window."""
    weight = torch.ones(4, requires_grad=True)
    optimizer = torch.optim.SGD([("w", weight)], lr=0.1)
    TLR(optimizer, 9, source=source)
    weight.grad = torch.ones(4)
    optimizer.step()
    with torch.no_grad():
        weight.set_(torch.ones(3))
    weight.grad = torch.ones(3)
    for _ in range(3):
        optimizer.step()


def rate_no_graph_reads(rate: Any) -> None:
    optimizer = sgd(lr=torch.tensor(0.1))
    scheduler = TLR(optimizer, 9, capturable=True)
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
    scheduler.step()


def driven_by_text() -> None:
    scheduler = TLR(sgd(), 9)
    scheduler.optimizer.param_groups[0]["lr"] = "0.5"
    scheduler.optimizer.step()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TLR(sgd(lr=0.0), 9), "lr must be above 0 in a parameter group"),
        (lambda: TLR(sgd(lr=math.nan), 9), "lr of parameter group 0 must be a finite number"),
        (lambda: TLR(sgd(), 0), "epoch_iterations must be a whole number from 1"),
        (lambda: TLR(sgd(), 2.5), "epoch_iterations must be a whole number"),
        (lambda: TLR(sgd(), 9, variant="efficent"), 'did you mean "efficient"'),
        (lambda: TLR(sgd(), 9, source="gradients"), 'did you mean "gradient"'),
        (lambda: TLR(sgd(), 9, variant="naive", eta=1.0), "needs a second gradient"),
        (lambda: TLR(sgd(), 9, variant="hypergradient"), "needs eta"),
        (lambda: TLR(sgd(), 9, variant="hypergradient", eta=0.1), "min_lr above 0"),
        (lambda: TLR(sgd(), 9, window=0), "must lie in"),
        (lambda: TLR(sgd(), 9, max_lr=0.5), "between min_lr and max_lr"),
        (lambda: TLR(sgd(), 9, restart_below=1.0), "restart_below must lie between min_lr and base_lr"),
        (lambda: TLR(sgd(), 9, restart_below="low"), "restart_below must be a number, got 'low'"),
        (lambda: TLR(sgd(), 9, capturable=True), "capturable needs rates that are tensors"),
        (lambda: TLR(sgd(lr=torch.tensor(0.1)), 9, capturable=True, source="gradient"), "goes with source"),
        (lambda: TLR(torch.optim.LBFGS([parameter()]), 9, source="gradient"), "LBFGS"),
        (lambda: TLR(torch.optim.SGD([torch.ones(2, dtype=torch.complex64, requires_grad=True)]), 9), "complex64"),
        (lambda: TLR(small_net(), 9), "got a Sequential"),
        (lambda: TLR(sgd(), 9).step(3), "cannot jump, got epoch 3"),
        (sparse, r"the gradient of parameter 0 of group 0 \(weight\) is sparse.*displacement"),
        (grown, r"was made for 2 parameters in 2 groups, got 3 in 3; make TLR after add_param_group; remove\(\) takes"),
        (lambda: grown(per_tensor=True), "got 3 in 3"),
        (swapped, "parameter 0 of group 1 is another tensor"),
        (swapped_within_a_window, "parameter 0 of group 1 is another tensor"),
        (lambda: driven_by_another(5), "group 0 must stay what TLR has set, 1, got 0.5"),
        (driven_by_another, "group 0 must stay what TLR has set, 1, got 0.5"),
        (driven_by_text, "lr of parameter group 0 must be a number, got '0.5'"),
        (lambda: rate_no_graph_reads(0.1), "lr of parameter group 0 must stay a tensor, which a graph can read"),
        (lambda: rate_no_graph_reads(torch.tensor(0.5)), "must stay what TLR has set, 0.1, got 0.5"),
        (lambda: reshaped("displacement"), r"group 0 \(w\) is no longer of the shape \(4,\).*got \(3,\)"),
        (lambda: reshaped("gradient"), r"group 0 \(w\) is no longer of the shape \(4,\).*got \(3,\)"),
        (lambda: TLR(torch.optim.SGD([torch.ones(2, device="meta", requires_grad=True)]), 9), "is on the meta device"),
    ],
)
def test_wrong_input_is_one_clear_line(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_refused_tlr_leaves_the_groups_whole() -> None:
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(InputError):
        TLR(optimizer, 9, per_tensor=True, bound=-1)
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "Tlr(...)"}, "the state of another schedule"),
        ({"scheduler": "PolicyLR"}, "no state of TLR, version 1"),
        ({"state": {"schedule": "aslr", "version": 1}}, "no state of schedule tlr"),
        ({"window": {"now": [torch.ones(2)], "before": None}}, "must have a window of 2 tensors, got 1 tensors"),
        ({"window": {"now": [torch.ones(2)] * 2, "before": None}}, r"parameter 0 of group 0 has the shape \(1,\)"),
        ({"rates": [0.1]}, '"rates" of this state must be a list of 2, got 1'),
        ({"rates": [0.1, -0.1]}, "a rate of this state must be a finite number, 0 or above, got -0.1"),
        ({"rates": [math.nan, 0.1]}, "a rate of this state must be a finite number, 0 or above, got nan"),
        ({"rates": [0.1, "0.1"]}, "a rate of this state must be a number, got '0.1'"),
        ({"window": 3}, "the window of a state is a mapping"),
        ({"iteration": -1}, "iteration must be a whole number from 0"),
    ],
)
def test_a_wrong_state_is_refused(change: dict[str, Any], message: str) -> None:
    scheduler = TLR(sgd(2), 9)
    before = scheduler.state_dict()
    with pytest.raises(InputError, match=message):
        scheduler.load_state_dict({**before, **change})
    assert scheduler.state_dict() == before
    for missing in before:
        with pytest.raises(InputError, match=missing):
            scheduler.load_state_dict({key: value for key, value in before.items() if key != missing})


@pytest.mark.parametrize("source", ["displacement", "gradient"])
def test_a_parameter_that_was_freed_is_named(source: str) -> None:
    """After a step that its storage was still there for, so that PyTorch itself has not crashed."""
    first, second = torch.ones(4, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = torch.optim.SGD([("first", first), ("second", second)], lr=0.1)
    TLR(optimizer, 6, source=source)  # windows of two updates
    first.grad, second.grad = torch.ones(4), torch.ones(3)
    optimizer.step()
    second.grad = None
    second.untyped_storage().resize_(0)
    with pytest.raises(InputError, match=r"parameter 1 of group 0 \(second\) has no memory"):
        optimizer.step()
