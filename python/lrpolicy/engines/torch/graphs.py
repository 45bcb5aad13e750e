"""The passes of an update as one CUDA graph: a small net's hundreds of kernels in one launch.

A pass of ResNet-32 launches some 900 kernels, each shorter on a GPU than its launch on the host; a captured graph
starts them all at once. The numbers are those of the eager pass: the same kernels run in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Passes before the capture: libraries choose their algorithms and take their workspaces in them.
_WARM_UP = 3


class GraphedPass:
    """Forward and backward over one batch, captured on its first call and replayed from then on.

    `run` takes the images and labels of a batch and gives the loss; it may neither draw random numbers nor read a
    value back. Each call leaves gradients in `learned`, which hold until the next one. `kept` are the tensors that a
    pass changes (BatchNorm's sums): the passes before the capture leave no trace in them.
    """

    def __init__(
        self, run: Callable[[Tensor, Tensor], Tensor], learned: Sequence[Tensor], kept: Sequence[Tensor]
    ) -> None:
        self._run, self._learned, self._kept = run, list(learned), list(kept)
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch, on the device. Images and labels have the shapes of the first call."""
        if self._graph is None:
            self._capture(images, labels)
        assert self._graph is not None
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        for tensor, gradient in zip(self._learned, self._gradients, strict=True):
            tensor.grad = gradient
        return self._loss.clone()

    def _capture(self, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images.clone(), labels.clone()
        before = [tensor.detach().clone() for tensor in self._kept]
        side = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._pass()
        torch.cuda.current_stream(images.device).wait_stream(side)
        self._forget_gradients()  # so that the capture makes new ones, in the graph's own memory
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._loss = self._pass()
        self._gradients = [tensor.grad for tensor in self._learned]
        with torch.no_grad():
            for tensor, value in zip(self._kept, before, strict=True):
                tensor.copy_(value)
        self._graph = graph

    def _pass(self) -> Tensor:
        self._forget_gradients()
        loss = self._run(self._images, self._labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _forget_gradients(self) -> None:
        for tensor in self._learned:
            tensor.grad = None
