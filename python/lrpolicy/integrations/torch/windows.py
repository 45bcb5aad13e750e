"""What TLR accumulates over a window, for every parameter tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lrpolicy.errors import InputError
from lrpolicy.integrations.torch.sums import Sums, sums_for


def check_tensor(tensor: Tensor, name: str) -> None:
    """Raise InputError for a parameter that has no dot product here."""
    if not tensor.is_floating_point():
        raise InputError(f"{name} is {tensor.dtype}; TLR takes float64, float32, bfloat16 and float16")
    if tensor.is_meta:
        raise InputError(f"{name} is on the meta device, without values", remedy="make the scheduler when it has some")
    if hasattr(tensor, "device_mesh"):
        raise InputError(f"{name} is sharded over processes; TLR takes whole tensors")


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class Window(ABC):
    """Two contiguous buffers for each parameter: `now`, for this window, and `before`, what the last one accumulated.

    `before` is at least float32, and zeros in the first window. There are none until that begins, and no `now` after
    `drop`.
    """

    def __init__(self, parameters: Sequence[Tensor], *, capturable: bool = False) -> None:
        self.parameters = list(parameters)
        self.capturable = capturable
        self.now: list[Tensor] | None = None
        self.before: list[Tensor] | None = None
        self._sums: Sums | None = None

    def begin(self) -> None:
        """Begin a window here, where none has begun."""
        if self.now is None:
            self.now = self._start()
            self.before = self.before or self._zeros(_wide)

    def close(self, names: Callable[[], list[str]]) -> Tensor:
        """<A, A> and <A, A'> of what this window and the one before have accumulated, as `Sums` gives them.

        This window is the one before then, and the next one begins. Raises InputError, naming the parameter, for one
        that has become another, or whose storage was freed.
        """
        assert self.now is not None
        assert self.before is not None
        self._check(names)
        if self._sums is None:
            self._sums = sums_for(self.parameters, capturable=self.capturable)
        return self._close(self._sums, self.now, self.before)

    def _check(self, names: Callable[[], list[str]]) -> None:
        assert self.before is not None
        for index, (parameter, buffer) in enumerate(zip(self.parameters, self.before, strict=True)):
            if parameter.shape != buffer.shape or _wide(parameter.dtype) != buffer.dtype:
                rule = f"{names()[index]} is no longer of the shape {tuple(buffer.shape)} and the dtype it had"
                got = f"{tuple(parameter.shape)}, {parameter.dtype}"
                raise InputError(rule, got=got, remedy="make the scheduler anew")
            if parameter.untyped_storage().nbytes() == 0 < parameter.numel():
                raise InputError(f"{names()[index]} has no memory", remedy="give it its storage back before step()")

    def drop(self) -> None:
        """Begin this window again."""
        self.now = None

    def _zeros(self, dtype_of: Callable[[torch.dtype], torch.dtype]) -> list[Tensor]:
        return [torch.zeros(p.shape, dtype=dtype_of(p.dtype), device=p.device) for p in self.parameters]

    @staticmethod
    @abstractmethod
    def _dtype_now(dtype: torch.dtype) -> torch.dtype:
        """The dtype of a parameter's buffer `now`."""

    @abstractmethod
    def _start(self) -> list[Tensor]:
        """Buffers `now` for a window that begins here."""

    @abstractmethod
    def _close(self, sums: Sums, now: list[Tensor], before: list[Tensor]) -> Tensor:
        """The sums; the buffers are those of the next window then."""

    def state_dict(self) -> dict[str, Any]:
        """The buffers themselves, not copies, as an optimizer gives its own."""
        return {"now": self.now, "before": self.before}

    def load_state_dict(self, state: object, names: Sequence[str]) -> None:
        """Copy the buffers of a saved state. Raises InputError, naming the tensor, where one does not fit."""
        if not isinstance(state, Mapping):
            raise InputError("the window of a state is a mapping", got=repr(state))
        now = self._fitting(state.get("now"), self._dtype_now, names)
        before = self._fitting(state.get("before"), _wide, names)
        self.now = now
        self.before = before if before is not None or now is None else self._zeros(_wide)

    def _fitting(
        self, saved: object, dtype_of: Callable[[torch.dtype], torch.dtype], names: Sequence[str]
    ) -> list[Tensor] | None:
        if saved is None:
            return None
        if not isinstance(saved, list) or len(saved) != len(self.parameters):
            got = f"{len(saved)} tensors" if isinstance(saved, list) else f"a {type(saved).__name__}"
            raise InputError(f"this state must have a window of {len(self.parameters)} tensors", got=got)
        for name, tensor, parameter in zip(names, saved, self.parameters, strict=True):
            if not isinstance(tensor, Tensor) or tensor.shape != parameter.shape:
                shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else repr(tensor)
                raise InputError(f"{name} has the shape {tuple(parameter.shape)}, this state another", got=shape)
        return [buffer.copy_(tensor) for buffer, tensor in zip(self._zeros(dtype_of), saved, strict=True)]


class Displacement(Window):
    """The weights at the window's start less those at its end (TLR paper, equation 10): no work between the two."""

    @staticmethod
    def _dtype_now(dtype: torch.dtype) -> torch.dtype:
        return dtype

    def _start(self) -> list[Tensor]:
        return [parameter.detach().clone(memory_format=torch.contiguous_format) for parameter in self.parameters]

    def _close(self, sums: Sums, now: list[Tensor], before: list[Tensor]) -> Tensor:
        return sums.displacement_dot_pair(self.parameters, now, before)


class GradientSum(Window):
    """The sum of the window's gradients; a tensor without one in an update adds nothing there."""

    _dtype_now = staticmethod(_wide)

    def _start(self) -> list[Tensor]:
        return self._zeros(_wide)

    def add(self, names: Callable[[], list[str]], scale: float = 1.0) -> None:
        """Add the gradients of one update, unscaled.

        Raises InputError, naming the parameter, for a sparse one, and one of another shape than the window's.

        Gradients move from update to update (`zero_grad`), and to borrow them for the kernels' `accumulate` would cost
        more than this addition, which is one pass too and has the same bits where the scale is a power of two.
        """
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
        if not sums:
            return
        try:
            torch._foreach_add_(sums, gradients, alpha=scale)
        except RuntimeError:
            self._check(names)
            raise

    def _close(self, sums: Sums, now: list[Tensor], before: list[Tensor]) -> Tensor:
        dots = sums.dot_pair(now, before)
        torch._foreach_zero_(now)
        return dots
