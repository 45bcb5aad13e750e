"""The mean of a set of images, which Caffe's nets subtract (Caffe: tools/compute_image_mean.cpp)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrpolicy.datasets.examples import Examples

_BLOCK = 256


def mean_image(examples: Examples) -> NDArray[np.float32]:
    """The mean over all examples of every pixel: (channels, height, width) float32.

    Equal to Caffe's to the last bit while its float32 sums are exact (up to 65,793 images of bytes); beyond that
    ours, summed in double, is the more exact one.
    """
    total = np.zeros(examples.shape, np.float64)
    for start in range(0, len(examples), _BLOCK):
        block = examples.images[start : start + _BLOCK]
        total += block.sum(axis=0, dtype=np.uint32 if block.dtype == np.uint8 else np.float64)
    return (total / len(examples)).astype(np.float32)


def mean_values(examples: Examples) -> NDArray[np.float32]:
    """The mean of every channel over all pixels of all examples: (channels,) float32."""
    return np.asarray(mean_image(examples).mean(axis=(1, 2), dtype=np.float64), np.float32)
