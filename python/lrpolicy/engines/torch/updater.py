"""One update of a training: forward and backward over its batches, then the optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrpolicy.engines.torch.feed import Feed
from lrpolicy.engines.torch.graphs import GraphedPass
from lrpolicy.engines.torch.layers import StepRandom
from lrpolicy.engines.torch.net import TorchNet
from lrpolicy.engines.torch.optimizers import Optimizer, Weight
from lrpolicy.engines.torch.windows import Windows

Rate = float | Sequence[float]


@dataclass
class Updater:
    """Does one update at a time: forward and backward over iter_size batches, then the optimizer.

    `windows` takes in every gradient where TLR accumulates them. `graphed` does a pass as one CUDA graph.
    """

    net: TorchNet
    feed: Feed
    tops: tuple[str, ...]
    optimizer: Optimizer
    random: StepRandom
    iter_size: int
    windows: Windows | None = None
    graphed: GraphedPass | None = None

    def update(self, iteration: int, rate: Rate) -> Tensor:
        """Update number `iteration` (0-based); returns its loss, still on the device."""
        loss = self.gradients(iteration)
        if self.windows is not None:
            self.windows.gather(iteration)
        self.optimizer.apply(rate, iteration)
        return loss

    def gradients(self, iteration: int) -> Tensor:
        """The passes of an update, which leave its gradients in the weights; returns its loss."""
        losses = [self._accumulate(iteration * self.iter_size + part) for part in range(self.iter_size)]
        return losses[0] if self.iter_size == 1 else torch.stack(losses).mean()

    def _accumulate(self, step: int) -> Tensor:
        if self.graphed is not None:
            return self.graphed(*self.feed.batch(step))
        self.random.begin(step)
        loss = self._loss(*self.feed.batch(step))
        if loss.requires_grad:  # not where no layer learns (every lr_mult 0), which Caffe trains too
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.net.run(dict(zip(self.tops, (images, labels), strict=False)))

    def graph(self, weights: Sequence[Weight]) -> None:
        """Do the passes to come as a CUDA graph, where each is the same work on the same memory.

        Not so where gradients add up over batches or two passes' gradients are compared, where layers draw, or where
        nothing learns.
        """
        naive = self.windows is not None and self.windows.live.schedule.variant == "naive"
        learned = [weight.tensor for weight in weights if weight.lr_mult]
        if learned and self.iter_size == 1 and not naive and not self.net.draws:
            kept = [weight.tensor for weight in weights if not weight.lr_mult]
            self.graphed = GraphedPass(self._loss, learned, kept)
