"""PyTorch's TLR on a GPU goes through the kernels, and learns the rates that it learns on the CPU, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lrpolicy.integrations.torch import TLR  # noqa: E402
from lrpolicy.integrations.torch.sums import KernelSums, TorchSums, cuda_kernels_run, sums_for  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that PyTorch can use"),
    pytest.mark.skipif(not cuda_kernels_run(), reason="lrpolicy.cuda was not built, or LRPOLICY_IMPL forbids it"),
]

SHAPES = [(70, 80), (1,), (0,), (3, 4, 5, 5), (4097,)]
UPDATES = 60


def numbers(t: int, dtype: Any = torch.float32) -> list[Any]:
    """The same numbers for the same t, drifting so that windows agree at first and not later."""
    random = torch.Generator().manual_seed(t)
    drift = 1 - t / 20
    return [(drift + torch.randn(*shape, generator=random)).to(dtype) for shape in SHAPES]


class Replayed(torch.optim.Optimizer):
    """Moves the weights as it is told, so that they are the same on every device."""

    def __init__(self, parameters: list[Any], lr: Any) -> None:
        super().__init__(parameters, {"lr": lr})
        self.to: list[Any] = []

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for weight, place in zip((p for g in self.param_groups for p in g["params"]), self.to, strict=True):
            weight.copy_(place)


def weights_after(updates: int) -> list[Any]:
    sums = [torch.zeros(shape) for shape in SHAPES]
    for t in range(updates):
        sums = [a - 0.01 * b for a, b in zip(sums, numbers(t), strict=True)]
    return sums


def fresh(device: str, capturable: bool = False, **options: Any) -> tuple[list[Any], Replayed, TLR]:
    parameters = [torch.zeros(shape, device=device, requires_grad=True) for shape in SHAPES]
    parameters[3].data = parameters[3].data.contiguous(memory_format=torch.channels_last)
    lr = torch.tensor(0.01, device=device)
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], "lr": lr * 0.3}]
    optimizer = Replayed(groups, lr)  # type: ignore[arg-type]
    return parameters, optimizer, TLR(optimizer, 12, capturable=capturable, **options)


def run(device: str, **options: Any) -> list[Any]:
    """The state and the rates after every update; gradients lie elsewhere each time."""
    parameters, optimizer, scheduler = fresh(device, **options)
    seen = []
    for t in range(UPDATES):
        optimizer.zero_grad(set_to_none=True)
        for parameter, gradient in zip(parameters, numbers(t), strict=True):
            parameter.grad = gradient.to(device, copy=True)
        optimizer.to = [weight.to(device) for weight in weights_after(t + 1)]
        optimizer.step()
        seen.append((scheduler.state, [group["lr"].item() for group in optimizer.param_groups]))
    assert isinstance(scheduler._window._sums, KernelSums)
    return seen


@pytest.mark.parametrize("per_tensor", [False, True])
@pytest.mark.parametrize("source", ["displacement", "gradient"])
def test_the_trace_is_the_cpus(source: str, per_tensor: bool) -> None:
    trace = run("cuda", source=source, per_tensor=per_tensor)
    assert trace == run("cpu", source=source, per_tensor=per_tensor)
    assert len({rates[0] for _, rates in trace}) > 8


def test_the_trace_is_the_same_on_a_stream_of_ones_own() -> None:
    with torch.cuda.stream(torch.cuda.Stream()):
        trace = run("cuda")
    assert trace == run("cpu")


@pytest.mark.parametrize("per_tensor", [False, True])
def test_a_graphed_trace_has_the_cpus_rates(per_tensor: bool) -> None:
    """The state on the device is the machine's to the bit with a rate for each tensor, else but for a sum's order."""
    expected = run("cpu", per_tensor=per_tensor)
    parameters, optimizer, scheduler = fresh("cuda", capturable=True, per_tensor=per_tensor)
    optimizer.to = [torch.zeros(shape, device="cuda") for shape in SHAPES]
    optimizer.step()  # warms up
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        optimizer.step()
    scheduler.restart()
    for t in range(UPDATES):
        for place, weight in zip(optimizer.to, weights_after(t + 1), strict=True):
            place.copy_(weight)
        graph.replay()
        scheduler.step()
        state, rates = expected[t]
        assert [group["lr"].item() for group in optimizer.param_groups] == rates
        if per_tensor:
            assert scheduler.state == state
        else:
            assert scheduler.state.rates == pytest.approx(state.rates, rel=1e-12)
    assert isinstance(scheduler._window._sums, KernelSums)
    assert all(map(torch.equal, (p.cpu() for p in parameters), weights_after(UPDATES)))


@pytest.mark.parametrize("dtypes", [[torch.float32], [torch.float32, torch.bfloat16, torch.float64, torch.float16]])
def test_sums_of_every_dtype_have_the_cpus_bits(dtypes: list[Any]) -> None:
    def lists(device: str) -> list[list[Any]]:
        made: list[list[Any]] = [[], [], []]
        for dtype in dtypes:
            wide = torch.promote_types(dtype, torch.float32)
            for list_, t, kind in zip(made, (1, 2, 3), (dtype, dtype, wide), strict=True):
                list_ += [tensor.to(device) for tensor in numbers(t, kind)]
        return made

    here, there = lists("cpu"), lists("cuda")
    assert isinstance(sums_for(there[0], capturable=True), KernelSums)
    for _ in range(2):
        dots = KernelSums(there[0]).displacement_dot_pair(*there)
        assert torch.equal(dots.cpu(), KernelSums(here[0]).displacement_dot_pair(*here))
        for own, expected in zip(there, here, strict=True):
            assert all(map(torch.equal, (tensor.cpu() for tensor in own), expected))
    other = lists("cuda")
    torch.testing.assert_close(
        TorchSums().displacement_dot_pair(*other), KernelSums(here[0]).displacement_dot_pair(*lists("cpu")).cuda()
    )
