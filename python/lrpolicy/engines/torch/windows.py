"""What TLR accumulates over a window, on the device: displacements or gradients, and their dot products.

Tensors that do not learn (lr_mult 0) take no part. The buffers have the weights' type, and are contiguous whatever the
weights' own order, so that a sum runs over the same numbers in the same order everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrpolicy.engines.torch.optimizers import Weight
from lrpolicy.engines.torch.scalars import Scalars
from lrpolicy.kernels import Plan, TensorList
from lrpolicy.live import LiveTlr

Tensors = list[Tensor]


class Windows:
    """The buffers of a live TLR over a net's learnable weights.

    `buffers` is what a snapshot keeps: for each tensor that learns the start of the window (the weights then, or the
    sum of the gradients since), then for each what the window before accumulated. The variant naive, which compares
    with no window before, has there the sum of the second gradients since.

    `second_pass` runs forward and backward again on the batches of an iteration and leaves the gradients in the
    weights; only the variant naive needs it.
    """

    def __init__(
        self,
        live: LiveTlr,
        weights: Sequence[Weight],
        scalars: Scalars,
        iter_size: int,
        second_pass: Callable[[int], object],
    ) -> None:
        self.live = live
        self._all = [weight.tensor for weight in weights]
        self._places = [place for place, weight in enumerate(weights) if weight.lr_mult]
        self._tensors = [self._all[place] for place in self._places]
        self._fixed = [weight.tensor for weight in weights if not weight.lr_mult]
        self._lr_mult = [weights[place].lr_mult for place in self._places]
        self._scalars, self._share = scalars, scalars.inverse(iter_size)
        self._second_pass = second_pass
        self._naive = live.schedule.variant == "naive"
        self.buffers = [
            torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
            for _ in range(2)
            for tensor in self._tensors
        ]
        self._since, self._before = self.buffers[: len(self._tensors)], self.buffers[len(self._tensors) :]

    def begin(self) -> None:
        """Start the first window where the weights stand now."""
        self._next_window()

    @torch.no_grad()
    def restore(self, buffers: Sequence[Tensor]) -> None:
        """Take over the buffers of a snapshot."""
        torch._foreach_copy_(self.buffers, list(buffers))

    def gather(self, iteration: int) -> None:
        """Take in the gradients of an iteration, before its update."""
        if self.live.moves_first:
            return
        gradients = self._gradients()
        torch._foreach_add_(self._since, gradients, alpha=self._share)
        if self._naive:
            self._look_ahead(iteration, gradients)

    def close(self, iterations: int) -> None:
        """Let the live schedule learn from the window, where one ends after so many iterations."""
        if not self.live.schedule.is_due(iterations - 1):
            return
        with torch.no_grad():
            if self.live.moves_first:
                torch._foreach_sub_(self._since, [tensor.detach() for tensor in self._tensors])
            gg, gp = dot_pairs(self._since, self._before)
        self.live.observed(self._spread(gg), self._spread(gp))
        self._next_window()

    @torch.no_grad()
    def _next_window(self) -> None:
        if self._naive:
            torch._foreach_zero_(self.buffers)
            return
        torch._foreach_copy_(self._before, self._since)
        if self.live.moves_first:
            torch._foreach_copy_(self._since, [tensor.detach() for tensor in self._tensors])
        else:
            torch._foreach_zero_(self._since)

    def _gradients(self) -> Tensors:
        return [torch.zeros_like(t) if t.grad is None else t.grad for t in self._tensors]

    def _look_ahead(self, iteration: int, gradients: Tensors) -> None:
        """Add up the gradients at w - rate * lr_mult * g (TLR paper, Algorithm 1); all else is as it was afterwards."""
        fixed = [tensor.clone() for tensor in self._fixed]  # BatchNorm's statistics see every batch once
        here = [tensor.detach().clone() for tensor in self._tensors]
        rates = np.broadcast_to(self.live.rates(range(iteration, iteration + 1))[0], len(self._all))
        with torch.no_grad():
            for place, tensor, gradient, lr_mult in zip(
                self._places, self._tensors, gradients, self._lr_mult, strict=True
            ):
                tensor.sub_(gradient, alpha=self._scalars.product(rates[place], lr_mult) * self._share)
                tensor.grad = None
        self._second_pass(iteration)
        with torch.no_grad():
            torch._foreach_add_(self._before, self._gradients(), alpha=self._share)
            torch._foreach_copy_([tensor.detach() for tensor in self._tensors], here)
            if fixed:
                torch._foreach_copy_(self._fixed, fixed)
        for tensor, gradient in zip(self._tensors, gradients, strict=True):
            tensor.grad = gradient

    def _spread(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """One number for every learnable tensor of the net, 0 for those that take no part."""
        spread = np.zeros(len(self._all))
        spread[self._places] = values
        return spread


def dot_pairs(now: Tensors, before: Tensors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """<A, A> and <A, A'> of each tensor; waits for the device once.

    On the CPU with the bits that `lrpolicy.kernels` defines, elsewhere summed in double by PyTorch.
    """
    if all(tensor.device.type == "cpu" for tensor in now):
        windows = TensorList(now, "window")
        return Plan(windows.counts).dot_pair(windows, TensorList(before, "window before"))
    own = [torch.dot(a, a) for a in map(_flat, now)]
    other = [torch.dot(_flat(a), _flat(b)) for a, b in zip(now, before, strict=True)]
    gg, gp = torch.stack([torch.stack(own), torch.stack(other)]).cpu().numpy()
    return gg, gp


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).double()
