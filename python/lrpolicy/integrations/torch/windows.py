"""What TLR accumulates over a window, for every parameter tensor, and the dot products of two windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrpolicy.errors import InputError
from lrpolicy.kernels import Plan, TensorList

# Elements converted to double at a time on a device without kernels: few launches matter more than the cache.
_CHUNK = 2**24


def dot_pair(now: Sequence[Tensor], before: Sequence[Tensor] | None, *, capturable: bool = False) -> Tensor:
    """<now, now> and <now, before> of each pair of contiguous tensors, in double: shape (2, tensors).

    Tensors in the CPU's memory give the bits that `lrpolicy.kernels` defines. Elsewhere PyTorch adds in double, and
    nothing waits for it; `capturable` asks for that everywhere, for a graph sees no other work than PyTorch's. The
    result lies on the first tensor's device. Without `before` the second row is zeros.
    """
    if not capturable and all(tensor.device.type == "cpu" for tensor in now):
        return _dot_pair_on_cpu(now, before)
    home = now[0].device
    pairs = [_dots(a, None if before is None else before[index]) for index, a in enumerate(now)]
    return torch.stack([pair.to(home, non_blocking=True) for pair in pairs], dim=1)


def _dot_pair_on_cpu(now: Sequence[Tensor], before: Sequence[Tensor] | None) -> Tensor:
    sums = np.zeros((2, len(now)))
    for dtype in {tensor.dtype for tensor in now}:
        places = [place for place, tensor in enumerate(now) if tensor.dtype == dtype]
        own = TensorList([now[place] for place in places], "window")
        other = own if before is None else TensorList([before[place] for place in places], "window before")
        gg, gp = Plan(own.counts).dot_pair(own, other)
        sums[0, places] = gg
        if before is not None:
            sums[1, places] = gp
    return torch.from_numpy(sums)


def _dots(a: Tensor, b: Tensor | None) -> Tensor:
    sums = torch.zeros(2, dtype=torch.float64, device=a.device)
    parts = torch.split(a.view(-1), _CHUNK)
    others = [None] * len(parts) if b is None else torch.split(b.view(-1), _CHUNK)
    for part, other in zip(parts, others, strict=True):
        wide = part.double()
        sums[0] += torch.dot(wide, wide)
        if other is not None:
            sums[1] += torch.dot(wide, other.double())
    return sums


def check_tensor(tensor: Tensor, name: str) -> None:
    """Raise InputError for a parameter that has no dot product here."""
    if not tensor.is_floating_point():
        raise InputError(f"{name} is {tensor.dtype}; TLR takes float64, float32, bfloat16 and float16")
    if hasattr(tensor, "device_mesh"):
        raise InputError(f"{name} is sharded over processes; TLR takes whole tensors")


def _buffer(tensor: Tensor, *, zero: bool = False) -> Tensor:
    """A contiguous copy, at least float32."""
    wide = torch.promote_types(tensor.dtype, torch.float32)
    fresh = torch.zeros(tensor.shape, dtype=wide, device=tensor.device)
    return fresh if zero else fresh.copy_(tensor.detach())


class Window(ABC):
    """Two buffers for each parameter, this window's and the one before's (None until there was one)."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        self.now: list[Tensor] | None = None
        self.before: list[Tensor] | None = None

    def begin(self) -> None:
        """Make this window's buffers, where there are none."""
        if self.now is None:
            self.now = self._fresh()

    @abstractmethod
    def _fresh(self) -> list[Tensor]:
        """Buffers for a window that begins now."""

    @abstractmethod
    def close(self) -> list[Tensor]:
        """What this window has accumulated, A."""

    def roll(self) -> None:
        """Let a closed window be the one before; its buffers change places with those."""
        self.now, self.before = self.before, self.now
        if self.now is None:
            self.begin()
        else:
            self._restart(self.now)

    @abstractmethod
    def _restart(self, buffers: list[Tensor]) -> None:
        """Make used buffers those of a window that begins now."""

    def drop(self) -> None:
        """Begin this window again."""
        self.now = None

    def state_dict(self) -> dict[str, Any]:
        """The buffers themselves, not copies, as an optimizer gives its own."""
        return {"now": self.now, "before": self.before}

    def load_state_dict(self, state: object, names: Sequence[str]) -> None:
        """Copy the buffers of a saved state. Raises InputError, naming the tensor, where one does not fit."""
        if not isinstance(state, Mapping):
            raise InputError("the window of a state is a mapping", got=repr(state))
        loaded = {key: self._fitting(state.get(key), names) for key in ("now", "before")}
        self.now, self.before = loaded["now"], loaded["before"]

    def _fitting(self, saved: object, names: Sequence[str]) -> list[Tensor] | None:
        if saved is None:
            return None
        if not isinstance(saved, list) or len(saved) != len(self.parameters):
            got = f"{len(saved)} tensors" if isinstance(saved, list) else f"a {type(saved).__name__}"
            raise InputError(f"this state must have a window of {len(self.parameters)} tensors", got=got)
        buffers = []
        for name, tensor, parameter in zip(names, saved, self.parameters, strict=True):
            if not isinstance(tensor, Tensor) or tensor.shape != parameter.shape:
                shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else repr(tensor)
                raise InputError(f"{name} has the shape {tuple(parameter.shape)}, this state another", got=shape)
            buffers.append(_buffer(parameter, zero=True).copy_(tensor))
        return buffers


class Displacement(Window):
    """The weights at the window's start less those at its end (TLR paper, equation 10): no work between the two."""

    def _fresh(self) -> list[Tensor]:
        return [_buffer(parameter) for parameter in self.parameters]

    def close(self) -> list[Tensor]:
        """How far the weights have come, against their direction."""
        assert self.now is not None
        torch._foreach_sub_(self.now, [parameter.detach() for parameter in self.parameters])
        return self.now

    def _restart(self, buffers: list[Tensor]) -> None:
        torch._foreach_copy_(buffers, [parameter.detach() for parameter in self.parameters])


class GradientSum(Window):
    """The sum of the window's gradients; a tensor without one in an update adds nothing there."""

    def _fresh(self) -> list[Tensor]:
        return [_buffer(parameter, zero=True) for parameter in self.parameters]

    def add(self, names: Callable[[], list[str]], scale: float = 1.0) -> None:
        """Add the gradients of one update, unscaled. Raises InputError, naming the parameter, for a sparse one."""
        assert self.now is not None
        sums, gradients = [], []
        for index, (total, parameter) in enumerate(zip(self.now, self.parameters, strict=True)):
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.layout is not torch.strided:
                remedy = 'use source="displacement", which needs no gradients'
                raise InputError(f"the gradient of {names()[index]} is sparse", got=str(gradient.layout), remedy=remedy)
            sums.append(total)
            gradients.append(gradient.detach())
        if sums:
            torch._foreach_add_(sums, gradients, alpha=scale)

    def close(self) -> list[Tensor]:
        """The sum."""
        assert self.now is not None
        return self.now

    def _restart(self, buffers: list[Tensor]) -> None:
        torch._foreach_zero_(buffers)
