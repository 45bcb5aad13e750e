"""What `lrpolicy.cuda` checks before its kernels are called: here a made-up module stands for them, without a GPU."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import lrpolicy
from lrpolicy import kernels
from lrpolicy.errors import InputError
from lrpolicy.stateful import Aslr, Tlr


class Recorder:
    """Keeps what its methods are given, itself or one of its calls."""

    def __init__(self, *arguments: Any) -> None:
        self.calls: list[tuple[Any, ...]] = [arguments]

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append((name, *arguments))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, made anew over `Recorder`s, and afterwards as it was."""
    fake = SimpleNamespace(PlanCore=Recorder, DrawsCore=Recorder, TlrOnDevice=Recorder)
    monkeypatch.setattr(lrpolicy, "_cuda", fake, raising=False)
    monkeypatch.setattr(lrpolicy, "cuda", None, raising=False)
    monkeypatch.delitem(sys.modules, "lrpolicy.cuda", raising=False)
    yield importlib.import_module("lrpolicy.cuda")
    sys.modules.pop("lrpolicy.cuda")


def test_a_list_of_another_length_has_no_names_as_on_the_cpu(cuda: ModuleType) -> None:
    """So that the verb, which knows how many there must be, says so."""
    tensor, numbers = np.zeros(2, np.float32), np.zeros(2)
    for_two = {"counts": [2, 2], "names": ["conv1", "conv2"]}
    plan = cuda.Plan(**for_two)
    plan.dot_pair([tensor], [tensor], numbers, numbers)
    assert [len(given) for given in plan._core.calls[-1][1:3]] == [1, 1]
    with pytest.raises(InputError, match="there must be a gradient for each tensor of the plan, got 1 for 2"):
        kernels.Plan(**for_two).dot_pair([tensor], [tensor])


WRONG = [
    (lambda cuda: cuda.Plan(["a"]), "a size must be a whole number, got 'a'"),
    (lambda cuda: cuda.Plan([1.5]), r"a size must be a whole number, got 1\.5"),
    (lambda cuda: cuda.Plan([2], ["a", "b"]), "there must be a name for each size, got 2 names for 1 sizes"),
    (lambda cuda: cuda.Plan([2], device="cuda:0"), "device, the number of a GPU, must be a whole number, got 'cuda:0'"),
    (lambda cuda: cuda.Plan([2], device=-1), "device, the number of a GPU, must be a whole number from 0"),
    (lambda cuda: cuda.Plan([]).accumulate([], [], "x"), "scale must be a number, got 'x'"),
    (lambda cuda: step(cuda, momentum="x"), "momentum must be a number, got 'x'"),
    (lambda cuda: step(cuda, momentum=0.9, regularization="L3"), "regularization must be L1 or L2, got 'L3'"),
    (lambda cuda: cuda.Draws("x", 1), "center must be a number, got 'x'"),
    (lambda cuda: cuda.Draws(0.0, 1), "center must be a number above 0, at most 1e100, got 0"),
    (lambda cuda: cuda.Draws(float("inf"), 1), "center must be a number above 0, at most 1e100, got inf"),
    (lambda cuda: cuda.Draws(0.1, -1), "seed must be a whole number from 0"),
    (lambda cuda: cuda.Draws(0.1, 1, 2**50 + 1), "the iteration must be a whole number from 0"),
    (lambda cuda: cuda.Draws(0.1, 1, device=None), "device, the number of a GPU, must be a whole number, got None"),
    (lambda cuda: learned(cuda).set(Tlr(0.1).init(), "x"), "updates, the length of the window, must be a whole number"),
    (lambda cuda: learned(cuda).set(Tlr(0.1).init(), 0), "updates, the length of the window, must be a whole number"),
    (lambda cuda: learned(cuda).set(Aslr(0.1).init()), "tlr needs a state of its own, got a AslrState"),
]


def step(cuda: ModuleType, **options: Any) -> None:
    cuda.Plan([]).momentum_step([], [], [], np.zeros(0, np.float32), np.zeros(0, np.float32), **options)


def learned(cuda: ModuleType) -> Any:
    schedule = Tlr(0.1)
    return cuda.TlrOnDevice(schedule, schedule.init())


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_wrong_numbers_are_named(cuda: ModuleType, call: Callable[[ModuleType], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(cuda)


def test_right_numbers_reach_the_kernels(cuda: ModuleType) -> None:
    plan = cuda.Plan(np.array([2, 3]), device=np.int64(1))
    assert plan._core.calls == [([2, 3], 1)]
    draws = cuda.Draws(0.03, 2**64 - 1, 2**50)
    assert draws._core.calls[-1] == ("set", 0.03, 2**64 - 1, 2**50, 0)
    empty = np.zeros(0, np.float32)
    plan.momentum_step([], [], [], empty, empty, np.float32(0.5), regularization="L1", draws=draws, stream=7)
    assert plan._core.calls[-1][6:] == (0.5, False, True, True, draws._core, 7)
    assert learned(cuda)._core.calls[-1][0] == "set"
