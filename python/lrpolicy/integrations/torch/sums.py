"""The sums of TLR's windows: by our kernels in the CPU's memory and on NVIDIA GPUs, elsewhere by PyTorch.

The first list of a verb may have any layout; the others are contiguous buffers, which both verbs roll. Each gives
<A, A> and <A, A'> of every tensor in double, shape (2, tensors), on the first tensor's device and until the next call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from operator import is_
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lrpolicy import kernels
from lrpolicy.errors import NotAvailableError, RunError
from lrpolicy.kernels import TensorList, kernel_settings

# Elements converted to double at a time on a device without kernels: few launches matter more than the cache.
_CHUNK = 2**24


class Sums(Protocol):
    """The verbs over lists of as many tensors as there are parameters."""

    def dot_pair(self, now: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
        """Of A = now and A' = before; then before <- now."""

    def displacement_dot_pair(
        self, weights: Sequence[Tensor], start: Sequence[Tensor], before: Sequence[Tensor]
    ) -> Tensor:
        """Of A = start - weights and A' = before; then before <- A and start <- weights.

        `start` has the dtype of `weights`; `before`, in which A is computed, is at least float32.
        """


def sums_for(parameters: Sequence[Tensor], *, capturable: bool) -> Sums:
    """The kernels where they can be called for every parameter, or else PyTorch's operations.

    `capturable` wants nothing on the host: the CPU's kernels are left out then.
    """
    kinds = {parameter.device.type for parameter in parameters}
    if (kinds == {"cpu"} and not capturable) or (kinds == {"cuda"} and cuda_kernels_run()):
        return KernelSums(parameters)
    return TorchSums()


def cuda_kernels_run() -> bool:
    """Whether they were built, find a GPU, and are not forbidden by LRPOLICY_IMPL; PyTorch's "cuda" may be an AMD's."""
    settings = kernel_settings()
    if torch.version.cuda is None or (settings["forced"] and settings["implementation"] != "cuda"):
        return False
    try:
        from lrpolicy import cuda

        return bool(cuda.devices())
    except (NotAvailableError, RunError):
        return False


class KernelSums:
    """One pass for all tensors of a dtype and device; the same bits on the CPU and on a GPU, whatever the layout."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = list(parameters)
        places: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        for place, parameter in enumerate(self._parameters):
            places.setdefault((parameter.device, parameter.dtype), []).append(place)
        kinds: dict[str, type[_Part]] = {"cpu": _CpuPart, "cuda": _CudaPart}
        counts = [parameter.numel() for parameter in self._parameters]
        self._parts = [kinds[device.type](own, counts, device) for (device, _), own in places.items()]
        self._home = self._parameters[0].device

    def dot_pair(self, now: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
        """See `Sums`."""
        return self._gathered([part.sums("dot_pair", {"sum": now, "sum before": before}) for part in self._parts])

    def displacement_dot_pair(
        self, weights: Sequence[Tensor], start: Sequence[Tensor], before: Sequence[Tensor]
    ) -> Tensor:
        """See `Sums`."""
        lists = {"weight": weights, "start": start, "displacement before": before}
        return self._gathered([part.sums("displacement_dot_pair", lists) for part in self._parts])

    def _gathered(self, sums: list[Tensor]) -> Tensor:
        if len(sums) == 1:
            return sums[0]
        columns: dict[int, Tensor] = {}
        for part, own in zip(self._parts, sums, strict=True):
            columns |= zip(part.places, own.to(self._home, non_blocking=True).unbind(1), strict=True)
        return torch.stack([columns[place] for place in range(len(columns))], dim=1)

    def __reduce__(self) -> tuple[type[KernelSums], tuple[list[Tensor]]]:
        return KernelSums, (self._parameters,)


class _Part(ABC):
    """The tensors of one dtype on one device: those at `places` of the list, whose sizes are `counts`."""

    def __init__(self, places: list[int], counts: list[int], device: torch.device) -> None:
        self.places = places
        self.device = device
        self._kept: dict[str, tuple[list[Tensor], TensorList]] = {}

    @abstractmethod
    def sums(self, verb: str, lists: dict[str, Sequence[Tensor]]) -> Tensor:
        """What a plan's verb gives for our tensors of these lists, by their kind."""

    def _borrowed(self, lists: dict[str, Sequence[Tensor]]) -> list[TensorList]:
        """Our tensors of each list, borrowed anew only where one has moved: that costs a microsecond a tensor."""
        return [self._kept_or_new(kind, [tensors[place] for place in self.places]) for kind, tensors in lists.items()]

    def _kept_or_new(self, kind: str, tensors: list[Tensor]) -> TensorList:
        kept, made = self._kept.get(kind, ([], None))
        if made is not None and all(map(is_, kept, tensors)) and made.is_current():
            return made
        self._kept.pop(kind, None)
        if not all(tensor.is_contiguous() for tensor in tensors):  # copies, too large to be kept
            return TensorList([tensor.detach().contiguous() for tensor in tensors], kind)
        made = TensorList(tensors, kind)
        self._kept[kind] = tensors, made
        return made


