"""`lrpolicy data`: what is in a data set, and its conversion to the files that Caffe reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from lrpolicy.cli.common import SEED, console, examples, json_option, print_json, progress_bar, table
from lrpolicy.errors import InputError
from lrpolicy.prototxt.files import all_or_none, check_writable

if TYPE_CHECKING:
    from lrpolicy.datasets import Examples

_source_argument = click.argument("source", metavar="DATA")
_pad_option = click.option(
    "--pad", type=click.IntRange(0, 1000), default=0, metavar="N", help="Put N zeros around the training images."
)


@click.group(
    no_args_is_help=False,
    epilog=examples("lrpolicy data info digits", "lrpolicy data lmdb ~/cifar10 lmdb --pad 4"),
)
def data() -> None:
    """Look at a data set, or write it in Caffe's formats.

    DATA is digits (scikit-learn's, built in) or a folder with MNIST's IDX files, CIFAR-10's binary files, or two
    Caffe LMDBs. It is always read whole and checked.
    """


@data.command(epilog=examples("lrpolicy data info digits", "lrpolicy data info ~/mnist --json"))
@_source_argument
@json_option
def info(source: str, as_json: bool) -> None:
    """Check DATA and say what is in it: sizes, shape, classes, means, fingerprint."""
    from lrpolicy.datasets import mean_values, open_dataset

    with console().status(f"reading {source}"):
        dataset = open_dataset(source)
        facts = asdict(dataset.info()) | {
            "train_per_class": np.bincount(dataset.train.labels, minlength=dataset.class_count).tolist(),
            "test_per_class": np.bincount(dataset.test.labels, minlength=dataset.class_count).tolist(),
            "train_mean_values": [round(float(value), 4) for value in mean_values(dataset.train)],
        }
        del facts["validation_size"]  # it is chosen later, in training
    if as_json:
        print_json(facts)
    else:
        texts = {
            key: " ".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in facts.items()
        }
        console().print(table(["", "value"], [[key.replace("_", " "), text] for key, text in texts.items()]))


@data.command(
    epilog=examples(
        "lrpolicy data lmdb digits lmdb",
        "lrpolicy data lmdb ~/cifar10 lmdb --pad 4",
        "lrpolicy data lmdb ~/mnist lmdb --validation 0.1",
    )
)
@_source_argument
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@_pad_option
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="PART",
    help="Write this part of the training set apart, for example 0.1.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Which examples are set apart.")
@json_option
def lmdb(source: str, out: Path, pad: int, validation: float | None, seed: int, as_json: bool) -> None:
    """Write DATA as Caffe LMDBs into the folder OUT.

    They are NAME_train_lmdb (NAME_train_padN_lmdb with --pad), NAME_val_lmdb (with --validation) and NAME_test_lmdb.
    Nothing is overwritten, and all of them are written or none.
    """
    from lrpolicy.datasets import write_lmdb

    parts = _parts(source, pad, validation, seed)
    for name in parts:
        if (out / name).exists():
            remedy = "remove it, or give another folder"
            raise InputError("exists already and is not overwritten", where=str(out / name), remedy=remedy)
    check_writable(out)
    with all_or_none(out, parts), _Bar(sum(map(len, parts.values()))) as bar:
        for name, part in parts.items():
            write_lmdb(out / name, part, bar.part(name, len(part)))
    written = [{"path": str(out / name), "examples": len(part)} for name, part in parts.items()]
    if as_json:
        print_json(written)
    else:
        for row in written:
            click.echo(f"{row['path']}: {row['examples']} examples")


@data.command(epilog=examples("lrpolicy data mean ~/cifar10 mean.binaryproto"))
@_source_argument
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@_pad_option
@json_option
def mean(source: str, out: Path, pad: int, as_json: bool) -> None:
    """Write the mean of the training images of DATA to OUT (.binaryproto), for a net's mean_file."""
    from lrpolicy.caffemodel import write_mean
    from lrpolicy.datasets import mean_image, open_dataset

    image = mean_image(open_dataset(source).train.padded(pad))
    write_mean(out, image)
    if as_json:
        print_json({"path": str(out), "shape": list(image.shape)})
    else:
        click.echo(f"{out}: the mean image, {' x '.join(map(str, image.shape))}")


def _parts(source: str, pad: int, validation: float | None, seed: int) -> dict[str, Examples]:
    """What to write, by the name of its LMDB. Only training images are padded: the others are not cropped at random."""
    from lrpolicy.datasets import open_dataset, split_validation

    dataset = open_dataset(source)
    train, parts = dataset.train, {}
    if validation is not None:
        train, parts[f"{dataset.name}_val_lmdb"] = split_validation(train, validation, seed)
    train = train.padded(pad)
    padding = f"_pad{train.padding}" if train.padding else ""
    return {f"{dataset.name}_train{padding}_lmdb": train, **parts, f"{dataset.name}_test_lmdb": dataset.test}


class _Bar:
    """A progress bar on standard error over the examples of several parts, shown on a terminal only."""

    def __init__(self, total: int) -> None:
        self._progress = progress_bar("{task.percentage:3.0f} %")
        self._task = self._progress.add_task("writing", total=total)
        self._before = 0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def part(self, name: str, length: int) -> Callable[[int], None]:
        """What tells the bar how many examples of the next part are written."""
        before, self._before = self._before, self._before + length
        return lambda written: self._progress.update(self._task, completed=before + written, description=name)
