"""What a job learns, read from its files without any framework: data, network, and the task that they make.

Every engine that trains Caffe nets describes its jobs so; `lrpolicy recommend` asks here and loads no engine at all.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from lrpolicy.caffemodel import Array, read_mean
from lrpolicy.datasets import Dataset, Examples, mean_image, open_source, split_validation, validation_size
from lrpolicy.errors import InputError
from lrpolicy.net import (
    DATA_TYPES,
    LAYER_TYPES,
    Net,
    Parameter,
    Shape,
    fingerprint,
    infer,
    other_loss,
    parameters,
    weight_count,
)
from lrpolicy.prototxt.messages import enum_name
from lrpolicy.records import DatasetInfo, NetworkInfo, Protocol, Split, Task
from lrpolicy.solver import Solver

_log = logging.getLogger(__name__)


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
            names = ", ".join(layer.name for layer in found)
            others = ", ".join(f'"{layer.name}" ({layer.type})' for layer in message.layer if not layer.bottom)
            remedy = None if found else f"take one of the types that are read: {', '.join(sorted(DATA_TYPES))}"
            rule = f"the {phase} phase needs exactly one data layer"
            raise InputError(rule, where=net.path, got=names or others or "none", remedy=remedy)
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
        if data is None and self.block.HasField("backend") and enum_name(self.block, "backend") == "LEVELDB":
            remedy = "pass --data with a folder that holds the examples, or name an LMDB and set backend: LMDB"
            raise InputError(
                "a LevelDB is not read", where=self.net.where(self.layer, "data_param", "backend"), remedy=remedy
            )
        return open_source(source, self.split, data=data, base=Path(self.net.path).parent, where=where)

    def mean_image(self, train: Examples, served: Examples, data: Path | None) -> Array | None:
        """The mean_file of transform_param, (channels, height, width) like the images of `served`; None without one.

        A file that does not exist is computed from `train` when `data` is given. Raises InputError where it is neither
        there nor to be computed, or has another shape.
        """
        param, where = self.layer.transform_param, self.net.where(self.layer, "transform_param")
        if not param.HasField("mean_file"):
            return None
        if param.mean_value:
            raise InputError("mean_file and mean_value exclude each other", where=where)
        path = Path(param.mean_file)
        for place in (path, Path(self.net.path).parent / path):
            if place.exists():
                mean = read_mean(place)
                if mean.shape != served.shape:
                    rule = f"the mean must have the images' shape {served.shape}"
                    raise InputError(rule, where=str(place), got=mean.shape)
                return mean
        if data is None:
            remedy = "pass --data to have it computed from the training examples"
            raise InputError(f'mean_file "{path}" does not exist', where=where, remedy=remedy)
        _log.info('mean_file "%s" does not exist: the mean of %s is taken', path, train.name)
        return mean_image(repadded(train, served.padding))


class Scores(NamedTuple):
    """The blob that holds a classifier's scores (n, classes), and how many classes that is."""

    blob: str
    classes: int


