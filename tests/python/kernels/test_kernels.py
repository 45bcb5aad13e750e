"""The kernels against exact arithmetic, NumPy and PyTorch; every wrong list is refused and named."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.make_dot_pair_known_answers import numbers, sheet
from lrpolicy.errors import InputError
from lrpolicy.kernels import Plan, TensorList

EDGES = [0, 1, 31, 32, 33, 1023, 1024, 1025, 16383, 16384, 16385, 70001]


def arrays(counts: list[int], seed: int, dtype: type = np.float32) -> list[np.ndarray]:
    """Views that begin at any element of their memory, with numbers of very different sizes."""
    generator = np.random.default_rng(seed)
    made = []
    for i, count in enumerate(counts):
        spread = 10 if dtype == np.float16 else 20
        values = generator.standard_normal(count + i % 7) * np.exp2(generator.integers(-spread, spread, count + i % 7))
        made.append(values.astype(dtype)[i % 7 :])
    return made


def exact(x: np.ndarray, y: np.ndarray) -> Fraction:
    return sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, y, strict=True)), Fraction(0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_dot_pairs_lie_within_their_bound_of_the_exact_sums(dtype: type) -> None:
    counts = [0, 1, 33, 1025, 5000]
    g, previous = arrays(counts, 1, dtype), arrays(counts, 2, dtype)
    gg, gp = Plan(counts).dot_pair(g, previous)
    for i in range(len(counts)):
        assert abs(Fraction(gg[i]) - exact(g[i], g[i])) <= Fraction(6e-15) * exact(g[i], g[i])
        size = exact(abs(g[i]), abs(previous[i]))
        assert abs(Fraction(gp[i]) - exact(g[i], previous[i])) <= Fraction(6e-15) * size


def test_dot_pairs_are_numpys_in_the_order_of_the_definition() -> None:
    """To the bit; the C++ tests read the same sheet, for arm64 too."""
    rows = list(sheet())
    assert Path(__file__).parents[2].joinpath("data", "dot_pair_known_answers.tsv").read_text().splitlines() == rows
    for row in rows[1:]:
        dtype, count, *expected = row.split("\t")
        g, previous = (numbers(int(count), seed, getattr(np, dtype)) for seed in (1, 2))
        gg, gp = Plan([int(count)]).dot_pair([g], [previous])
        assert [float(gg[0]).hex(), float(gp[0]).hex()] == expected, row


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(0, 2100) | st.sampled_from(EDGES), max_size=8), seed=st.integers(0, 2**32 - 1))
def test_dot_pairs_of_any_sizes(counts: list[int], seed: int) -> None:
    g, previous = arrays(counts, seed), arrays(counts, seed + 1)
    copies = [x.copy() for x in g]
    gg, gp = Plan(counts).dot_pair(g, previous, roll=False)
    again = Plan(counts).dot_pair(g, previous, roll=True)
    assert np.array_equal(gg, again[0]) and np.array_equal(gp, again[1])
    for i, x in enumerate(g):
        products = x.astype(np.float64) ** 2
        assert gg[i] == pytest.approx(math.fsum(products), rel=6e-15)
        assert np.array_equal(x, copies[i]) and np.array_equal(x, previous[i])


def test_displacements_of_torch_weights_in_bfloat16() -> None:
    counts = [3000, 17]
    weights = [torch.randn(n, generator=torch.Generator().manual_seed(n)).bfloat16() for n in counts]
    start = [w + 0.25 for w in weights]
    expected = [s.float() - w.float() for s, w in zip(start, weights, strict=True)]
    previous = [torch.ones(n) for n in counts]
    gg, gp = Plan(counts).displacement_dot_pair(weights, start, previous, roll=True)
    for i, g in enumerate(expected):
        assert gg[i] == pytest.approx(float(g.double() @ g.double()), rel=1e-13)
        assert gp[i] == pytest.approx(float(g.double().sum()), rel=1e-13)
        assert torch.equal(previous[i], g) and torch.equal(start[i], weights[i])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_short_number_is_widened_as_torch_does(dtype: torch.dtype) -> None:
    numbers = torch.arange(-(2**15), 2**15).short().view(dtype)
    sums = torch.zeros(2**16)
    Plan([2**16]).accumulate([numbers], [sums])
    assert torch.allclose(sums, numbers.float(), rtol=0, atol=0, equal_nan=True)


def test_window_sums_are_numpys_float32() -> None:
    g, sums = arrays(EDGES, 3), arrays(EDGES, 4)
    expected = [s + np.float32(0.3) * x for s, x in zip(sums, g, strict=True)]
    Plan(EDGES).accumulate(g, sums, scale=0.3)
    assert all(np.array_equal(a, b) for a, b in zip(expected, sums, strict=True))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("regularization", ["L1", "L2"])
def test_momentum_steps_are_caffes_in_float32(nesterov: bool, regularization: str) -> None:
    g, weights, history = arrays(EDGES, 1), arrays(EDGES, 2), arrays(EDGES, 3)
    rates, decays = np.linspace(0.01, 0.5, len(EDGES)), np.linspace(0, 0.1, len(EDGES))
    momentum = np.float32(0.9)
    expected = []
    for i, x in enumerate(g):
        r = np.sign(weights[i]) if regularization == "L1" else weights[i]
        d = x + np.float32(decays[i]) * r if decays[i] else x
        h = momentum * history[i] + np.float32(rates[i]) * d
        update = (np.float32(1) + momentum) * h - momentum * history[i] if nesterov else h
        expected.append((weights[i] - update, h))
    step: dict[str, Any] = {"nesterov": nesterov, "regularization": regularization}
    Plan(EDGES).momentum_step(g, weights, history, rates, decays, 0.9, **step)
    for i, (w, h) in enumerate(expected):
        assert np.array_equal(w, weights[i]) and np.array_equal(h, history[i])


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_steps_are_pytorchs_where_the_rate_is_outside(nesterov: bool) -> None:
    """Three steps in double, to the rounding of float32; PyTorch's tensors may be part of a graph of derivatives."""
    generator = torch.Generator().manual_seed(2)
    weights = [torch.randn(n, generator=generator).requires_grad_() for n in EDGES]
    wide = [x.detach().double().requires_grad_() for x in weights]
    rates, decays = np.linspace(0.01, 0.5, len(EDGES)), np.linspace(0, 0.1, len(EDGES))
    groups = [{"params": [w], "lr": r, "weight_decay": d} for w, r, d in zip(wide, rates, decays, strict=True)]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=nesterov)
    history = [torch.zeros_like(x) for x in weights]
    for _ in range(3):
        g = [torch.randn(n, generator=generator) for n in EDGES]
        for w, x in zip(wide, g, strict=True):
            w.grad = x.double()
        optimizer.step()
        Plan(EDGES).momentum_step(g, weights, history, rates, decays, 0.9, nesterov=nesterov, rate_inside=False)
    for ours, theirs in zip(weights, wide, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=2e-6)


