"""What the experiments on MNIST share: the data as tensors, and a file of results that a second run goes on with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrpolicy.datasets.opening import open_dataset
from lrpolicy.errors import InputError

RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Mnist:
    """Images (n, 1, 28, 28) float32 in [-1, 1], pixel p at p / 127.5 - 1, and labels (n) int64."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def mnist(folder: Path | None) -> Mnist:
    """MNIST from `folder`, else from the folder mnist in $LRPOLICY_DATA. Raises InputError, also for other data."""
    folder = folder or Path(os.environ.get("LRPOLICY_DATA", "."), "mnist")
    dataset = open_dataset(folder)
    if (shape := dataset.train.images.shape[1:]) != (1, 28, 28):
        raise InputError("images must be MNIST's, of 1 x 28 x 28", where=str(folder), got=" x ".join(map(str, shape)))
    parts = [
        tensor
        for part in (dataset.train, dataset.test)
        for tensor in (torch.from_numpy(part.images) / 127.5 - 1.0, torch.from_numpy(part.labels).long())
    ]
    return Mnist(*parts)


def batches(count: int, size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """The indices of an epoch's batches: a shuffle that (seed, epoch) decides; the last one may be shorter."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))
    return iter(order.split(size))


class Results:
    """A file of JSON lines, one for each training that ended, found again by the values of `keys`."""

    def __init__(self, path: Path, keys: tuple[str, ...]) -> None:
        self.path, self.keys = path, keys
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def find(self, **key: Any) -> dict[str, Any] | None:
        """The row with these values, or None."""
        assert set(key) == set(self.keys), key
        return next((row for row in self.rows if all(row[name] == key[name] for name in self.keys)), None)

    def add(self, row: dict[str, Any]) -> None:
        """Append a row to the file."""
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; all columns but the first stand to the right."""
    lines = [header, ("---", *("---:" for _ in header[1:])), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
