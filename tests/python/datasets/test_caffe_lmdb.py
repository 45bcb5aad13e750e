"""Caffe's LMDB, read and written, against records encoded by hand."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import lmdb
import numpy as np
import pytest
from dataset_files import datum_bytes, write_datums, write_records

from lrpolicy.datasets import Examples, open_dataset, read_lmdb, write_lmdb
from lrpolicy.errors import InputError, RunError
from support.full_disk import full_disk


def records_of(folder: Path) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return list(transaction.cursor())


def test_bytes_come_back(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    examples = read_lmdb(write_datums(tmp_path / "x_lmdb", images, labels))
    assert examples.images.dtype == np.uint8
    np.testing.assert_array_equal(examples.images, images)
    np.testing.assert_array_equal(examples.labels, labels)
    assert examples.images.flags.writeable


def test_floats_come_back(tmp_path: Path) -> None:
    images = np.random.default_rng(3).standard_normal((5, 2, 3, 4), dtype=np.float32)
    examples = read_lmdb(write_datums(tmp_path / "x_lmdb", images, range(5)))
    assert examples.images.dtype == np.float32
    np.testing.assert_array_equal(examples.images, images)


def test_the_order_is_the_order_of_the_keys(tmp_path: Path, images: np.ndarray) -> None:
    keys = [b"9", b"10", b"0_cat.jpg", b"\xff"]
    records = [(key, datum_bytes(images[index], index)) for index, key in enumerate(keys)]
    assert read_lmdb(write_records(tmp_path / "x_lmdb", records)).labels.tolist() == [2, 1, 0, 3]


def test_written_records_are_those_of_caffes_own_tools(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    write_lmdb(tmp_path / "x_lmdb", Examples(images, labels, "x"))
    expected = [(b"%08d" % index, datum_bytes(images[index], label)) for index, label in enumerate(labels)]
    assert records_of(tmp_path / "x_lmdb") == expected
    assert [path.name for path in (tmp_path / "x_lmdb").iterdir()] == ["data.mdb"]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_what_is_written_is_read_the_same(tmp_path: Path, images: np.ndarray, labels: np.ndarray, dtype: type) -> None:
    examples = Examples(images.astype(dtype), labels, "x")
    write_lmdb(tmp_path / "x_lmdb", examples)
    assert read_lmdb(tmp_path / "x_lmdb").fingerprint == examples.fingerprint


def test_a_path_need_not_be_utf8(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    folder = tmp_path / os.fsdecode(b"sp ace\xff_lmdb")
    examples = Examples(images, labels, "x")
    write_lmdb(folder, examples)
    assert read_lmdb(folder).fingerprint == examples.fingerprint
    assert [os.fsencode(path.name) for path in tmp_path.iterdir()] == [b"sp ace\xff_lmdb"]


def test_the_map_grows_and_progress_is_told(tmp_path: Path) -> None:
    images = np.random.default_rng(4).integers(
        0, 256, (2300, 1, 100, 100), dtype=np.uint8
    )  # 23 MB; the map begins at 16
    told: list[int] = []
    write_lmdb(tmp_path / "x_lmdb", Examples(images, np.zeros(2300, np.int64), "x"), told.append)
    assert told == [1000, 2000, 2300]
    np.testing.assert_array_equal(read_lmdb(tmp_path / "x_lmdb").images, images)


def test_padding_in_the_name_is_padding_of_the_content(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    examples = Examples(images, labels, "x")
    write_lmdb(tmp_path / "x_train_pad3_lmdb", examples.padded(3))
    read = read_lmdb(tmp_path / "x_train_pad3_lmdb")
    assert read.padding == 3
    assert read.shape == (1, 12, 11)
    assert read.fingerprint == examples.fingerprint


def test_an_existing_target_is_left_alone(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    target = tmp_path / "x_lmdb"
    target.mkdir()
    with pytest.raises(InputError, match="exists already and is not overwritten"):
        write_lmdb(target, Examples(images, labels, "x"))
    assert list(target.iterdir()) == []


def test_a_target_in_no_folder_is_refused(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(InputError, match="nowhere: cannot be written to: No such file or directory"):
        write_lmdb(tmp_path / "nowhere" / "x_lmdb", Examples(images, labels, "x"))


def test_a_write_that_finds_no_room_leaves_nothing(tmp_path: Path) -> None:
    images = np.zeros((50, 1, 40, 40), np.uint8)
    examples = Examples(images, np.zeros(50, np.int64), "x")
    with (
        full_disk(1 << 14),
        pytest.raises(RunError, match=r"x_lmdb: writing the LMDB failed: .*; make room \("),
    ):
        write_lmdb(tmp_path / "x_lmdb", examples)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    def interrupt(written: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lmdb(tmp_path / "x_lmdb", Examples(images, labels, "x"), interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_database_is_refused(tmp_path: Path, part: float) -> None:
    images = np.random.default_rng(5).integers(0, 256, (40, 3, 32, 32), dtype=np.uint8)
    folder = write_datums(tmp_path / "x_lmdb", images, range(40))
    content = (folder / "data.mdb").read_bytes()
    (folder / "data.mdb").write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=r"x_lmdb/data.mdb: .*the database is damaged: write or copy it again"):
        read_lmdb(folder)


def test_a_file_that_is_no_lmdb_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"\x5a" * 20000)
    with pytest.raises(InputError, match="not a whole LMDB"):
        read_lmdb(tmp_path)


def test_no_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.mdb: cannot be read: No such file or directory"):
        read_lmdb(tmp_path / "x_lmdb")


def test_a_database_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must hold at least one example, got 0"):
        read_lmdb(write_records(tmp_path / "x_lmdb", []))


def small(label: int = 0, shape: tuple[int, int, int] = (1, 2, 2)) -> bytes:
    return datum_bytes(np.zeros(shape, np.uint8), label)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (b"\xff\xff\xff", r'record 1 \(key "b"\): the record is not a Caffe Datum'),
        (small() + b"\x38\x01", r'record 1 \(key "b"\): the image is encoded .*; write the LMDB with raw pixels'),
        (small(shape=(1, 3, 2)), r'record 1 \(key "b"\): every image must have the shape 1 x 2 x 2 .*, got 1 x 3 x 2'),
        (b"\x08\x01\x10\x02\x18\x02\x22\x03abc", "1 x 2 x 2 pixels must be 4 values of uint8, .*, got 3 of them"),
        (datum_bytes(np.zeros((1, 2, 2), np.float32), 0), "4 values of uint8, .*, got 0 of them"),
        (small(label=-1), "example 1: a label must be 0 or more, got -1"),
    ],
)
def test_a_wrong_record_is_named(tmp_path: Path, second: bytes, message: str) -> None:
    folder = write_records(tmp_path / "x_lmdb", [(b"a", small()), (b"b", second)])
    with pytest.raises(
        InputError, match=rf"x_lmdb: {message}" if message.startswith(("record", "example")) else message
    ):
        read_lmdb(folder)


def test_a_first_record_without_a_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="channels, height and width of 1 or more, got 0 x 0 x 0"):
        read_lmdb(write_records(tmp_path / "x_lmdb", [(b"a", b"\x28\x01")]))


def test_more_than_the_memory_limit_is_refused_with_numbers(tmp_path: Path) -> None:
    folder = write_datums(tmp_path / "x_lmdb", np.zeros((64, 1, 32, 32), np.uint8), [0] * 64)
    assert len(read_lmdb(folder, memory_limit=1 << 16)) == 64
    with pytest.raises(InputError, match=r"at most 1e-05 GiB .*, got 64 images of 1 x 32 x 32, that is 6.1e-05 GiB"):
        read_lmdb(folder, memory_limit=10737)


def test_a_test_label_outside_the_training_classes_is_refused(tmp_path: Path, images: np.ndarray) -> None:
    write_datums(tmp_path / "x_train_lmdb", images[:4], [0, 1, 2, 1])
    write_datums(tmp_path / "x_test_lmdb", images[:2], [0, 3])
    with pytest.raises(InputError, match=r"x_test_lmdb: example 1: a label must lie in 0\.\.2, got 3"):
        open_dataset(tmp_path)


def test_an_unreadable_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_datums(tmp_path / "x_lmdb", np.zeros((1, 1, 2, 2), np.uint8), [0])

    def denied(self: Path, mode: str = "r") -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match=r"x_lmdb/data.mdb: cannot be read: Permission denied"):
        read_lmdb(folder)
