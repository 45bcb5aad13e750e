"""From a net's data layers to feeds: the mean and the transform of their images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrpolicy.datasets import Examples
from lrpolicy.engines.description import DataSource
from lrpolicy.engines.torch.feed import Transform
from lrpolicy.errors import InputError


def transform_of(
    source: DataSource, train: Examples, served: Examples, data: Path | None, dtype: torch.dtype
) -> Transform:
    """transform_param for the images of `served`, computed in `dtype`.

    Raises InputError where its mean is missing or does not fit.
    """
    param = source.layer.transform_param
    mean: NDArray[np.float32] | None = source.mean_image(train, served, data)
    if mean is None and param.mean_value:
        mean = _mean_values(source, served.shape[0])
    tensor = None if mean is None else torch.from_numpy(mean)
    return Transform(tensor, param.scale, param.crop_size, param.mirror, dtype)


def _mean_values(source: DataSource, channels: int) -> NDArray[np.float32]:
    values = list(source.layer.transform_param.mean_value)
    if len(values) not in (1, channels):
        rule = f"mean_value must be given once, or once for each of {channels} channels"
        raise InputError(rule, where=source.net.where(source.layer, "transform_param"), got=len(values))
    return np.array(values, np.float32).reshape(-1, 1, 1)
