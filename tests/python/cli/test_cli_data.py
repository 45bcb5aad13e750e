"""`lrpolicy data`: what it says, what it writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lrpolicy import cli, datasets
from lrpolicy.caffemodel import read_mean
from lrpolicy.datasets import Examples, open_dataset, read_lmdb
from support.full_disk import full_disk


def test_info_counts_every_class(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["data", "info", "digits", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["train_size"] == sum(facts["train_per_class"]) == 1437
    assert facts["test_size"] == sum(facts["test_per_class"]) == 360
    assert facts["train_mean_values"] == [pytest.approx(open_dataset("digits").train.images.mean(), abs=1e-4)]
    assert facts["fingerprint"] == open_dataset("digits").fingerprint
    assert cli.run(["data", "info", "digits"]) == 0
    assert facts["fingerprint"] in capsys.readouterr().out


def test_lmdb_writes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "lmdb"
    assert cli.run(["data", "lmdb", "digits", str(out), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert [Path(row["path"]).name for row in written] == ["digits_train_lmdb", "digits_test_lmdb"]
    assert [row["examples"] for row in written] == [1437, 360]
    dataset = open_dataset(out)
    assert (dataset.name, dataset.fingerprint) == ("digits", open_dataset("digits").fingerprint)


def test_lmdb_pads_and_sets_apart(tmp_path: Path) -> None:
    assert cli.run(["data", "lmdb", "digits", str(tmp_path), "--pad", "2", "--validation", "0.1"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "digits_train_pad2_lmdb",
        "digits_val_lmdb",
        "digits_test_lmdb",
    }
    train, validation = read_lmdb(tmp_path / "digits_train_pad2_lmdb"), read_lmdb(tmp_path / "digits_val_lmdb")
    assert (train.shape, validation.shape) == ((1, 12, 12), (1, 8, 8))
    both = np.concatenate([train.images[:, :, 2:-2, 2:-2], validation.images])
    assert sorted(map(bytes, both)) == sorted(map(bytes, open_dataset("digits").train.images))


def test_lmdb_overwrites_nothing_and_then_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "digits_test_lmdb").mkdir()
    assert cli.run(["data", "lmdb", "digits", str(tmp_path)]) == 2
    assert "digits_test_lmdb: exists already and is not overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["digits_test_lmdb"]


@pytest.mark.parametrize("rooms", [{"train": 0}, {"train": 1 << 24, "test": 0}])
@pytest.mark.parametrize("there", [True, False])
def test_lmdb_on_a_full_disk_leaves_nothing(
    rooms: dict[str, int],
    there: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "new" / "lmdb"
    if there:
        out.mkdir(parents=True)
        (out / "mine").touch()
    whole = datasets.write_lmdb

    def write(path: Path, examples: Examples, progress: Callable[[int], None]) -> None:
        with full_disk(rooms[path.name.split("_")[1]]):
            whole(path, examples, progress)

    monkeypatch.setattr(datasets, "write_lmdb", write)
    assert cli.run(["data", "lmdb", "digits", str(out)]) == 1
    assert "_lmdb: writing the LMDB failed: " in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == ([tmp_path / "new", out, out / "mine"] if there else [])


def test_mean_is_the_training_images_mean(tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    assert cli.run(["data", "mean", "digits", str(path), "--pad", "1"]) == 0
    expected = np.pad(open_dataset("digits").train.images.mean(axis=0), ((0, 0), (1, 1), (1, 1)))
    np.testing.assert_array_equal(read_mean(path), expected.astype(np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nowhere"], "nowhere: no such folder; give"),
        (["lmdb", "digits", "/dev/null/x"], "/dev/null/x: cannot be written: Not a directory; give another folder"),
        (["lmdb", "digits", "out", "--validation", "0.0001"], "both sides of 1437, got size 0.0001"),
        (["lmdb", "digits", "out", "--validation", "1"], "not in the range 0<x<1"),
        (["mean", "digits", "nowhere/mean.binaryproto"], "nowhere: no such folder"),
        ([], "Missing command"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["data", *arguments]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
