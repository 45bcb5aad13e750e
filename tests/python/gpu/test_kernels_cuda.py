"""The CUDA kernels give the bits of the CPU's, whatever the dtype, the stream, or the way they are launched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from lrpolicy import kernels
from lrpolicy.errors import InputError, NotAvailableError, RunError
from lrpolicy.stateful import Aslr, Tlr, TlrWindow

torch = pytest.importorskip("torch")

try:
    from lrpolicy import cuda

    cuda.devices()
except (NotAvailableError, RunError) as error:
    pytest.skip(f"no CUDA kernels to run: {error}", allow_module_level=True)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that PyTorch can use"),
]

# Around a lane, a block, a piece, a group of pieces, and two levels of groups.
EDGES = [0, 1, 31, 32, 33, 1023, 1024, 1025, 4095, 4096, 4097, 70001, 0, 256 * 4096, 256 * 4096 + 1]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
Tensors = list[Any]


def tensors(counts: list[int], seed: int, dtype: Any = None) -> Tensors:
    """Views that begin at any element of their memory, with numbers of very different sizes, on the CPU."""
    random = torch.Generator().manual_seed(seed)
    made = []
    for i, count in enumerate(counts):
        values = torch.randn(count + i % 7, generator=random, dtype=torch.float64)
        values *= 2.0 ** torch.randint(-8, 8, values.shape, generator=random)
        made.append(values.to(dtype or torch.float32)[i % 7 :])
    return made


def on_gpu(given: Tensors) -> Tensors:
    """Copies on the GPU that begin at the same elements of their memory."""
    return [torch.cat([torch.zeros(i % 7, dtype=t.dtype), t]).cuda()[i % 7 :] for i, t in enumerate(given)]


def doubles(count: int) -> Any:
    return torch.full((count,), -1.0, dtype=torch.float64, device="cuda")


def floats(values: Any) -> Any:
    return torch.tensor(np.asarray(values, np.float32), device="cuda")


def same_bits(expected: Any, actual: Any) -> bool:
    expected, actual = (torch.as_tensor(t).cpu().contiguous().view(torch.uint8) for t in (expected, actual))
    return bool(torch.equal(expected, actual))


def all_same(expected: Tensors, actual: Tensors) -> bool:
    return all(same_bits(e, a) for e, a in zip(expected, actual, strict=True))


def current() -> int:
    return int(torch.cuda.current_stream().cuda_stream)


@pytest.mark.parametrize("roll", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dot_pairs_have_the_cpus_bits(dtype: Any, roll: bool) -> None:
    g, previous = tensors(EDGES, 1, dtype), tensors(EDGES, 2, dtype)
    ours, theirs = on_gpu(g), on_gpu(previous)
    gg, gp = doubles(len(EDGES)), doubles(len(EDGES))
    plan = cuda.Plan(EDGES)
    for _ in range(2):  # the second time g' is g, and the tickets have come back to 0
        expected = kernels.Plan(EDGES).dot_pair(g, previous, roll=roll)
        plan.dot_pair(ours, theirs, gg, gp, roll=roll, stream=current())
        assert same_bits(expected[0], gg) and same_bits(expected[1], gp)
        assert all_same(previous, theirs) and all_same(g, ours)


@pytest.mark.parametrize("roll", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dot_pairs_of_displacements_have_the_cpus_bits(dtype: Any, roll: bool) -> None:
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    lists = tensors(EDGES, 1, dtype), tensors(EDGES, 2, dtype), tensors(EDGES, 3, wide)
    ours = tuple(map(on_gpu, lists))
    gg, gp = doubles(len(EDGES)), doubles(len(EDGES))
    expected = kernels.Plan(EDGES).displacement_dot_pair(*lists, roll=roll)
    cuda.Plan(EDGES).displacement_dot_pair(*ours, gg, gp, roll=roll, stream=current())
    assert same_bits(expected[0], gg) and same_bits(expected[1], gp)
    assert all(all_same(e, a) for e, a in zip(lists, ours, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_short_number_is_widened_as_torch_does(dtype: Any) -> None:
    numbers = torch.arange(-(2**15), 2**15).short().view(dtype)
    sums = torch.zeros(2**16, device="cuda")
    cuda.Plan([2**16]).accumulate([numbers.cuda()], [sums], stream=current())
    assert torch.allclose(sums.cpu(), numbers.float(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_window_sums_have_the_cpus_bits(dtype: Any, on_device: bool) -> None:
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    g, sums = tensors(EDGES, 3, dtype), tensors(EDGES, 4, wide)
    ours, theirs = on_gpu(g), on_gpu(sums)
    kernels.Plan(EDGES).accumulate(g, sums, scale=0.3)
    scale = torch.tensor([0.3], dtype=torch.float64, device="cuda") if on_device else None
    cuda.Plan(EDGES).accumulate(ours, theirs, 7.0 if on_device else 0.3, device_scale=scale, stream=current())
    assert all_same(sums, theirs)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("regularization", ["L1", "L2"])
@pytest.mark.parametrize("drawn", [False, True])
def test_momentum_steps_have_the_cpus_bits(nesterov: bool, regularization: Any, drawn: bool) -> None:
    lists = [tensors(EDGES, seed) for seed in (1, 2, 3)]
    ours = [on_gpu(given) for given in lists]
    rates = np.linspace(0.01, 0.5, len(EDGES)).astype(np.float32)
    decays = np.linspace(0, 0.1, len(EDGES)).astype(np.float32)
    schedule = Aslr(0.03, seed=7)
    draws = cuda.Draws(0.03, 7, 41) if drawn else None
    options: dict[str, Any] = {"nesterov": nesterov, "regularization": regularization}
    plan, gpu_rates, gpu_decays = cuda.Plan(EDGES), floats(rates), floats(decays)
    for t in (41, 42, 43):
        used = schedule.rates(schedule.init(), t, len(EDGES)).astype(np.float32) * rates if drawn else rates
        kernels.Plan(EDGES).momentum_step(*lists, used, decays, 0.9, **options)
        plan.momentum_step(*ours, gpu_rates, gpu_decays, 0.9, draws=draws, stream=current(), **options)
    assert all(all_same(e, a) for e, a in zip(lists, ours, strict=True))
    assert draws is None or draws.get() == (0.03, 7, 44)


@pytest.mark.parametrize("count", [1, 5, 161, 513, 2000])
def test_draws_are_the_cpus(count: int) -> None:
    schedule = Aslr(0.002, seed=2**63 + 1)
    draws = cuda.Draws(0.002, 2**63 + 1, 10**12)
    out = doubles(count)
    for t in (10**12, 10**12 + 1):
        cuda.draw_rates(draws, out, stream=current())
        assert same_bits(schedule.rates(schedule.init(), t, count), out)
    draws.set(3.0, 1, 5)
    cuda.draw_rates(draws, out, stream=current())
    assert same_bits(Aslr(3.0, seed=1).rates(Aslr(3.0, seed=1).init(), 5, count), out)


@pytest.mark.parametrize("per_tensor", [False, True])
@pytest.mark.parametrize("source", ["gradient", "displacement"])
@pytest.mark.parametrize("variant", ["efficient", "newton", "hypergradient"])
def test_tlrs_rates_have_the_state_machines_bits(variant: str, source: str, per_tensor: bool) -> None:
    counts = [*EDGES, *[10] * 200]  # more tensors than a team has threads
    extra = {"eta": 1e-9, "min_lr": 1e-6} if variant == "hypergradient" else {}
    multipliers = [(i % 4) / 2 for i in range(len(counts))]
    schedule = Tlr(0.01, variant, source, lr_mult=multipliers, per_tensor=per_tensor, **extra)  # type: ignore[arg-type]
    state = schedule.init()
    on_device = cuda.TlrOnDevice(schedule, state)
    previous = tensors(counts, 2)
    theirs = on_gpu(previous)
    gg, gp, rates = doubles(len(counts)), doubles(len(counts)), floats(np.zeros(len(counts)))
    plan = cuda.Plan(counts)
    for window in range(4):
        g = tensors(counts, 10 + window)
        if window == 2:
            g[5][7] = np.inf
        ours = on_gpu(g)
        state = schedule.update(state, TlrWindow(*kernels.Plan(counts).dot_pair(g, previous, roll=True)))
        plan.dot_pair(ours, theirs, gg, gp, roll=True, tlr=on_device, rates=rates, stream=current())
        assert on_device.get(stream=current()) == state
        learned = np.asarray(state.rates, np.float32) * np.asarray(multipliers, np.float32)
        assert same_bits(learned, rates)


def test_lists_of_thousands_take_several_launches_and_keep_the_bits() -> None:
    counts = [int(n) for n in np.random.default_rng(5).integers(0, 3000, 4500)]
    g, previous = tensors(counts, 1), tensors(counts, 2)
    ours, theirs = on_gpu(g), on_gpu(previous)
    schedule = Tlr(0.01, lr_mult=[1.0] * len(counts))
    on_device, gg, gp = cuda.TlrOnDevice(schedule, schedule.init()), doubles(4500), doubles(4500)
    expected = kernels.Plan(counts).dot_pair(g, previous)
    cuda.Plan(counts).dot_pair(ours, theirs, gg, gp, tlr=on_device, stream=current())
    assert same_bits(expected[0], gg) and same_bits(expected[1], gp)
    assert on_device.get(stream=current()) == schedule.update(schedule.init(), TlrWindow(*expected))


def test_a_graph_replays_what_the_cpu_does_and_draws_anew() -> None:
    g, weights, history, previous = (tensors(EDGES, seed) for seed in (1, 2, 3, 4))
    n = len(EDGES)
    schedule, aslr = Tlr(0.01, lr_mult=[1.0] * n), Aslr(0.03, seed=3)
    state, decays = schedule.init(), np.full(n, 0.01, np.float32)
    ours = [cuda.TensorList(list_) for list_ in map(on_gpu, (g, weights, history, previous))]
    kept = on_gpu(weights)
    ours[1] = cuda.TensorList(kept)
    plan, learned, draws = cuda.Plan(EDGES), cuda.TlrOnDevice(schedule, state), cuda.Draws(0.03, 3)
    gg, gp, ones, gpu_decays = doubles(n), doubles(n), floats(np.ones(n)), floats(decays)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        plan.dot_pair(ours[0], ours[3], gg, gp, roll=True, tlr=learned, stream=current())
        plan.momentum_step(*ours[:3], ones, gpu_decays, 0.9, draws=draws, stream=current())
    cpu = kernels.Plan(EDGES)
    for t in range(5):
        graph.replay()
        sums = cpu.dot_pair(g, previous, roll=True)
        state = schedule.update(state, TlrWindow(*sums))
        rates = aslr.rates(aslr.init(), t, n).astype(np.float32)
        cpu.momentum_step(g, weights, history, rates, decays, 0.9)
    torch.cuda.synchronize()
    assert same_bits(sums[0], gg) and same_bits(sums[1], gp)
    assert all_same(weights, kept)
    assert learned.get() == state and draws.get() == (0.03, 3, 5)


def test_the_callers_stream_is_the_one_that_works() -> None:
    counts = [50_000_000]
    g, previous = torch.zeros(counts, device="cuda"), torch.zeros(counts, device="cuda")
    gg, gp, plan = doubles(1), doubles(1), cuda.Plan(counts)
    lists = cuda.TensorList([g]), cuda.TensorList([previous])
    side = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(200_000_000)
        g.fill_(2)
        previous.fill_(3)
    plan.dot_pair(*lists, gg, gp, stream=side)
    assert not side.query()  # the call has not waited
    side.synchronize()
    assert gg.item() == 4 * counts[0] and gp.item() == 6 * counts[0]


def test_a_call_allocates_nothing() -> None:
    g, previous = on_gpu(tensors(EDGES, 1)), on_gpu(tensors(EDGES, 2))
    ours, theirs = cuda.TensorList(g), cuda.TensorList(previous)
    gg, gp, plan = doubles(len(EDGES)), doubles(len(EDGES)), cuda.Plan(EDGES)
    sums = cuda.TensorList([gg]), cuda.TensorList([gp])
    plan.dot_pair(ours, theirs, *sums, stream=current())
    torch.cuda.synchronize()
    free = torch.cuda.mem_get_info()[0]
    for _ in range(100):
        plan.dot_pair(ours, theirs, *sums, stream=current())
    torch.cuda.synchronize()
    assert torch.cuda.mem_get_info()[0] == free


def test_a_nan_reaches_the_sums_of_its_own_tensor_only() -> None:
    g = [torch.ones(70_000, device="cuda") for _ in range(3)]
    g[1][43210] = np.nan
    gg, gp = doubles(3), doubles(3)
    cuda.Plan([70_000] * 3).dot_pair(g, [torch.ones(70_000, device="cuda")] * 3, gg, gp, stream=current())
    for sums in (gg, gp):
        assert sums.isnan().tolist() == [False, True, False] and sums[0] == sums[2] == 70_000


def test_an_empty_list_and_empty_tensors_are_fine() -> None:
    nothing = torch.empty(0, dtype=torch.float64, device="cuda")
    cuda.Plan([]).dot_pair([], [], nothing, nothing.clone(), stream=current())
    empty, gg, gp = torch.empty(0, device="cuda"), doubles(1), doubles(1)
    cuda.Plan([0]).dot_pair([empty], [empty], gg, gp, stream=current())
    assert gg.item() == gp.item() == 0


def gpu(count: int, **options: Any) -> Any:
    return torch.zeros(count, device="cuda", **options)


def wrong_calls() -> Iterator[tuple[Callable[[], Any], str]]:
    def dots(g: Any, previous: Any = None, gg: Any = None, **options: Any) -> None:
        previous = gpu(2) if previous is None else previous
        gg = doubles(1) if gg is None else gg
        cuda.Plan([2], names=["conv3.weight"]).dot_pair([g], [previous], gg, doubles(1), **options)

    yield lambda: dots(torch.zeros(2)), r"previous gradient 0 .* is on cuda:0 and its gradient on the CPU"
    yield lambda: dots(torch.zeros(2), torch.zeros(2)), r"gradient 0 \(conv3.weight\): is on the CPU, and this plan"
    yield lambda: dots(gpu(3)), r"gradient 0 \(conv3.weight\): must have as many elements .* 2, got 3"
    yield lambda: dots(gpu(4)[::2]), r"gradient 0 \(conv3.weight\): is not contiguous"
    yield lambda: dots(gpu(2, dtype=torch.int32)), r"gradient 0 \(conv3.weight\): has a dtype that no kernel knows"
    yield lambda: dots(gpu(2), gpu(2, dtype=torch.float64)), r"previous gradient 0 .*: must be float32"
    yield lambda: dots(gpu(2), gg=gpu(1)), r"gg 0: must be float64, got float32"
    yield lambda: dots(gpu(2), gg=doubles(2)), r"gg 0: must have as many elements as its list of tensors, 1, got 2"
    yield lambda: dots(gpu(2), gg=torch.zeros(1, dtype=torch.float64)), r"gg 0: is on the CPU"
    yield lambda: dots(gpu(2), rates=gpu(1)), r"rates are what tlr gives"
    yield lambda: dots(gpu(2), stream="fast"), r"stream must be a CUDA stream or its handle, got 'fast'"
    yield lambda: cuda.Plan([-1]), r"a size is below 0"
    yield lambda: cuda.Draws(0.0, 1), r"center must be a number above 0"
    both = gpu(2)
    yield lambda: dots(both, both, roll=True), r"shares memory with"
    short = Tlr(0.01, lr_mult=[1.0, 1.0])
    learned = cuda.TlrOnDevice(short, short.init())
    yield lambda: dots(gpu(2), tlr=learned), r"tlr must have an lr_mult for each tensor of the plan, got 2 for 1"


def test_wrong_input_is_named() -> None:
    for call, message in wrong_calls():
        with pytest.raises(InputError, match=message):
            call()


def test_a_device_that_is_not_there_is_said() -> None:
    with pytest.raises(RunError, match="CUDA refused: invalid device"):
        cuda.Plan([2], device=torch.cuda.device_count())
