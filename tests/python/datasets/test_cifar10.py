"""CIFAR-10's binary files, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import CIFAR_NAMES

from lrpolicy.datasets import mean_values, open_dataset
from lrpolicy.errors import InputError


def test_images_and_labels_come_back_in_order(cifar: Path) -> None:
    dataset = open_dataset(cifar)
    contents = [(cifar / name).read_bytes() for name in CIFAR_NAMES]
    assert dataset.name == "cifar10"
    assert dataset.class_count == 10
    assert dataset.train.images.shape == (20, 3, 32, 32)
    assert dataset.train.labels.tolist() == [number % 10 for number in range(20)]
    assert dataset.test.labels.tolist() == [0, 1, 2, 3]
    # Example 9 is record 1 of the third file; its green plane begins 1,024 bytes after its label byte and red plane.
    assert dataset.train.images[9, 1].tobytes() == contents[2][3073 + 1025 : 3073 + 2049]
    assert dataset.train.images.flags.c_contiguous


def test_the_files_may_lie_one_folder_down(cifar: Path) -> None:
    assert open_dataset(cifar.parent).fingerprint == open_dataset(cifar).fingerprint


@pytest.mark.parametrize("kept", [0, 1, 3072, 3 * 3073 + 1])
def test_a_truncated_batch_is_refused(cifar: Path, kept: int) -> None:
    path = cifar / "data_batch_4.bin"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"data_batch_4.bin: .* records of 3073 bytes .*, got {kept} bytes"):
        open_dataset(cifar)


def test_a_label_above_nine_is_named(cifar: Path) -> None:
    content = bytearray((cifar / "test_batch.bin").read_bytes())
    content[2 * 3073] = 10
    (cifar / "test_batch.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"test_batch.bin: example 2: a label must lie in 0\.\.9, got 10"):
        open_dataset(cifar)


@pytest.mark.parametrize("name", CIFAR_NAMES)
def test_a_missing_batch_is_named(cifar: Path, name: str) -> None:
    (cifar / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        open_dataset(cifar)


def test_real_cifar10_has_its_published_counts_and_means(real_data: Path) -> None:
    dataset = open_dataset(real_data / "cifar10")
    assert dataset.train.images.shape == (50000, 3, 32, 32)
    assert np.bincount(dataset.train.labels).tolist() == [5000] * 10
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10
    assert mean_values(dataset.train) / 255 == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
