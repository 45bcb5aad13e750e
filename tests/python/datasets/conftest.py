"""Small data sets on disk, and the folder of the real ones."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dataset_files import CIFAR_NAMES, IDX_NAMES, idx_bytes


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (30, 1, 6, 5), dtype=np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    return np.arange(30) % 10


@pytest.fixture
def mnist(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """A folder with MNIST's four files: 30 training and 20 test images of 6 x 5 pixels."""
    folder = tmp_path / "handwriting"
    folder.mkdir()
    for name, array in zip(IDX_NAMES, (images[:, 0], labels, images[10:, 0], labels[10:]), strict=True):
        (folder / name).write_bytes(idx_bytes(array))
    return folder


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """A folder with CIFAR-10's six files of four records each; the label of record i in file j is (4 j + i) % 10."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    generator = np.random.default_rng(2)
    for number, name in enumerate(CIFAR_NAMES):
        records = generator.integers(0, 256, (4, 3073), dtype=np.uint8)
        records[:, 0] = (4 * number + np.arange(4)) % 10
        (folder / name).write_bytes(records.tobytes())
    return folder


@pytest.fixture
def compress() -> Callable[[Path], None]:
    def in_place(folder: Path) -> None:
        for path in list(folder.iterdir()):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()

    return in_place


@pytest.fixture
def real_data() -> Path:
    if "LRPOLICY_DATA" not in os.environ:
        pytest.skip("LRPOLICY_DATA is not set: no real MNIST and CIFAR-10 here")
    return Path(os.environ["LRPOLICY_DATA"])
