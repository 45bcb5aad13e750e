"""The sums of TLR's windows: which implementation is chosen, what it borrows and keeps, and that all agree."""

from __future__ import annotations

import contextlib
import copy
import math
import pickle
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_support import parameter

import lrpolicy
from lrpolicy.errors import InputError, RunError
from lrpolicy.integrations.torch import sums as module
from lrpolicy.integrations.torch.sums import KernelSums, TorchSums, cuda_kernels_run, sums_for
from lrpolicy.kernels import Plan, TensorList

MIXED = [torch.float32, torch.float64, torch.bfloat16, torch.float32, torch.float16]


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def lists(dtypes: list[torch.dtype], count: int = 5000) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Weights, where they were, and the displacement before."""
    weights = [normal(count, seed=i, dtype=dtype).requires_grad_() for i, dtype in enumerate(dtypes)]
    start = [normal(count, seed=20 + i, dtype=dtype) for i, dtype in enumerate(dtypes)]
    return weights, start, [normal(count, seed=40 + i, dtype=wide(dtype)) for i, dtype in enumerate(dtypes)]


def copies(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]


def test_mixed_dtypes_give_the_kernels_sums_in_the_order_of_the_tensors() -> None:
    weights, start, before = lists(MIXED)
    expected = []
    for w, s, b in zip(weights, copies(start), copies(before), strict=True):
        gg, gp = Plan([5000]).displacement_dot_pair([w.detach()], [s], [b])
        expected.append([gg[0], gp[0]])
    moved = [s.to(b.dtype) - w.detach() for w, s, b in zip(weights, start, before, strict=True)]
    dots = KernelSums(weights).displacement_dot_pair(weights, start, before)
    assert dots.T.tolist() == expected
    assert all(map(torch.equal, before, moved))
    assert all(map(torch.equal, start, weights))
    for column, b, other in zip(dots.T.tolist(), before, lists(MIXED)[2], strict=True):
        assert column[1] == pytest.approx(math.fsum((b.double() * other.double()).tolist()), rel=1e-12)


@pytest.mark.parametrize("dtypes", [MIXED, [torch.float32] * 3])
def test_pytorchs_operations_agree_and_roll_the_same_buffers(dtypes: list[torch.dtype]) -> None:
    weights, start, before = lists(dtypes)
    other_start, other_before = copies(start), copies(before)
    ours = KernelSums(weights).displacement_dot_pair(weights, start, before)
    theirs = TorchSums().displacement_dot_pair(weights, other_start, other_before)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-9)
    assert all(map(torch.equal, start + before, other_start + other_before))
    sums, other = [normal(5000, seed=90 + i, dtype=b.dtype) for i, b in enumerate(before)], copies(before)
    ours = KernelSums(weights).dot_pair(sums, before)
    torch.testing.assert_close(ours, TorchSums().dot_pair(sums, other), rtol=1e-12, atol=1e-9)
    assert all(map(torch.equal, before + other, sums + sums))


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=5), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_dot_products_are_exact_to_double_rounding(sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    now, before = ([random.standard_normal(n).astype(np.float32) for n in sizes] for _ in range(2))
    tensors, others = ([torch.from_numpy(a.copy()) for a in arrays] for arrays in (now, before))
    dots = KernelSums(tensors).dot_pair(tensors, others)
    for row, pairs in zip(dots, ([(a, a) for a in now], zip(now, before, strict=True)), strict=True):
        for dot, (a, b) in zip(row.tolist(), pairs, strict=True):
            terms = a.astype(np.float64) * b
            assert abs(dot - math.fsum(terms)) <= 1e-13 * np.abs(terms).sum()


class Borrowings:
    """Counts the lists that are made, by their kind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kinds: list[str] = []

        class Counted(TensorList):
            def __init__(inner, tensors: Any, kind: str) -> None:  # noqa: N805
                self.kinds.append(kind)
                super().__init__(tensors, kind)

        monkeypatch.setattr(module, "TensorList", Counted)

    def new(self) -> list[str]:
        kinds, self.kinds = self.kinds, []
        return kinds


def test_lists_are_borrowed_once_and_anew_where_a_tensor_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    borrowings = Borrowings(monkeypatch)
    weights, start, before = lists([torch.float32] * 2, 100)
    sums = KernelSums(weights)
    sums.displacement_dot_pair(weights, start, before)
    assert borrowings.new() == ["weight", "start", "displacement before"]
    with torch.no_grad():
        weights[1].add_(1)
    assert sums.displacement_dot_pair(weights, start, before)[0].tolist() == pytest.approx([0, 100], rel=1e-4)
    assert borrowings.new() == []
    weights[1].data = weights[1].data + 2  # as module.to() does
    assert sums.displacement_dot_pair(weights, start, before)[0].tolist() == pytest.approx([0, 400], rel=1e-4)
    assert borrowings.new() == ["weight"]


def test_a_layout_that_no_kernel_reads_is_copied_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    borrowings = Borrowings(monkeypatch)
    weight = normal(6, 5, seed=1).t().requires_grad_()
    start, before = [torch.zeros(5, 6)], [torch.zeros(5, 6)]
    sums = KernelSums([weight])
    for factor in (1, 2, 3):
        sums.displacement_dot_pair([weight], start, before)
        assert torch.equal(start[0], weight)
        assert "weight" in borrowings.new()
        weight.data.mul_(factor)
    assert torch.equal(before[0], -normal(6, 5, seed=1).t())


