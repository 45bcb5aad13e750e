"""What every format gives back for a folder it recognises: the parts, each read when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lrpolicy.datasets.examples import Dataset, Examples
from lrpolicy.errors import InputError
from lrpolicy.records import Split


@dataclass(frozen=True)
class Located:
    """A data set that was found and not yet read. `class_count` is None where only the labels tell it."""

    name: str
    load: Mapping[Split, Callable[[], Examples]]
    class_count: int | None = None

    def dataset(self) -> Dataset:
        """Read both parts. Raises InputError where the files are wrong."""
        train, test = self.load[Split.TRAIN](), self.load[Split.TEST]()
        if self.class_count is None:
            return Dataset.of(self.name, train, test)
        return Dataset(self.name, train, test, self.class_count)


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for a file or folder that the system will not give us; `path` where the system names none."""
    return InputError(f"cannot be read: {error.strerror or error}", where=str(error.filename or path))


def dataset_in(path: Path) -> str:
    """The data set that the name of an LMDB speaks of: cifar10 for cifar10_train_pad4_lmdb; else its folder's name."""
    words = re.split(r"[-_.]", path.name)
    own = [word for word in words if not re.fullmatch(r"train|test|val|validation|lmdb|db|pad\d*", word)]
    return "_".join(own) or path.resolve().parent.name


def split_in(name: str) -> Split | None:
    """What the name of an LMDB says it is for: the last of the words train, test and val in it, or None."""
    words = {"train": Split.TRAIN, "test": Split.TEST, "val": Split.VALIDATION}
    found = re.findall("|".join(words), name)
    return words[found[-1]] if found else None


def padding_in(name: str) -> int:
    """N where a name says `_padN`, as in cifar10_train_pad4_lmdb (images with a border of N zeros); else 0."""
    match = re.search(r"_pad(\d{1,4})(?![0-9a-z])", name)
    return int(match[1]) if match else 0