FORKING = """
import os
import numpy as np
from lrpolicy.kernels import Plan
g, previous = (np.random.default_rng(seed).standard_normal(200_000) for seed in (1, 2))
expected = Plan([g.size]).dot_pair([g], [previous])[0][0]  # its threads do not survive the fork
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, repr(float(Plan([g.size]).dot_pair([g], [previous])[0][0])).encode())
    os._exit(0)
os.wait()
assert float(os.read(read, 100)) == expected
print("the same")
"""


def test_a_forked_process_computes_too() -> None:
    """In a program of its own: other tests' libraries warn of a fork."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "the same\n"


class Cuda:
    """A tensor on a GPU that nobody has."""

    def __init__(self, **fields: Any) -> None:
        self.__cuda_array_interface__ = {"shape": (2,), "typestr": "<f4", "data": (256, False), "version": 3} | fields


class Spent:
    """A tensor whose capsule was consumed before."""

    def __init__(self) -> None:
        self.capsule = np.zeros(2, np.float32).__dlpack__()
        np.from_dlpack(self)

    def __dlpack__(self, **_: object) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def read_only(count: int) -> np.ndarray:
    values = np.zeros(count, np.float32)
    values.flags.writeable = False
    return values


GOOD = np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.zeros(2, np.float16), r"gradient 1 \(conv3.weight\): is float16 and the first is float32"),
        (np.zeros(2, np.int32), r"gradient 1 \(conv3.weight\): has a dtype that no kernel knows"),
        (np.zeros(4, np.float32)[::2], r"gradient 1 \(conv3.weight\): is not contiguous"),
        (torch.zeros(3, 2).T, r"gradient 1 \(conv3.weight\): is not contiguous"),
        (np.zeros(3, np.float32), r"gradient 1 \(conv3.weight\): must have as many elements as .* 2, got 3"),
        (torch.zeros(2).to_sparse(), r"gradient 1 \(conv3.weight\): its framework does not hand it out"),
        (None, r"gradient 1 \(conv3.weight\): is None"),
        ([1.0, 2.0], r"gradient 1 \(conv3.weight\): must be a tensor with __dlpack__ .*, got list"),
        (Spent(), r"gradient 1 \(conv3.weight\): its __dlpack__ gave no fresh DLPack capsule"),
        (Cuda(), r"gradient 1 \(conv3.weight\): is on cuda:0 and the first on the CPU"),
        (Cuda(typestr="<i4"), r"gradient 1 \(conv3.weight\): has a dtype that no kernel knows, got <i4"),
        (Cuda(strides=(8,)), r"gradient 1 \(conv3.weight\): is not contiguous"),
        (Cuda(shape="two"), r"gradient 1 \(conv3.weight\): its __cuda_array_interface__ makes no sense"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(tensor: Any, message: str) -> None:
    plan = Plan([2, 2], names=["conv2.weight", "conv3.weight"])
    with pytest.raises(InputError, match=message):
        plan.dot_pair([GOOD, tensor], [GOOD.copy(), GOOD.copy()])


def test_lists_that_do_not_fit_are_refused() -> None:
    plan, memory = Plan([2]), np.zeros(3, np.float32)
    with pytest.raises(InputError, match="there must be a gradient for each tensor of the plan, got 2 for 1"):
        plan.dot_pair([GOOD, GOOD], [GOOD])
    with pytest.raises(InputError, match="previous gradient 0: must be float32, to go with its gradient, got float64"):
        plan.dot_pair([GOOD], [np.zeros(2)])
    with pytest.raises(InputError, match=r"previous gradient 0: is read-only|does not hand it out"):
        plan.dot_pair([GOOD], [read_only(2)], roll=True)
    with pytest.raises(InputError, match="shares memory with"):
        plan.dot_pair([memory[:2]], [memory[1:]], roll=True)
    with pytest.raises(InputError, match="gradient 0: is on cuda:0, and this plan computes on the CPU"):
        plan.dot_pair([Cuda()], [Cuda()])
    with pytest.raises(InputError, match="previous gradient 0: is on cuda:0 and its gradient on the CPU"):
        plan.dot_pair([GOOD], [Cuda()])
    with pytest.raises(InputError, match="a size is below 0"):
        Plan([-1])
    with pytest.raises(InputError, match=r"a size must be a whole number, got 1\.5"):
        Plan([1.5])  # type: ignore[list-item]
    with pytest.raises(InputError, match="there must be a gradient for each tensor of the plan, got 1 for 2"):
        Plan([2, 2], ["w", "b"]).dot_pair([GOOD], [GOOD])
    with pytest.raises(InputError, match="scale must be a number, got 'x'"):
        plan.accumulate([GOOD], [GOOD.copy()], "x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="momentum must be a number, got 'x'"):
        plan.momentum_step([GOOD], [GOOD.copy()], [GOOD.copy()], [1], [0], "x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="rates must be a list of one number for each of the 1 tensors, got 2"):
        plan.momentum_step([GOOD], [GOOD.copy()], [GOOD.copy()], [1, 2], [0], 0.9)
    with pytest.raises(InputError, match="regularization must be L1 or L2, got 'L3'"):
        plan.momentum_step([GOOD], [GOOD.copy()], [GOOD.copy()], [1], [0], 0.9, regularization="L3")  # type: ignore[arg-type]


def test_a_nan_reaches_the_sums_of_its_own_tensor_only() -> None:
    g = [np.ones(5000, np.float32) for _ in range(3)]
    g[1][4321] = np.nan
    gg, gp = Plan([5000] * 3).dot_pair(g, [np.ones(5000, np.float32)] * 3)
    for sums in (gg, gp):
        assert np.isnan(sums).tolist() == [False, True, False] and sums[0] == sums[2] == 5000


def test_a_tensor_list_keeps_borrowed_memory_alive() -> None:
    counts = [100_000]
    tensors = TensorList([torch.full((n,), 2.0) for n in counts])
    gg, _ = Plan(counts).dot_pair(tensors, arrays(counts, 2))
    assert gg[0] == 400_000 and tensors.counts == counts and tensors.dtype == "float32" and len(tensors) == 1


def shrunk_array(array: np.ndarray) -> None:
    array.resize(4, refcheck=False)


def freed(tensor: torch.Tensor) -> None:
    tensor.untyped_storage().resize_(0)


def exchanged(tensor: torch.Tensor) -> None:
    tensor.data = torch.zeros_like(tensor)


def shrunk(tensor: torch.Tensor) -> None:
    tensor.untyped_storage().resize_(400)


def resized(tensor: torch.Tensor) -> None:
    tensor.resize_(4)


@pytest.mark.parametrize(
    ("make", "spoil"),
    [
        (np.ones, shrunk_array),
        (torch.ones, freed),
        (torch.ones, exchanged),
        (torch.ones, shrunk),
        (torch.ones, resized),
    ],
)
def test_a_kept_list_whose_memory_is_gone_says_so(make: Any, spoil: Any) -> None:
    tensor = make(100_000)
    other = TensorList([np.zeros(100_000, np.float32 if make is torch.ones else np.float64)])
    tensors, plan = TensorList([tensor], "gradient", ["conv2.weight"]), Plan([100_000])
    assert plan.dot_pair(tensors, other)[0] == 100_000
    spoil(tensor)
    message = r"gradient 0 \(conv2.weight\): its memory was freed or exchanged since this list was made; make the Tens"
    with pytest.raises(InputError, match=message):
        plan.dot_pair(tensors, other)
    with pytest.raises(InputError, match=message):
        plan.accumulate(tensors, other)


@pytest.mark.parametrize("spoil", [freed, shrunk])
@pytest.mark.parametrize("offset", [0, 100])
def test_a_tensor_without_memory_is_not_borrowed(spoil: Any, offset: int) -> None:
    tensor = torch.ones(100_000)[offset:]
    spoil(tensor)
    with pytest.raises(InputError, match="gradient 0: has no memory for its elements"):
        Plan([tensor.numel()]).dot_pair([tensor], [torch.zeros(tensor.numel())])
