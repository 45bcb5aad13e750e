"""Small data sets in the formats of others, written byte by byte and without lrpolicy."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import lmdb
import numpy as np

IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CIFAR_NAMES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", length) for length in array.shape)
    return header + array.astype(np.uint8).tobytes()


def varint(number: int) -> bytes:
    number = int(number) & (1 << 64) - 1
    octets = []
    while number >= 0x80:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])


def datum_bytes(image: np.ndarray, label: int) -> bytes:
    """A Datum as protobuf's wire format has it: channels 1, height 2, width 3, data 4, label 5, float_data 6."""
    shape = b"".join(bytes([number << 3]) + varint(length) for number, length in enumerate(image.shape, start=1))
    labelled = b"\x28" + varint(label)
    if image.dtype == np.uint8:
        return shape + b"\x22" + varint(image.size) + image.tobytes() + labelled
    return shape + labelled + b"".join(b"\x35" + struct.pack("<f", value) for value in image.ravel())


def write_records(folder: Path, records: Iterable[tuple[bytes, bytes]]) -> Path:
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in records:
            transaction.put(key, value)
    return folder


def write_datums(folder: Path, images: np.ndarray, labels: Iterable[int]) -> Path:
    datums = (datum_bytes(image, label) for image, label in zip(images, labels, strict=True))
    return write_records(folder, ((b"%08d" % index, datum) for index, datum in enumerate(datums)))
