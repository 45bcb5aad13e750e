"""MNIST's files in every spelling, and damaged in every way."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dataset_files import IDX_NAMES, idx_bytes

from lrpolicy.datasets import mean_values, open_dataset
from lrpolicy.errors import InputError


def test_images_and_labels_come_back(mnist: Path, images: np.ndarray, labels: np.ndarray) -> None:
    dataset = open_dataset(mnist)
    assert dataset.name == "handwriting"
    assert dataset.class_count == 10
    np.testing.assert_array_equal(dataset.train.images, images)
    np.testing.assert_array_equal(dataset.train.labels, labels)
    np.testing.assert_array_equal(dataset.test.images, images[10:])
    np.testing.assert_array_equal(dataset.test.labels, labels[10:])
    assert dataset.train.images.flags.writeable


@pytest.mark.parametrize("spelling", ["-idx", ".idx"])
@pytest.mark.parametrize("gzipped", [False, True])
def test_spellings_hold_the_same_data(
    mnist: Path, compress: Callable[[Path], None], spelling: str, gzipped: bool
) -> None:
    expected = open_dataset(mnist).fingerprint
    for path in list(mnist.iterdir()):
        path.rename(mnist / path.name.replace("-idx", spelling))
    if gzipped:
        compress(mnist)
    assert open_dataset(mnist).fingerprint == expected


def test_a_folder_called_raw_takes_the_name_of_its_parent(mnist: Path, tmp_path: Path) -> None:
    (tmp_path / "FashionMNIST").mkdir()
    mnist.rename(tmp_path / "FashionMNIST" / "raw")
    assert open_dataset(tmp_path / "FashionMNIST").name == "fashionmnist"


@pytest.mark.parametrize("name", IDX_NAMES)
@pytest.mark.parametrize("kept", [0, 3, 5, 15, -1])
def test_a_truncated_file_is_refused(mnist: Path, name: str, kept: int) -> None:
    content = (mnist / name).read_bytes()
    (mnist / name).write_bytes(content[:kept])
    with pytest.raises(InputError, match=name):
        open_dataset(mnist)


def test_the_message_for_a_truncated_file_counts(mnist: Path) -> None:
    path = mnist / IDX_NAMES[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError) as error:
        open_dataset(mnist)
    rule = "the header announces 30 x 6 x 5, that is 916 bytes in all, got 915"
    assert str(error.value) == f"{path}: {rule}; the file is damaged: copy or download it again"


def test_extra_bytes_are_refused(mnist: Path) -> None:
    path = mnist / IDX_NAMES[1]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InputError, match="announces 30, that is 38 bytes in all, got 39"):
        open_dataset(mnist)


def test_a_header_that_announces_far_too_much_is_refused_without_reserving_it(mnist: Path) -> None:
    path = mnist / IDX_NAMES[0]
    path.write_bytes(path.read_bytes()[:4] + struct.pack(">III", *[2**32 - 1] * 3))
    with pytest.raises(InputError, match="got 16"):
        open_dataset(mnist)


def test_labels_in_the_place_of_images_are_refused(mnist: Path, labels: np.ndarray) -> None:
    (mnist / IDX_NAMES[0]).write_bytes(idx_bytes(labels))
    with pytest.raises(InputError, match="of 3 dimensions must begin with 00 00 08 03, got 00 00 08 01; put"):
        open_dataset(mnist)


def test_counts_must_agree(mnist: Path, labels: np.ndarray) -> None:
    (mnist / IDX_NAMES[1]).write_bytes(idx_bytes(labels[:-2]))
    with pytest.raises(InputError, match="one label for each of the 30 images of train-images-idx3-ubyte, got 28"):
        open_dataset(mnist)


def test_a_label_above_nine_is_named(mnist: Path, labels: np.ndarray) -> None:
    labels[7] = 10
    (mnist / IDX_NAMES[1]).write_bytes(idx_bytes(labels))
    with pytest.raises(InputError, match=r"train-labels-idx1-ubyte: example 7: a label must lie in 0\.\.9, got 10"):
        open_dataset(mnist)


def test_an_empty_set_is_refused(mnist: Path, images: np.ndarray, labels: np.ndarray) -> None:
    (mnist / IDX_NAMES[2]).write_bytes(idx_bytes(images[:0, 0]))
    (mnist / IDX_NAMES[3]).write_bytes(idx_bytes(labels[:0]))
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte: a set of examples must not be empty"):
        open_dataset(mnist)


@pytest.mark.parametrize("damage", ["cut", "flipped", "plain"])
def test_a_damaged_gzip_file_is_refused(mnist: Path, compress: Callable[[Path], None], damage: str) -> None:
    compress(mnist)
    path = mnist / f"{IDX_NAMES[0]}.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes({"cut": content[:-20], "flipped": content, "plain": gzip.decompress(path.read_bytes())}[damage])
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz: not a whole gzip file"):
        open_dataset(mnist)


def test_a_missing_file_is_named(mnist: Path) -> None:
    (mnist / IDX_NAMES[3]).unlink()
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte \(or t10k-labels-idx1-ubyte.gz\) is missing"):
        open_dataset(mnist)


def test_real_mnist_has_its_published_counts_and_mean(real_data: Path) -> None:
    dataset = open_dataset(real_data / "mnist")
    assert dataset.train.images.shape == (60000, 1, 28, 28)
    assert dataset.test.images.shape == (10000, 1, 28, 28)
    train_counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test_counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(dataset.train.labels).tolist() == train_counts
    assert np.bincount(dataset.test.labels).tolist() == test_counts
    assert dataset.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mean_values(dataset.train)[0] / 255 == pytest.approx(0.1307, abs=5e-5)
