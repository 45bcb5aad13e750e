"""Schedulers that work inside `optimizer.step()`: one at a time, and out of the way when they are asked to be."""

from __future__ import annotations

import copy
import gc
import pickle
import warnings
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import distributed

from lrpolicy.errors import InputError
from lrpolicy.integrations.torch import ASLR, TLR, PolicyLR
from lrpolicy.integrations.torch.hooked import HookedLR

MAKERS: dict[str, Callable[[torch.optim.Optimizer], HookedLR]] = {
    "TLR": lambda optimizer: TLR(optimizer, 3),
    "TLR per tensor": lambda optimizer: TLR(optimizer, 3, per_tensor=True),
    "ASLR": lambda optimizer: ASLR(optimizer, 1),
}


def optimizer() -> torch.optim.SGD:
    return torch.optim.SGD([torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)], lr=0.1)


def steps(of: torch.optim.Optimizer, count: int) -> None:
    for _ in range(count):
        for group in of.param_groups:
            for weight in group["params"]:
                weight.grad = weight.detach().clone()
        of.step()


def rates(of: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in of.param_groups]


@pytest.mark.parametrize("maker", MAKERS)
def test_another_scheduler_may_follow_one_that_was_removed(maker: str) -> None:
    ours = optimizer()
    scheduler = MAKERS[maker](ours)
    steps(ours, 4)
    left, counted = rates(ours), scheduler.iteration
    scheduler.remove()
    scheduler.remove()  # there is nothing left to remove
    steps(ours, 4)
    assert (rates(ours), scheduler.iteration) == (left, counted)
    following = PolicyLR(ours, "step", base_lr=0.05, gamma=0.5, stepsize=1)
    steps(ours, 1)
    following.step()
    assert rates(ours) == [0.025] * len(left)


@pytest.mark.parametrize("second", MAKERS)
@pytest.mark.parametrize("first", MAKERS)
def test_there_is_one_at_a_time(first: str, second: str) -> None:
    ours = optimizer()
    scheduler = MAKERS[first](ours)
    groups = len(ours.param_groups)
    kind = first.partition(" ")[0]
    with pytest.raises(InputError, match=rf"inside its steps already, a {kind}; call remove\(\) of that one first"):
        MAKERS[second](ours)
    assert len(ours.param_groups) == groups
    steps(ours, 2)
    assert scheduler.iteration == 2
    scheduler.remove()
    MAKERS[second](ours)
    steps(ours, 1)
    assert scheduler.iteration == 2


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("maker", MAKERS)
def test_a_copy_has_hooks_of_its_own(maker: str, duplicate: Callable[[HookedLR], HookedLR]) -> None:
    ours = optimizer()
    scheduler = MAKERS[maker](ours)
    steps(ours, 2)
    double = duplicate(scheduler)
    steps(double.optimizer, 3)
    assert (scheduler.iteration, double.iteration) == (2, 5)
    double.remove()
    steps(double.optimizer, 1)
    steps(ours, 1)
    assert (scheduler.iteration, double.iteration) == (3, 5)


def test_an_optimizer_takes_its_scheduler_with_it() -> None:
    ours = optimizer()
    gone = weakref.ref(TLR(ours, 3))
    assert gone() is not None  # the hooks hold it
    del ours
    gc.collect()
    assert gone() is None


class Unsplit(torch.optim.SGD):
    """An optimizer that drives another, which reads groups of its own."""

    def __init__(self, params: list[torch.Tensor]) -> None:
        super().__init__(params, lr=0.1)
        self.inside = torch.optim.SGD(params, lr=0.1)


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, Unsplit])
@pytest.mark.parametrize("maker", MAKERS)
def test_groups_that_cannot_be_split_are_left_alone(maker: str, kind: type[torch.optim.Optimizer]) -> None:
    ours = kind([torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)])
    if maker == "TLR":
        assert MAKERS[maker](ours).iteration == 0
        return
    with pytest.raises(InputError, match=f"got {kind.__name__}, whose groups cannot be split; use per_tensor=False"):
        MAKERS[maker](ours)
    assert len(ours.param_groups) == 1


@pytest.mark.parametrize("maker", MAKERS)
def test_zero_redundancy_keeps_its_groups(maker: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.distributed.optim import ZeroRedundancyOptimizer
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        weights = [torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)]
        ours = ZeroRedundancyOptimizer(weights, torch.optim.SGD, lr=0.1)
        if maker == "TLR":
            MAKERS[maker](ours)
            steps(ours, 2)
            assert rates(ours) == [0.125]
        else:
            with pytest.raises(InputError, match="got ZeroRedundancyOptimizer, whose groups cannot be split"):
                MAKERS[maker](ours)
    finally:
        distributed.destroy_process_group()
