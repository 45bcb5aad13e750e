"""MNIST's IDX files, plain or gzipped (format: the page of the MNIST database, yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpolicy.datasets.examples import Examples, check_labels
from lrpolicy.datasets.located import Located, unreadable
from lrpolicy.errors import InputError
from lrpolicy.records import Split

CLASS_COUNT = 10
LOOKED_FOR = "MNIST's train-images-idx3-ubyte[.gz] and its three companions"
_PREFIXES = {Split.TRAIN: "train", Split.TEST: "t10k"}
_UNSIGNED_BYTE = 0x08


def find(folder: Path) -> Located | None:
    """The data set whose four IDX files lie in `folder`; None when there is none of them.

    Raises:
        InputError: some of the four are there and others are missing.
    """
    names = {
        (split, kind): f"{prefix}-{kind}"
        for split, prefix in _PREFIXES.items()
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    }
    paths = {key: path for key, name in names.items() if (path := _spelling(folder, name))}
    if not paths:
        return None
    for key, name in names.items():
        if key not in paths:
            raise InputError(f"{name} (or {name}.gz) is missing", where=str(folder), remedy="all four files are needed")
    folder = folder.resolve()
    name = (folder.parent if folder.name == "raw" else folder).name.lower()
    load = {
        split: partial(read_pair, paths[split, "images-idx3-ubyte"], paths[split, "labels-idx1-ubyte"], name)
        for split in _PREFIXES
    }
    return Located(name, load, CLASS_COUNT)


def read_pair(images_path: Path, labels_path: Path, name: str) -> Examples:
    """The examples of an image file and its label file: images (n, 1, rows, columns) uint8, labels in 0..9.

    Raises:
        InputError: a file is unreadable, cut short or no IDX file, the counts differ, or a label is above 9.
    """
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        rule = f"there must be one label for each of the {len(images)} images of {images_path.name}"
        raise InputError(rule, where=str(labels_path), got=len(labels))
    labels = labels.astype(np.int64)
    check_labels(labels, CLASS_COUNT, str(labels_path))
    return Examples(images[:, None], labels, name, origin=str(images_path))


def read_idx(path: Path, dimensions: int) -> NDArray[Any]:
    """The uint8 array of an IDX file with `dimensions` dimensions, gzipped if its name ends in .gz.

    Raises:
        InputError: the file is unreadable, cut short, too long, or not of that kind.
    """
    content = _content(path)
    header = 4 + 4 * dimensions
    magic = struct.pack(">HBB", 0, _UNSIGNED_BYTE, dimensions)
    if content[:4] != magic:
        rule = f"an IDX file of {dimensions} dimensions must begin with {magic.hex(' ')}"
        raise InputError(rule, where=str(path), got=content[:4].hex(" ") or "an empty file", remedy=_ITS_OWN)
    if len(content) < header:
        raise InputError(f"the header must have {header} bytes", where=str(path), got=len(content), remedy=_AGAIN)
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) != header + math.prod(shape):
        rule = f"the header announces {' x '.join(map(str, shape))}, that is {header + math.prod(shape)} bytes in all"
        raise InputError(rule, where=str(path), got=len(content), remedy=_AGAIN)
    # A copy, because an array over bytes cannot be written to and PyTorch warns of such arrays.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


_ITS_OWN = "put the data set's own file there"
_AGAIN = "the file is damaged: copy or download it again"


def _spelling(folder: Path, name: str) -> Path | None:
    """The file of that name in any of the spellings in use: -idx3-ubyte or .idx3-ubyte, plain or .gz."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for path in (folder / spelling, folder / f"{spelling}.gz"):
            if path.is_file():
                return path
    return None


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"not a whole gzip file ({error})", where=str(path), remedy=_AGAIN) from error
