"""From a net's data layers to feeds: the mean and the transform of their images."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrpolicy.caffemodel import read_mean
from lrpolicy.datasets import Examples, mean_image
from lrpolicy.engines.description import DataSource, LoadedData, load_data, repadded
from lrpolicy.engines.torch.feed import Transform
from lrpolicy.errors import InputError

__all__ = ["DataLayer", "LoadedData", "load_data"]

_log = logging.getLogger(__name__)


class DataLayer(DataSource):
    """The data layer of one phase, with what it does to images."""

    def transform(self, train: Examples, served: Examples, data: Path | None) -> Transform:
        """transform_param for the images of `served`.

        A mean_file that does not exist is computed from `train` when `data` is given.
        """
        param = self.layer.transform_param
        mean: NDArray[np.float32] | None = None
        if param.HasField("mean_file"):
            if param.mean_value:
                raise InputError("mean_file and mean_value exclude each other", where=self._where_transform())
            mean = self._mean(Path(param.mean_file), train, served, data)
        elif param.mean_value:
            mean = self._mean_values(list(param.mean_value), served.shape[0])
        tensor = None if mean is None else torch.from_numpy(mean)
        return Transform(tensor, param.scale, param.crop_size, param.mirror)

    def _mean(self, path: Path, train: Examples, served: Examples, data: Path | None) -> NDArray[np.float32]:
        for place in (path, Path(self.net.path).parent / path):
            if place.exists():
                mean = read_mean(place)
                if mean.shape != served.shape:
                    raise InputError(
                        f"the mean must have the images' shape {served.shape}", where=str(place), got=mean.shape
                    )
                return mean
        if data is None:
            remedy = "pass --data to have it computed from the training examples"
            raise InputError(f'mean_file "{path}" does not exist', where=self._where_transform(), remedy=remedy)
        _log.info('mean_file "%s" does not exist: the mean of %s is taken', path, train.name)
        return mean_image(repadded(train, served.padding))

    def _mean_values(self, values: list[float], channels: int) -> NDArray[np.float32]:
        if len(values) not in (1, channels):
            rule = f"mean_value must be given once, or once for each of {channels} channels"
            raise InputError(rule, where=self._where_transform(), got=len(values))
        return np.array(values, np.float32).reshape(-1, 1, 1)

    def _where_transform(self) -> str:
        return self.net.where(self.layer, "transform_param")