class StandIn(SimpleNamespace):
    """`lrpolicy.cuda` for tensors in the CPU's memory: it notes how it is called."""

    def __init__(self) -> None:
        super().__init__(calls=[], devices=lambda: ["a GPU"], Plan=self.plan)

    def plan(self, counts: list[int], *, device: int) -> Any:
        self.calls.append((counts, device))
        plan = Plan(counts)

        def verb(name: str) -> Any:
            def call(*given: Any, roll: bool, stream: int) -> None:
                self.calls.append((name, roll, stream, [len(list_) for list_ in given]))
                sums = getattr(plan, name)(*given[:-2], roll=roll)
                for out, values in zip(self.rows, sums, strict=True):
                    out.copy_(torch.from_numpy(values))

            return call

        return SimpleNamespace(**{name: verb(name) for name in ("dot_pair", "displacement_dot_pair")})


@pytest.fixture
def on_stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The part of the sums that is a GPU's, over the CPU's memory."""
    stand_in = StandIn()
    monkeypatch.setattr(lrpolicy, "cuda", stand_in, raising=False)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=77))

    class Part(module._CudaPart):
        def __init__(self, places: list[int], counts: list[int], device: torch.device) -> None:
            super().__init__(places, counts, device)
            stand_in.rows = list(self._sums)

    monkeypatch.setattr(module, "_CpuPart", Part)
    return stand_in


def test_a_gpus_part_launches_once_on_the_current_stream_and_gives_its_own_sums(on_stand_in: StandIn) -> None:
    weights, start, before = lists([torch.float32] * 3, 100)
    expected = [np.stack(Plan([100] * 3).displacement_dot_pair([w.detach() for w in weights], start, before))]
    sums = KernelSums(weights)
    dots = sums.displacement_dot_pair(weights, start, before)
    assert dots.tolist() == expected[0].tolist()
    assert all(map(torch.equal, start, weights))
    assert on_stand_in.calls == [([100] * 3, None), ("displacement_dot_pair", True, 77, [3, 3, 3, 1, 1])]
    sums.dot_pair(before, copies(before))
    assert on_stand_in.calls[2:] == [("dot_pair", True, 77, [3, 3, 1, 1])]


def test_two_dtypes_on_a_gpu_are_two_launches(on_stand_in: StandIn) -> None:
    weights, _, _ = lists([torch.float32, torch.float64, torch.float32], 10)
    KernelSums(weights)
    assert on_stand_in.calls == [([10, 10], None), ([10], None)]


def test_the_kernels_are_taken_where_every_parameter_is_in_their_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there, elsewhere = (SimpleNamespace(device=torch.device(kind)) for kind in ("cpu", "cuda:0", "mps"))
    monkeypatch.setattr(module, "KernelSums", lambda parameters: "kernels")
    monkeypatch.setattr(module, "TorchSums", lambda: "torch")

    def chosen(*parameters: Any, capturable: bool = False) -> Any:
        return sums_for(parameters, capturable=capturable)

    for runs, gpu in ((True, "kernels"), (False, "torch")):
        monkeypatch.setattr(module, "cuda_kernels_run", lambda runs=runs: runs)
        assert chosen(here, here) == "kernels"
        assert chosen(here, capturable=True) == "torch"
        assert [chosen(there, there), chosen(there, capturable=True)] == [gpu, gpu]
        assert [chosen(here, there), chosen(elsewhere)] == ["torch", "torch"]


def no_gpu() -> list[str]:
    raise RunError("CUDA refused: no device")


def test_cuda_kernels_run_where_they_were_built_and_find_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = StandIn()
    monkeypatch.setattr(lrpolicy, "cuda", stand_in, raising=False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert not cuda_kernels_run()
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert cuda_kernels_run()
    for implementation, runs in (("simd", False), ("cuda", True)):
        forced = {"forced": True, "implementation": implementation}
        with monkeypatch.context() as patch:
            patch.setattr(module, "kernel_settings", lambda forced=forced: forced)
            assert cuda_kernels_run() is runs
    monkeypatch.setattr(stand_in, "devices", no_gpu)
    assert not cuda_kernels_run()


def test_without_the_built_kernels_pytorch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    for name in ("cuda", "_cuda"):
        monkeypatch.delattr(lrpolicy, name, raising=False)
        monkeypatch.delitem(sys.modules, f"lrpolicy.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "lrpolicy._cuda", None)
    assert not cuda_kernels_run()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_and_pickles_know_their_own_parameters(duplicate: Any) -> None:
    weights = [parameter(3), parameter(2, 2)]
    twins, sums = duplicate((weights, KernelSums(weights)))
    assert all(own is twin for own, twin in zip(sums._parameters, twins, strict=True))
    assert sums.dot_pair([torch.ones(3), torch.ones(2, 2)], [torch.ones(3), torch.ones(2, 2)]).tolist() == [[3, 4]] * 2


def test_a_weight_that_has_changed_its_size_is_named() -> None:
    weights = [parameter(3), parameter(4)]
    sums = KernelSums(weights)
    weights[1].data = torch.ones(5)
    with pytest.raises(InputError, match=r"weight 1: must have as many elements as its tensor of the plan, 4, got 5"):
        sums.displacement_dot_pair(weights, [torch.ones(3), torch.ones(4)], [torch.ones(3), torch.ones(4)])
