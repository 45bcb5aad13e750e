"""What Caffe's data layers are served: LMDBs and means, the user's own where they fit, else written for the job."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrpolicy.caffemodel import write_mean
from lrpolicy.datasets import Examples, write_lmdb
from lrpolicy.datasets.caffe_lmdb import is_lmdb
from lrpolicy.datasets.located import padding_in
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.description import DataSource, Phases, load_data
from lrpolicy.net import Shape
from lrpolicy.prototxt.files import check_name
from lrpolicy.records import DatasetInfo, Split


@dataclass(frozen=True, eq=False)
class Part:
    """One split as Caffe reads it: an LMDB, and the mean file that is subtracted, if any.

    `labels` (n,) are in the LMDB's order; `shape` is an image's, (channels, height, width).
    """

    lmdb: Path
    mean: Path | None
    labels: NDArray[np.int64]
    shape: Shape


@dataclass(frozen=True, eq=False)
class Served:
    """The splits of a job. `selection` chooses the best weights: the validation split, or the test set."""

    train: Part
    selection: Part
    selection_split: Split
    test: Part
    info: DatasetInfo

    @classmethod
    def of(cls, job: TrainingJob, phases: Phases, folder: Path, done: int) -> Served:
        """Load a job's data and put into `folder` what Caffe cannot read as it is.

        Training begins with the example that follows `done` minibatches: Caffe itself always begins with the first.

        Raises:
            InputError: files are missing or wrong, or the two phases do not fit each other.
            RunError: a full disk.
        """
        data = load_data(phases.train_data, phases.test_data, job.data, job.protocol)
        first = done * phases.train_data.batch_size % len(data.train)

        def part(source: DataSource, examples: Examples) -> Part:
            mean = source.mean_image(data.train, examples, job.data)
            return _part(examples, mean, folder)

        test = part(phases.test_data, data.test)
        selection = test if data.validation is None else part(phases.test_data, data.validation)
        split = Split.TEST if data.validation is None else Split.VALIDATION
        train = data.train
        if first:
            order = np.roll(np.arange(len(train)), -first)
            train = train.take(order, f"{train.where} (from example {first})")
        return cls(part(phases.train_data, train), selection, split, test, data.info)


def _part(examples: Examples, mean: NDArray[np.float32] | None, folder: Path) -> Part:
    stem = folder / secrets.token_hex(4)
    lmdb, mean_file = stem.with_suffix(".lmdb"), stem.with_suffix(".binaryproto")
    origin = Path(examples.origin)
    if examples.origin and is_lmdb(origin) and padding_in(origin.name) == examples.padding:
        lmdb = origin.absolute()
        check_name(lmdb)
    else:
        write_lmdb(lmdb, examples)
    if mean is not None:
        write_mean(mean_file, mean)
    return Part(lmdb, mean_file if mean is not None else None, examples.labels, examples.shape)


def whole_batches(count: int, batch_size: int) -> int:
    """The largest batch, at most `batch_size`, that goes into `count` examples without a rest."""
    return next(size for size in range(min(batch_size, count), 0, -1) if count % size == 0)
