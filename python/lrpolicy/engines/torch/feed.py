"""Batches for a net: which examples an iteration sees, and what Caffe's transform_param makes of them.

The examples of a step, their crops and their mirrors are pure functions of (seed, step): resuming needs no cursor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lrpolicy.datasets import Examples
from lrpolicy.engines.torch.layers import StepRandom
from lrpolicy.engines.torch.placement import placed

# Datasets up to this size are transformed once and kept as numbers; larger ones stay bytes until a batch needs them.
_LARGEST_KEPT = 1 << 30
_CHUNK = 4096


@dataclass(frozen=True)
class Transform:
    """Caffe's transform_param: the mean first, then the scale; a crop of crop_size, a mirror by chance.

    `mean` broadcasts over (channels, height, width). Crops lie at random places in training, in the middle in testing;
    mirrors are drawn in both. `dtype` is the type in which it is computed.
    """

    mean: Tensor | None = None
    scale: float = 1.0
    crop_size: int = 0
    mirror: bool = False
    dtype: torch.dtype = torch.float32

    def is_random(self, training: bool) -> bool:
        """Whether two passes over one image may differ."""
        return self.mirror or (training and self.crop_size > 0)

    def normalized(self, images: Tensor) -> Tensor:
        """(images - mean) * scale as `dtype`; (n, c, h, w) in and out."""
        values = images.to(self.dtype)
        if self.mean is not None:
            values = values - self.mean
        return values * self.scale if self.scale != 1 else values

    def centered(self, images: Tensor) -> Tensor:
        """The middle crop."""
        if not self.crop_size:
            return images
        top, left = ((side - self.crop_size) // 2 for side in images.shape[2:])
        return images[:, :, top : top + self.crop_size, left : left + self.crop_size]

    def randomized(self, images: Tensor, random: torch.Generator, training: bool) -> Tensor:
        """Each image cropped and mirrored by itself."""
        at_random = self.crop_size and training
        images = _cropped(images, self.crop_size, random) if at_random else self.centered(images)
        if self.mirror:
            flips = torch.randint(2, (len(images), 1, 1, 1), generator=random, device=images.device)
            images = torch.where(flips.bool(), images.flip(3), images)
        return images


class Feed:
    """The examples of one data layer, as batches of one size on one device.

    `images` is (n, c, h, w) uint8 (or float32), `labels` (n,) int64. The order is the dataset's, round and round.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        transform: Transform,
        batch_size: int,
        device: torch.device,
        *,
        training: bool,
    ) -> None:
        mean = None if transform.mean is None else transform.mean.to(device)
        self._transform, self._training, self.batch_size = replace(transform, mean=mean), training, batch_size
        self._random = StepRandom(0, device) if transform.is_random(training) else None
        self._ready = self._random is None and images.numel() * transform.dtype.itemsize <= _LARGEST_KEPT
        self.labels = labels.to(device)
        self._images = placed(self._transformed(images, device) if self._ready else images, device)

    @classmethod
    def of(
        cls, examples: Examples, transform: Transform, batch_size: int, device: torch.device, *, training: bool
    ) -> Feed:
        """The feed of a set of examples."""
        images, labels = torch.from_numpy(examples.images), torch.from_numpy(examples.labels)
        return cls(images, labels, transform, batch_size, device, training=training)

    def seed(self, seed: int) -> None:
        """Choose the crops and mirrors of the steps to come."""
        if self._random is not None:
            self._random.seed = ~seed  # not those of the layers' random numbers

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (batch, c, h, w), of the transform's dtype, and labels (batch,) of one step."""
        start = step * self.batch_size % len(self)
        stop = start + self.batch_size
        if stop <= len(self):
            images, labels = self._images[start:stop], self.labels[start:stop]
        else:
            index = torch.arange(start, stop, device=self.labels.device) % len(self)
            images, labels = self._images[index], self.labels[index]
        return (images if self._ready else self._prepared(images, step)), labels

    def whole(self) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Every example once, in full batches: (images, labels, how many of them are new)."""
        for step in range(-(-len(self) // self.batch_size)):
            images, labels = self.batch(step)
            yield images, labels, min(self.batch_size, len(self) - step * self.batch_size)

    def _prepared(self, images: Tensor, step: int) -> Tensor:
        values = self._transform.normalized(images)
        if self._random is None:
            return self._transform.centered(values)
        self._random.begin(step)
        return self._transform.randomized(values, self._random.generator, self._training)

    def _transformed(self, images: Tensor, device: torch.device) -> Tensor:
        transform, parts = self._transform, torch.split(images, _CHUNK)
        return torch.cat([transform.centered(transform.normalized(part.to(device))) for part in parts])


def _cropped(images: Tensor, size: int, random: torch.Generator) -> Tensor:
    count, channels, height, width = images.shape
    device = images.device
    rows, columns = (
        torch.randint(side - size + 1, (count, 1), generator=random, device=device) + torch.arange(size, device=device)
        for side in (height, width)
    )
    example = torch.arange(count, device=device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=device).view(1, -1, 1, 1)
    return images[example, channel, rows.view(count, 1, size, 1), columns.view(count, 1, 1, size)]
