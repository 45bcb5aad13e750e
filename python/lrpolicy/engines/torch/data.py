"""From a net's data layers to feeds: the examples, the validation split, the mean, and the record of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrpolicy.caffemodel import read_mean
from lrpolicy.datasets import Dataset, Examples, mean_image, open_source, split_validation
from lrpolicy.engines.torch.feed import Transform
from lrpolicy.errors import InputError
from lrpolicy.net import DATA_TYPES, LAYER_TYPES, Net
from lrpolicy.records import DatasetInfo, Protocol, Split

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataLayer:
    """The data layer of one phase: its LayerParameter, and where the file names it."""

    net: Net
    layer: Any
    split: Split

    @classmethod
    def of(cls, net: Net, message: Any, split: Split) -> DataLayer:
        """The only data layer among a phase's layers. Raises InputError when there is none, or more than one."""
        phase = "TRAIN" if split is Split.TRAIN else "TEST"
        found = [layer for layer in message.layer if layer.type in DATA_TYPES]
        if len(found) != 1:
            names = ", ".join(layer.name for layer in found) or "none"
            raise InputError(f"the {phase} phase needs exactly one data layer", where=net.path, got=names)
        if len(found[0].top) != 2:
            rule = f'data layer "{found[0].name}" needs two tops, images and labels'
            raise InputError(rule, where=net.where(found[0]), got=len(found[0].top))
        return cls(net, found[0], split)

    @property
    def batch_size(self) -> int:
        """Examples in a batch."""
        return int(self._block.batch_size)

    @property
    def tops(self) -> tuple[str, ...]:
        """The names of images and labels."""
        return tuple(self.layer.top)

    @property
    def _block(self) -> Any:
        return getattr(self.layer, LAYER_TYPES[self.layer.type].blocks[0])

    def examples(self, data: Path | None) -> Examples:
        """What the layer reads, from `data` or from the place that it names."""
        source = getattr(self._block, "source", "")
        where = self.net.where(self.layer)
        if data is None and self.layer.type != "Data":
            rule = f"the torch engine does not read the files of a {self.layer.type} layer"
            raise InputError(rule, where=where, remedy="pass --data with a folder that holds the examples")
        return open_source(source, self.split, data=data, base=Path(self.net.path).parent, where=where)

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
        return mean_image(_repadded(train, served.padding))

    def _mean_values(self, values: list[float], channels: int) -> NDArray[np.float32]:
        if len(values) not in (1, channels):
            rule = f"mean_value must be given once, or once for each of {channels} channels"
            raise InputError(rule, where=self._where_transform(), got=len(values))
        return np.array(values, np.float32).reshape(-1, 1, 1)

    def _where_transform(self) -> str:
        return self.net.where(self.layer, "transform_param")


@dataclass(frozen=True)
class LoadedData:
    """The examples of a job, apart: what is trained on, what selects, what is reported."""

    train: Examples
    validation: Examples | None
    test: Examples
    info: DatasetInfo


def load_data(train: DataLayer, test: DataLayer, data: Path | None, protocol: Protocol) -> LoadedData:
    """Read a job's examples and split the validation set off.

    Raises InputError where files are missing or wrong, or the two phases do not fit each other.
    """
    everything, held_out = train.examples(data), test.examples(data)
    dataset = Dataset.of(everything.name.removesuffix("/train"), everything, held_out)
    if protocol is Protocol.PAPER:
        return LoadedData(everything, None, held_out, dataset.info())
    kept, validation = split_validation(everything)
    return LoadedData(kept, _repadded(validation, held_out.padding), held_out, dataset.info(len(validation)))


def _repadded(examples: Examples, padding: int) -> Examples:
    """The same images with a border of `padding` zeros instead of their own."""
    own = examples.padding
    if own == padding:
        return examples
    images = examples.images[:, :, own : examples.shape[1] - own, own : examples.shape[2] - own]
    return Examples(np.ascontiguousarray(images), examples.labels, examples.name).padded(padding)
