"""From a user's --data and a net's source to examples."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dataset_files import write_datums

from lrpolicy.datasets import open_dataset, open_source
from lrpolicy.errors import InputError
from lrpolicy.records import Split


@pytest.fixture
def databases(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """A folder with a training LMDB of 20 and a test LMDB of 10 images."""
    write_datums(tmp_path / "mine" / "x_train_lmdb", images[:20], labels[:20])
    write_datums(tmp_path / "mine" / "x_test_lmdb", images[20:], labels[20:])
    return tmp_path / "mine"


def test_two_databases_are_a_data_set(databases: Path, images: np.ndarray) -> None:
    dataset = open_dataset(str(databases))
    assert (dataset.name, dataset.class_count) == ("x", 10)
    np.testing.assert_array_equal(dataset.train.images, images[:20])
    np.testing.assert_array_equal(dataset.test.images, images[20:])


def test_a_validation_database_serves_where_there_is_no_test_database(databases: Path) -> None:
    write_datums(databases / "x_val_lmdb", np.zeros((3, 1, 6, 5), np.uint8), [0, 1, 2])
    assert len(open_dataset(databases).test) == 10
    for path in (databases / "x_test_lmdb").iterdir():
        path.unlink()
    assert len(open_dataset(databases).test) == 3


def test_several_databases_of_a_kind_are_refused(databases: Path) -> None:
    write_datums(databases / "y_train_lmdb", np.zeros((1, 1, 2, 2), np.uint8), [0])
    with pytest.raises(InputError, match=r'exactly one LMDB must be named for "train", got x_train_lmdb, y_train_lmdb'):
        open_dataset(databases)


def test_one_database_is_no_data_set(databases: Path) -> None:
    with pytest.raises(InputError, match=r"x_train_lmdb: this is one LMDB, .* give the folder that holds both"):
        open_dataset(databases / "x_train_lmdb")


def test_an_unknown_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError) as error:
        open_dataset(tmp_path)
    for name in ("train-images-idx3-ubyte", "data_batch_1.bin", "LMDB"):
        assert name in str(error.value)


def test_a_folder_of_several_data_sets_is_refused(cifar: Path, databases: Path) -> None:
    with pytest.raises(InputError, match=r"several data sets, got cifar-10-batches-bin, mine; name one"):
        open_dataset(cifar.parent)


@pytest.mark.parametrize("name", ["nowhere", "notes.txt"])
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(
        InputError,
        match=rf"{name}: (no such folder; give \"digits\" or|this is a file; a data set is a folder)",
    ):
        open_dataset(tmp_path / name)


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(InputError, match=rf"{tmp_path}: cannot be read: Permission denied"):
        open_dataset(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_refused(mnist: Path) -> None:
    mnist.chmod(0)
    try:
        with pytest.raises(InputError, match="cannot be read: Permission denied"):
            open_dataset(mnist)
        with pytest.raises(InputError, match="cannot be read: Permission denied"):
            open_source("x_train_lmdb", Split.TRAIN, data=mnist)
    finally:
        mnist.chmod(0o755)


@pytest.mark.parametrize(
    ("source", "split", "count"),
    [
        ("examples/mnist/mnist_train_lmdb", Split.TEST, 30),
        ("mnist_test_lmdb", Split.TRAIN, 20),
        ("ilsvrc12_val_lmdb", Split.TRAIN, 20),
        ("train/data", Split.TEST, 20),
        ("trainings_of_mine_test_lmdb", Split.TRAIN, 20),
        ("whatever", Split.TRAIN, 30),
    ],
)
def test_data_given_stands_for_the_source(mnist: Path, source: str, split: Split, count: int) -> None:
    assert len(open_source(source, split, data=mnist)) == count


@pytest.mark.parametrize(
    ("path", "name"),
    [("cifar10_train_pad4_lmdb", "cifar10"), ("my-digits.train.lmdb", "my_digits"), ("mine/train_lmdb", "mine")],
)
def test_a_database_is_named_for_its_data_set(path: str, name: str, tmp_path: Path) -> None:
    write_datums(tmp_path / path, np.zeros((1, 1, 9, 9), np.uint8), [0])
    examples = open_source(path, Split.TRAIN, base=tmp_path)
    assert examples.name == name
    assert examples.where == str(tmp_path / path)


def test_padding_named_by_the_source_is_added(mnist: Path, images: np.ndarray) -> None:
    examples = open_source("mnist_train_pad4_lmdb", Split.TRAIN, data=mnist)
    assert (examples.padding, examples.shape) == (4, (1, 14, 13))
    np.testing.assert_array_equal(examples.images[:, :, 4:-4, 4:-4], images)
    assert open_source("mnist_padded_train_lmdb", Split.TRAIN, data=mnist).padding == 0


def test_padding_that_the_data_has_is_not_added_again(tmp_path: Path) -> None:
    write_datums(tmp_path / "x_train_pad2_lmdb", np.zeros((2, 1, 6, 6), np.uint8), [0, 1])
    write_datums(tmp_path / "x_test_lmdb", np.zeros((2, 1, 2, 2), np.uint8), [0, 1])
    assert open_source("other_train_pad2_lmdb", Split.TRAIN, data=tmp_path).shape == (1, 6, 6)
    assert open_source("other_train_pad3_lmdb", Split.TRAIN, data=tmp_path).shape == (1, 8, 8)
    assert open_dataset(tmp_path).info().height == 2
    with pytest.raises(InputError, match=r"net:3: .* asks for a padding of 0 pixels, got 2 in .*x_train_pad2_lmdb"):
        open_source("other_train_lmdb", Split.TRAIN, data=tmp_path, where="net:3")


def test_a_database_of_the_sources_own_name_comes_first(databases: Path) -> None:
    write_datums(databases / "y_train_lmdb", np.zeros((7, 1, 2, 2), np.uint8), [0] * 7)
    assert len(open_source("somewhere/y_train_lmdb", Split.TRAIN, data=databases)) == 7


def test_a_source_is_a_path_from_here_or_from_the_nets_folder(
    databases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_datums(tmp_path / "net" / "mine" / "x_train_lmdb", np.zeros((3, 1, 2, 2), np.uint8), [0] * 3)
    assert len(open_source("mine/x_train_lmdb", Split.TRAIN, base="net")) == 20
    assert len(open_source("x_test_lmdb", Split.TEST, base="mine")) == 10
    assert len(open_source(str(databases / "x_test_lmdb"), Split.TRAIN)) == 10


def test_a_source_may_be_a_folder_of_any_format(mnist: Path) -> None:
    assert len(open_source(mnist.name, Split.TEST, base=mnist.parent)) == 20


@pytest.mark.parametrize(
    ("source", "split", "shape"),
    [
        ("digits", Split.TRAIN, (1437, 1, 8, 8)),
        ("digits", Split.TEST, (360, 1, 8, 8)),
        ("digits_test_lmdb", Split.TRAIN, (360, 1, 8, 8)),
        ("data/digits_train_pad1_lmdb", Split.TRAIN, (1437, 1, 10, 10)),
    ],
)
def test_digits_are_built_in(
    source: str,
    split: Split,
    shape: tuple[int, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        assert open_source(source, split).images.shape == shape
    noted = [f'data source "{source}" does not exist: the built-in digits are taken'] if "/" in source else []
    assert caplog.messages == noted  # who names a folder may have meant one of his own


def test_a_source_that_does_not_exist_says_what_to_pass(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        open_source("mnist_train_lmdb", Split.TRAIN, base=tmp_path, where="net.prototxt:12")
    message = (
        'net.prototxt:12: data source "mnist_train_lmdb" does not exist; pass --data with a folder that holds MNIST'
    )
    assert str(error.value).startswith(message)


def test_a_source_that_is_a_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match=r'net:3: data source "notes.txt" is a file, and no LMDB; pass --data'):
        open_source("notes.txt", Split.TRAIN, base=tmp_path, where="net:3")


def test_reading_mnist_imports_neither_lmdb_nor_scikit_learn(mnist: Path) -> None:
    program = (
        "import sys; from lrpolicy.datasets import open_dataset; open_dataset(sys.argv[1]);"
        "sys.exit(bool({'lmdb', 'sklearn', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program, mnist], check=False).returncode == 0


def test_a_missing_package_is_named(databases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lrpolicy.errors import NotAvailableError

    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(NotAvailableError, match=r'needs the package lmdb: pip install "lrpolicy\[data\]"'):
        open_dataset(databases)
