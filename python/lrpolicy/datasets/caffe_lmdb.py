"""Caffe's LMDB databases of Datum messages: one example a record, in the order of the keys.

This is the only file that imports lmdb. A database is a folder with a file data.mdb, as Caffe's tools write it.
A file cut short is refused; for overwritten bytes inside LMDB's own pages the LMDB library may end the process.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from lrpolicy.datasets.examples import Examples
from lrpolicy.datasets.located import Located, dataset_in, padding_in, split_in, unreadable
from lrpolicy.errors import InputError, NotAvailableError, RunError
from lrpolicy.prototxt import messages
from lrpolicy.records import Split

LOOKED_FOR = "two of Caffe's LMDB folders, one with train in its name and one with test (or val)"
MEMORY_LIMIT = 4 << 30
"""The most bytes of images that are read into memory (4 GiB)."""

_FILE = "data.mdb"
_BATCH = 1000
_DAMAGED = "the database is damaged: write or copy it again"
# py-lmdb refuses to open one database twice in a process, so threads take turns.
_one_at_a_time = threading.Lock()


def is_lmdb(path: Path) -> bool:
    """Whether `path` is a folder with an LMDB in it."""
    return os.path.isfile(path / _FILE)  # noqa: PTH113  (Path.is_file raises where the folder may not be entered)


def find(folder: Path) -> Located | None:
    """The data set whose LMDBs lie in `folder`: one for training, one for testing; None when there is neither.

    Raises:
        InputError: one of the two is missing, or there are several of a kind.
    """
    databases: dict[Split | None, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if is_lmdb(path):
            databases.setdefault(split_in(path.name), []).append(path)
    train = databases.get(Split.TRAIN, [])
    test = databases.get(Split.TEST) or databases.get(Split.VALIDATION, [])
    if not train and not test:
        return None
    for word, found in (("train", train), ("test", test)):
        if len(found) != 1:
            got = ", ".join(path.name for path in found) or "none"
            raise InputError(f'exactly one LMDB must be named for "{word}"', where=str(folder), got=got)
    load = {Split.TRAIN: partial(read_lmdb, train[0]), Split.TEST: partial(read_lmdb, test[0])}
    return Located(dataset_in(train[0]), load)


def read_lmdb(path: str | Path, memory_limit: int = MEMORY_LIMIT) -> Examples:
    """The examples of an LMDB, in the order of its keys. `_padN` in the folder's name sets their padding to N.

    Raises:
        InputError: no LMDB, unreadable, cut short or damaged; a record that is no Datum or holds an encoded image;
            images of differing shapes; more bytes than `memory_limit`.
        NotAvailableError: the package lmdb is not installed.
    """
    path = Path(path)
    images: NDArray[Any] | None = None
    labels: list[int] = []
    with _one_at_a_time, _opened(path) as (entries, count):
        for key, value in entries:
            try:
                datum = _parsed(value)
                if images is None:
                    images = _allocated(datum, count, memory_limit)
                images[len(labels)] = _pixels(datum, images.shape[1:], images.dtype)
            except InputError as error:
                place = f'record {len(labels)} (key "{key.decode(errors="backslashreplace")}")'
                raise error.at(f"{path}: {place}") from error
            labels.append(datum.label)
    if images is None:
        raise InputError("an LMDB must hold at least one example", where=str(path), got=0)
    return Examples(images, np.array(labels, np.int64), dataset_in(path), padding_in(path.name), str(path))


def write_lmdb(path: str | Path, examples: Examples, progress: Callable[[int], None] = lambda written: None) -> None:
    """Write examples as an LMDB that Caffe reads: a new folder `path`, keys 00000000, 00000001, ...

    `progress` is called with the number of examples written so far. The folder appears only once it is complete.

    Raises:
        InputError: `path` exists, or its parent does not or may not be written to.
        RunError: the disk is full.
        NotAvailableError: the package lmdb is not installed.
    """
    lmdb, path = _lmdb(), Path(path)
    if path.exists():
        raise InputError("exists already and is not overwritten", where=str(path), remedy="remove it or choose another")
    folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        folder.mkdir()
    except OSError as error:
        raise InputError(f"cannot be written to: {error.strerror}", where=str(path.parent)) from error
    try:
        with lmdb.open(os.fsencode(folder), map_size=1 << 24, mode=0o664, lock=False, sync=False) as environment:
            for start in range(0, len(examples), _BATCH):
                stop = min(start + _BATCH, len(examples))
                _put(environment, [(b"%08d" % index, _serialized(examples, index)) for index in range(start, stop)])
                progress(stop)
            environment.sync(True)
        folder.rename(path)
    except (lmdb.Error, OSError) as error:
        free = shutil.disk_usage(path.parent).free / 1e6  # lmdb calls a full disk an input/output error
        remedy = f"make room ({free:.1f} MB are free there) or give another place"
        raise RunError(f"{path}: writing the LMDB failed: {error}; {remedy}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Iterator[tuple[bytes, bytes]], int]]:
    """The records in order and their count; what lmdb raises meanwhile becomes an InputError."""
    lmdb = _lmdb()
    file = path / _FILE
    try:
        size = file.stat().st_size
        with file.open("rb"):
            pass  # lmdb reports a file that it may not open less clearly.
    except OSError as error:
        raise unreadable(file, error) from error
    try:
        with lmdb.open(os.fsencode(path), readonly=True, lock=False, max_readers=1) as environment:
            # lmdb maps the file: reading beyond its end would kill the process.
            needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            if size < needed:
                raise InputError(f"the file must have {needed} bytes", where=str(file), got=size, remedy=_DAMAGED)
            with environment.begin() as transaction:
                count = sum(1 for _ in transaction.cursor().iternext(keys=True, values=False))
                yield iter(transaction.cursor()), count
    except lmdb.Error as error:
        raise InputError(f"not a whole LMDB ({error})", where=str(file), remedy=_DAMAGED) from error


def _parsed(value: bytes) -> Any:
    try:
        datum = messages.Datum.FromString(value)
    except DecodeError as error:
        raise InputError("the record is not a Caffe Datum", remedy=_DAMAGED) from error
    if datum.encoded:
        remedy = "write the LMDB with raw pixels (convert_imageset with --encoded=false)"
        raise InputError("the image is encoded (JPEG or PNG); raw pixels are needed", remedy=remedy)
    return datum


def _allocated(datum: Any, count: int, memory_limit: int) -> NDArray[Any]:
    shape = (count, datum.channels, datum.height, datum.width)
    if min(shape) < 1:
        raise InputError("an image must have channels, height and width of 1 or more", got=_shape_text(shape[1:]))
    dtype = np.dtype(np.uint8 if datum.data or not datum.float_data else np.float32)
    size = math.prod(shape) * dtype.itemsize
    if size > memory_limit:
        rule = f"at most {memory_limit / 2**30:.3g} GiB of images can be read into memory"
        got = f"{count} images of {_shape_text(shape[1:])}, that is {size / 2**30:.3g} GiB"
        raise InputError(rule, got=got, remedy="write a smaller LMDB, of fewer or smaller images")
    return np.empty(shape, dtype)


def _pixels(datum: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    own_shape = (datum.channels, datum.height, datum.width)
    if own_shape != shape:
        rule = f"every image must have the shape {_shape_text(shape)} of the first one"
        raise InputError(rule, got=_shape_text(own_shape), remedy="resize them when writing the LMDB")
    pixels = np.frombuffer(datum.data, dtype) if dtype == np.uint8 else np.array(datum.float_data, dtype)
    if pixels.size != math.prod(shape):
        rule = f"{_shape_text(shape)} pixels must be {math.prod(shape)} values of {dtype}, as in the first image"
        raise InputError(rule, got=f"{pixels.size} of them", remedy=_DAMAGED)
    return pixels.reshape(shape)


def _serialized(examples: Examples, index: int) -> bytes:
    channels, height, width = examples.shape
    image = examples.images[index]
    datum = messages.Datum(channels=channels, height=height, width=width, label=int(examples.labels[index]))
    if image.dtype == np.uint8:
        datum.data = image.tobytes()
    else:
        datum.float_data.extend(image.ravel().tolist())
    return bytes(datum.SerializeToString())


def _put(environment: Any, records: list[tuple[bytes, bytes]]) -> None:
    """Write a batch in one transaction, with the map doubled as often as it takes."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                transaction.cursor().putmulti(records, append=True)
            return
        except _lmdb().MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


def _shape_text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _lmdb() -> Any:
    try:
        import lmdb
    except ImportError as error:
        message = 'reading and writing LMDBs needs the package lmdb: pip install "lrpolicy[data]"'
        raise NotAvailableError(message) from error
    return lmdb