class _CpuPart(_Part):
    def __init__(self, places: list[int], counts: list[int], device: torch.device) -> None:
        super().__init__(places, counts, device)
        self._plan = kernels.Plan([counts[place] for place in places])

    def sums(self, verb: str, lists: dict[str, Sequence[Tensor]]) -> Tensor:
        return torch.from_numpy(np.stack(getattr(self._plan, verb)(*self._borrowed(lists), roll=True)))


class _CudaPart(_Part):
    """One launch on the stream that is current at the call; nothing waits for it."""

    def __init__(self, places: list[int], counts: list[int], device: torch.device) -> None:
        from lrpolicy import cuda

        super().__init__(places, counts, device)
        self._plan = cuda.Plan([counts[place] for place in places], device=device.index)
        self._sums = torch.empty(2, len(places), dtype=torch.float64, device=device)
        with torch.cuda.device(device):  # PyTorch hands out tensors of the current device only
            self._rows = [TensorList([row], kind) for row, kind in zip(self._sums, ("gg", "gp"), strict=True)]

    def sums(self, verb: str, lists: dict[str, Sequence[Tensor]]) -> Tensor:
        stream = torch.cuda.current_stream(self.device).cuda_stream
        with torch.cuda.device(self.device):
            getattr(self._plan, verb)(*self._borrowed(lists), *self._rows, roll=True, stream=stream)
        return self._sums


class TorchSums:
    """Tensor by tensor in double, on any device, which nothing waits for."""

    def dot_pair(self, now: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
        """See `Sums`."""
        home = now[0].device
        pairs = [_dots(a, b).to(home, non_blocking=True) for a, b in zip(now, before, strict=True)]
        torch._foreach_copy_(list(before), list(now))
        return torch.stack(pairs, dim=1)

    def displacement_dot_pair(
        self, weights: Sequence[Tensor], start: Sequence[Tensor], before: Sequence[Tensor]
    ) -> Tensor:
        """See `Sums`."""
        pairs = []
        for weight, begun, last in zip(weights, start, before, strict=True):
            moved = begun.to(last.dtype) - weight.detach()
            pairs.append(_dots(moved, last).to(weights[0].device, non_blocking=True))
            last.copy_(moved)
            begun.copy_(weight.detach())
        return torch.stack(pairs, dim=1)


def _dots(a: Tensor, b: Tensor) -> Tensor:
    sums = torch.zeros(2, dtype=torch.float64, device=a.device)
    for part, other in zip(torch.split(a.reshape(-1), _CHUNK), torch.split(b.view(-1), _CHUNK), strict=True):
        wide = part.double()
        sums[0] += torch.dot(wide, wide)
        sums[1] += torch.dot(wide, other.double())
    return sums