@dataclass(frozen=True)
class Phases:
    """The two phases of a net, filtered, each with its only data layer."""

    train: Net
    train_message: Any
    train_data: DataSource
    test: Net
    test_message: Any
    test_data: DataSource

    @classmethod
    def of(cls, source: Solver | Net) -> Self:
        """The phases of a solver (its first test net), or of a net. Raises InputError where files do not fit."""
        if isinstance(source, Net):
            train, test = source, source
            train_message, test_message = source.for_state("TRAIN"), source.for_state("TEST")
        else:
            train, train_message = source.train_net(), source.train_parameter()
            tests, messages = source.test_nets(), source.test_parameters()
            test, test_message = (tests[0], messages[0]) if tests else (train, train.for_state("TEST"))
        return cls(
            train,
            train_message,
            DataSource.of(train, train_message, Split.TRAIN),
            test,
            test_message,
            DataSource.of(test, test_message, Split.TEST),
        )

    @property
    def other_loss(self) -> str | None:
        """Why a measurement has no train_loss: the training loss is not the mean cross-entropy of the scores.

        None where it is, and for a net that is no classifier, which has no measurements.
        """
        scored = self._scored()
        found = scored and other_loss(self.train_message, [*scored.bottom[:1], self.train_data.tops[1]])
        if not found:
            return None
        layer, reason = found
        where = self.train.path if layer is None else self.train.where(layer)
        return f"{where}: the training loss is no mean cross-entropy, and LD is left out: {reason}"

    def check_weights(self, train: Sequence[Parameter], test: Sequence[Parameter]) -> None:
        """Raises InputError where a layer has other weights in the test phase than the trained one of its name.

        `train` and `test` are the parameters of the two phases (Caffe's Net::ShareTrainedLayersWith).
        """
        trained = {layer.name: shapes for layer, shapes in _weight_shapes(self.train_message, train)}
        for layer, shapes in _weight_shapes(self.test_message, test):
            if (wanted := trained.get(layer.name, shapes)) != shapes:
                rule = f'layer "{layer.name}" has weights of shape {wanted} in the TRAIN phase'
                remedy = "give both phases the same layer, and bottoms of the same shape"
                raise InputError(rule, where=self.test.where(layer), got=f"{shapes} in the TEST phase", remedy=remedy)

    @property
    def notes(self) -> list[str]:
        """What the user should know of the nets: what was upgraded or is ignored, and why LD is left out."""
        own = dict.fromkeys((*self.train.notes, *self.test.notes))
        return [*own, *([self.other_loss] if self.other_loss else [])]

    def _scored(self) -> Any | None:
        """The last SoftmaxWithLoss, of the test phase where it has one."""
        for message in (self.test_message, self.train_message):
            if losses := [layer for layer in message.layer if layer.type == "SoftmaxWithLoss"]:
                return losses[-1]
        return None

    def scores(self, test_shapes: Mapping[int, tuple[Sequence[Shape], Sequence[Shape]]], class_count: int) -> Scores:
        """The scores of the test phase: what the last SoftmaxWithLoss reads.

        `test_shapes` is what `infer` says of the test phase. Raises InputError for a net that is no classifier, or has
        fewer classes than the data.
        """
        scored = self._scored()
        if scored is None:
            rule = "the net is not a classifier with a SoftmaxWithLoss layer, which the metrics need"
            raise InputError(rule, where=self.train.path, remedy="add one that reads the scores and the labels")
        blob, where = scored.bottom[0], self.test.path
        shapes = [
            shape
            for index, layer in enumerate(self.test_message.layer)
            for name, shape in zip(layer.top, test_shapes[index][1], strict=False)
            if name == blob
        ]
        if not shapes:
            rule = f'the scores "{blob}" that "{scored.name}" reads do not exist in the TEST phase'
            raise InputError(rule, where=where, remedy="include the layers that make them in both phases")
        classes = math.prod(shapes[-1][1:])
        if len(shapes[-1]) < 2 or shapes[-1][1] != classes:
            rule = f'the scores "{blob}" must have one number for each class'
            raise InputError(rule, where=where, got=shapes[-1])
        if classes < class_count:
            rule = f'the data has {class_count} classes: the scores "{blob}" need one number for each'
            remedy = f"set num_output: {class_count} in the layer that makes them"
            raise InputError(rule, where=where, got=classes, remedy=remedy)
        return Scores(str(blob), classes)


def _weight_shapes(message: Any, found: Sequence[Parameter]) -> list[tuple[Any, list[list[int]]]]:
    """Each layer of a phase with the shapes of its blobs."""
    return [
        (layer, [list(blob.shape) for blob in found if blob.layer == index])
        for index, layer in enumerate(message.layer)
    ]


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
    examples, held_out = train.examples(data), test.examples(data)
    if held_out.origin and held_out.origin == examples.origin:
        _log.info("%s: the TEST phase reads the training data, %s", test.net.where(test.layer), examples.origin)
    return Dataset.of(examples.name.removesuffix("/train"), examples, held_out)


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
    phases = Phases.of(source)
    dataset = _dataset(phases.train_data, phases.test_data, data)
    network = describe_network(phases.train, phases.train_message, {phases.train_data.layer.name: dataset.train.shape})
    held_out = 0 if protocol is Protocol.PAPER else validation_size(dataset.train)
    return Task(framework, network, dataset.info(held_out))


def describe_network(net: Net, message: Any, data_shapes: Mapping[str, Shape]) -> NetworkInfo:
    """The record of a net whose training phase is `message`. Raises InputError where its shapes do not fit."""
    shapes = infer(message, data_shapes, net.where)
    return NetworkInfo(net.name, fingerprint(net), weight_count(parameters(message, shapes, net.where)))
