"""CIFAR-10's binary files (format: the page of the data set, www.cs.toronto.edu/~kriz/cifar.html)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from lrpolicy.datasets.examples import Examples, check_labels
from lrpolicy.datasets.located import Located, unreadable
from lrpolicy.errors import InputError
from lrpolicy.records import Split

NAME = "cifar10"
CLASS_COUNT = 10
LOOKED_FOR = "CIFAR-10's data_batch_1.bin to data_batch_5.bin and test_batch.bin"
_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
_FILES = {Split.TRAIN: [f"data_batch_{number}.bin" for number in range(1, 6)], Split.TEST: ["test_batch.bin"]}


def find(folder: Path) -> Located | None:
    """The data set whose six binary files lie in `folder`; None when there is none of them.

    Raises:
        InputError: some of the six are there and others are missing.
    """
    paths = {split: [folder / name for name in names] for split, names in _FILES.items()}
    missing = [path.name for files in paths.values() for path in files if not path.is_file()]
    if len(missing) == sum(map(len, paths.values())):
        return None
    if missing:
        raise InputError(f"{missing[0]} is missing", where=str(folder), remedy=f"needed are {LOOKED_FOR}")
    load = {split: partial(read_batches, files, f"{folder} ({split})") for split, files in paths.items()}
    return Located(NAME, load, CLASS_COUNT)


def read_batches(paths: list[Path], origin: str) -> Examples:
    """The examples of binary files in a row: images (n, 3, 32, 32) uint8 in red, green, blue; labels in 0..9.

    Raises:
        InputError: a file is unreadable or no whole number of records, or a label is above 9.
    """
    batches = []
    for path in paths:
        try:
            content = np.fromfile(path, np.uint8)
        except OSError as error:
            raise unreadable(path, error) from error
        if content.size % _RECORD or not content.size:
            rule = f"a batch must be one or more records of {_RECORD} bytes (a label and 32 x 32 x 3 pixels)"
            remedy = "the file is damaged: copy or download it again"
            raise InputError(rule, where=str(path), got=f"{content.size} bytes", remedy=remedy)
        batches.append(content.reshape(-1, _RECORD))
        check_labels(batches[-1][:, 0].astype(np.int64), CLASS_COUNT, str(path))
    images = np.concatenate([batch[:, 1:] for batch in batches]).reshape(-1, *_SHAPE)
    labels = np.concatenate([batch[:, 0] for batch in batches]).astype(np.int64)
    return Examples(images, labels, NAME, origin=origin)
