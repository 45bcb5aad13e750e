"""Images with labels, held in memory, and the data sets made of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpolicy.errors import InputError
from lrpolicy.records import DatasetInfo

_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled images in a fixed order.

    `images` is (n, channels, height, width), uint8 (or float32 where a Caffe LMDB holds floats); `labels` is (n,)
    int64, 0 or more; n >= 1. `name` is the data set's; `origin` is the file or folder, for messages. `padding` says
    how many of the pixels on each side are a border of zeros that is not part of the content: it is left out of the
    fingerprint.

    Raises:
        InputError: the arrays do not have these shapes and types, are empty, or a label is negative.
    """

    images: NDArray[Any] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    name: str
    padding: int = 0
    origin: str = ""

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
            rule = "images must be uint8 or float32 of shape (n, channels, height, width)"
            raise InputError(rule, where=self.where, got=f"{images.dtype} {images.shape}")
        if labels.shape != images.shape[:1] or labels.dtype != np.int64:
            rule = f"labels must be int64 of shape ({len(images)},), one for each image"
            raise InputError(rule, where=self.where, got=f"{labels.dtype} {labels.shape}")
        if images.size == 0:
            raise InputError("a set of examples must not be empty", where=self.where, got=f"shape {images.shape}")
        if min(images.shape[2:]) <= 2 * self.padding or self.padding < 0:
            raise InputError(f"a padding of {self.padding} does not fit", where=self.where, got=f"shape {images.shape}")
        check_labels(labels, None, self.where)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def where(self) -> str:
        """What a message calls these examples: their origin, or else their name."""
        return self.origin or self.name

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image, padding included."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def content_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image without its padding."""
        channels, height, width = self.shape
        return channels, height - 2 * self.padding, width - 2 * self.padding

    @cached_property
    def fingerprint(self) -> str:
        """A hash (32 hexadecimal digits) of the images without padding and the labels; the name is not in it."""
        digest = hashlib.blake2b(f"{self.images.dtype} {len(self)} {self.content_shape}".encode(), digest_size=16)
        border = slice(self.padding, -self.padding or None)
        for start in range(0, len(self), _BLOCK):
            digest.update(np.ascontiguousarray(self.images[start : start + _BLOCK, :, border, border]).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    def take(self, indices: NDArray[np.int64], origin: str | None = None) -> Examples:
        """The examples at `indices` (a copy), in that order."""
        return Examples(self.images[indices], self.labels[indices], self.name, self.padding, origin or self.origin)

    def padded(self, pixels: int) -> Examples:
        """The same images with a border of `pixels` zeros on each side; `self` when `pixels` is 0."""
        if pixels == 0:
            return self
        channels, height, width = self.shape
        images = np.zeros((len(self), channels, height + 2 * pixels, width + 2 * pixels), self.images.dtype)
        images[:, :, pixels:-pixels, pixels:-pixels] = self.images
        return Examples(images, self.labels, self.name, self.padding + pixels, self.origin)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test set of one task. A validation set is split off the training set, never off the test set.

    Raises:
        InputError: the images of the two sets differ in shape (padding apart), or a label is outside the classes.
    """

    name: str
    train: Examples
    test: Examples
    class_count: int

    def __post_init__(self) -> None:
        if self.train.content_shape != self.test.content_shape:
            rule = f"test images must have the training images' shape {self.train.content_shape}"
            raise InputError(rule, where=self.test.where, got=self.test.content_shape)
        for examples in (self.train, self.test):
            check_labels(examples.labels, self.class_count, examples.where)

    @classmethod
    def of(cls, name: str, train: Examples, test: Examples) -> Dataset:
        """A data set whose class count is the training set's highest label + 1."""
        return cls(name, train, test, int(train.labels.max()) + 1)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the content of both sets; the same data in another format or under another name has the same."""
        parts = f"{self.train.fingerprint} {self.test.fingerprint}"
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()

    def info(self, validation_size: int = 0) -> DatasetInfo:
        """The record of this data set when `validation_size` of its training examples serve for validation."""
        channels, height, width = self.train.content_shape
        return DatasetInfo(
            name=self.name,
            train_size=len(self.train) - validation_size,
            validation_size=validation_size,
            test_size=len(self.test),
            channels=channels,
            height=height,
            width=width,
            class_count=self.class_count,
            fingerprint=self.fingerprint,
        )


def check_labels(labels: NDArray[np.int64], class_count: int | None, where: str) -> None:
    """Raise InputError for the first label below 0 or, given a class count, not below it."""
    wrong = labels < 0 if class_count is None else (labels < 0) | (labels >= class_count)
    if wrong.any():
        index = int(wrong.argmax())
        rule = "a label must be 0 or more" if class_count is None else f"a label must lie in 0..{class_count - 1}"
        remedy = "the file is damaged, or of another data set"
        raise InputError(rule, where=f"{where}: example {index}", got=labels[index], remedy=remedy)
