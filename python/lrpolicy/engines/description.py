"""What a job learns, read from its files without any framework: data, network, and the task that they make.

Every engine that trains Caffe nets describes its jobs so; `lrpolicy recommend` asks here and loads no engine at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from lrpolicy.datasets import Dataset, Examples, open_source, split_validation, validation_size
from lrpolicy.errors import InputError
from lrpolicy.net import DATA_TYPES, LAYER_TYPES, Net, Shape, fingerprint, infer, parameters, weight_count
from lrpolicy.records import DatasetInfo, NetworkInfo, Protocol, Split, Task
from lrpolicy.solver import Solver


@dataclass(frozen=True)
class DataSource:
    """The data layer of one phase: its LayerParameter, and where the file names it."""

    net: Net
    layer: Any
    split: Split

    @classmethod
    def of(cls, net: Net, message: Any, split: Split) -> Self:
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
        return int(self.block.batch_size)

    @property
    def tops(self) -> tuple[str, ...]:
        """The names of images and labels."""
        return tuple(self.layer.top)

    @property
    def block(self) -> Any:
        """The parameters of the layer's type, such as data_param."""
        return getattr(self.layer, LAYER_TYPES[self.layer.type].blocks[0])

    def examples(self, data: Path | None) -> Examples:
        """What the layer reads, from `data` or from the place that it names."""
        source = getattr(self.block, "source", "")
        where = self.net.where(self.layer)
        if data is None and self.layer.type != "Data":
            rule = f"the files of a {self.layer.type} layer are not read"
            raise InputError(rule, where=where, remedy="pass --data with a folder that holds the examples")
        return open_source(source, self.split, data=data, base=Path(self.net.path).parent, where=where)


@dataclass(frozen=True)
class LoadedData:
    """The examples of a job, apart: what is trained on, what selects, what is reported."""

    train: Examples
    validation: Examples | None
    test: Examples
    info: DatasetInfo


def load_data(train: DataSource, test: DataSource, data: Path | None, protocol: Protocol) -> LoadedData:
    """Read a job's examples and split the validation set off.

    Raises InputError where files are missing or wrong, or the two phases do not fit each other.
    """
    dataset = _dataset(train, test, data)
    everything, held_out = dataset.train, dataset.test
    if protocol is Protocol.PAPER:
        return LoadedData(everything, None, held_out, dataset.info())
    kept, validation = split_validation(everything)
    return LoadedData(kept, repadded(validation, held_out.padding), held_out, dataset.info(len(validation)))


def _dataset(train: DataSource, test: DataSource, data: Path | None) -> Dataset:
    examples = train.examples(data)
    return Dataset.of(examples.name.removesuffix("/train"), examples, test.examples(data))


def repadded(examples: Examples, padding: int) -> Examples:
    """The same images with a border of `padding` zeros instead of their own."""
    own = examples.padding
    if own == padding:
        return examples
    images = examples.images[:, :, own : examples.shape[1] - own, own : examples.shape[2] - own]
    return Examples(np.ascontiguousarray(images), examples.labels, examples.name).padded(padding)


def describe(
    source: Solver | Net, data: Path | None = None, protocol: Protocol = Protocol.VALIDATION, framework: str = "torch"
) -> Task:
    """The task of a solver, or of a net with both phases: what the engine of that name describes too.

    `data` is the folder that the data layers read (None: what the net itself names).

    Raises:
        InputError: files or shapes do not fit.
    """
    if isinstance(source, Net):
        train, test = source, source
        train_message, test_message = source.for_state("TRAIN"), source.for_state("TEST")
    else:
        train, train_message = source.train_net(), source.train_parameter()
        tests, messages = source.test_nets(), source.test_parameters()
        test, test_message = (tests[0], messages[0]) if tests else (train, train.for_state("TEST"))
    feed = DataSource.of(train, train_message, Split.TRAIN)
    dataset = _dataset(feed, DataSource.of(test, test_message, Split.TEST), data)
    network = describe_network(train, train_message, {feed.layer.name: dataset.train.shape})
    held_out = 0 if protocol is Protocol.PAPER else validation_size(dataset.train)
    return Task(framework, network, dataset.info(held_out))


def describe_network(net: Net, message: Any, data_shapes: Mapping[str, Shape]) -> NetworkInfo:
    """The record of a net whose training phase is `message`. Raises InputError where its shapes do not fit."""
    shapes = infer(message, data_shapes, net.where)
    return NetworkInfo(net.name, fingerprint(net), weight_count(parameters(message, shapes, net.where)))
