"""From a name to examples: what a user gives as data, and what a net's data layer names as its source."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from lrpolicy.datasets import caffe_lmdb, cifar10, digits, idx
from lrpolicy.datasets.examples import Dataset, Examples
from lrpolicy.datasets.located import Located, padding_in, split_in, unreadable
from lrpolicy.errors import InputError
from lrpolicy.records import Split

_log = logging.getLogger(__name__)

_FORMATS = (idx, cifar10, caffe_lmdb)
_LOOKED_FOR = "; or ".join(kind.LOOKED_FOR for kind in _FORMATS)


def open_dataset(source: str | Path) -> Dataset:
    """Read a data set: "digits" (scikit-learn's, built in), or a folder with the files of one of these.

    - MNIST's four IDX files, plain or gzipped (also of Fashion-MNIST and others of that form, 10 classes);
    - CIFAR-10's six binary files;
    - two Caffe LMDBs, one with "train" in its name and one with "test" (or "val").

    The files may also lie one folder down, where exactly one folder there holds a data set.

    Raises:
        InputError: nothing is recognised (the message says what was looked for), or the files are wrong.
        NotAvailableError: the package that reads this kind is not installed.
    """
    return locate(source).dataset()


def open_source(
    source: str, split: Split, *, data: str | Path | None = None, base: str | Path = ".", where: str | None = None
) -> Examples:
    """The examples that a data layer's `source` names.

    With `data` (as for `open_dataset`) the examples come from there: from the LMDB whose folder has the source's own
    name if there is one, else the training or test set. Which of the two is what the source's name says (the last of
    the words train, test and val in it), or else `split`, the layer's phase (Split.TRAIN or Split.TEST).
    `_padN` in the source's name, as in cifar10_train_pad4_lmdb, puts a border of N zeros around the images.

    Without `data`, `source` is a path, relative to the current directory (as in Caffe) or else to `base`, the net
    file's folder: an LMDB, or a folder as for `open_dataset`. Failing that, the name digits, digits_train or
    digits_test is the built-in data set.

    `where` is the file and line of the source, for messages.

    Raises:
        InputError: nothing of that name exists, or the files are wrong.
        NotAvailableError: the package that reads this kind is not installed.
    """
    name = Path(source).name
    if data is not None:
        own = Path(data) / name
        return caffe_lmdb.read_lmdb(own) if caffe_lmdb.is_lmdb(own) else _part(locate(data), source, split, where)
    for path in (Path(source), Path(base) / source):
        if caffe_lmdb.is_lmdb(path):
            return caffe_lmdb.read_lmdb(path)
        if os.path.isdir(path):  # noqa: PTH112  (Path.is_dir raises where a folder above may not be entered)
            return _part(locate(path), source, split, where)
    if re.fullmatch(r"digits(_train|_test)?(_pad\d+)?(_lmdb)?", name):
        if name != source:
            _log.info('data source "%s" does not exist: the built-in digits are taken', source)
        return _part(digits.find(), source, split, where)
    is_file = any(os.path.isfile(path) for path in (source, Path(base) / source))  # noqa: PTH113  (as above)
    rule = f'data source "{source}" {"is a file, and no LMDB" if is_file else "does not exist"}'
    raise InputError(rule, where=where, remedy=f"pass --data with a folder that holds {_LOOKED_FOR}")


def locate(source: str | Path) -> Located:
    """Find a data set without reading it. Arguments and errors as for `open_dataset`."""
    if str(source) == digits.NAME:
        return digits.find()
    folder = Path(source)
    try:
        if not folder.exists():
            remedy = f'give "{digits.NAME}" or a folder with {_LOOKED_FOR}'
            raise InputError("no such folder", where=str(folder), remedy=remedy)
        if not folder.is_dir():
            rule = "this is a file; a data set is a folder"
            raise InputError(rule, where=str(folder), remedy=f"give one with {_LOOKED_FOR}")
        if caffe_lmdb.is_lmdb(folder):
            rule = "this is one LMDB, a data set needs two"
            raise InputError(rule, where=str(folder), remedy="give the folder that holds both")
        return _recognised(folder) or _one_down(folder)
    except OSError as error:
        raise unreadable(folder, error) from error


def _recognised(folder: Path) -> Located | None:
    return next((located for kind in _FORMATS if (located := kind.find(folder))), None)


def _one_down(folder: Path) -> Located:
    folders = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    found = [(path.name, located) for path in folders if (located := _recognised(path))]
    if not found:
        raise InputError("no data set is recognised", where=str(folder), remedy=f"looked for {_LOOKED_FOR}")
    if len(found) > 1:
        names = ", ".join(name for name, _ in found)
        raise InputError("the folder holds several data sets", where=str(folder), got=names, remedy="name one of them")
    return found[0][1]


def _part(located: Located, source: str, split: Split, where: str | None) -> Examples:
    name = Path(source).name
    wanted = split_in(name) or split
    examples = located.load[Split.TRAIN if wanted is Split.TRAIN else Split.TEST]()
    missing = padding_in(name) - examples.padding
    if missing < 0:
        rule = f'source "{source}" asks for a padding of {padding_in(name)} pixels'
        remedy = f"write _pad{examples.padding} into the source's name, or pass data without padding"
        raise InputError(rule, where=where, got=f"{examples.padding} in {examples.where}", remedy=remedy)
    return examples.padded(missing)
