"""Prototxt text: what is refused, in which words, and the line of every field."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrpolicy.errors import InputError, RunError
from lrpolicy.prototxt import files, messages, text

NET = """\
# a comment { with a brace
name: 'n'  # another
layer {
  name: "a" type: "Convolution"
  convolution_param {
    kernel_size: [3,
                  5]
    weight_filler < type: "x" 'avier' >
  }
  param { lr_mult: 1 } param: { lr_mult: 2.5f; }
}
layer { name: "b"
  include: [{ phase: TRAIN }, {
    phase: TEST }] }
"""


def test_every_field_knows_its_line() -> None:
    document = text.parse(NET, messages.NetParameter(), "n.prototxt")
    assert document.message.layer[0].convolution_param.weight_filler.type == "xavier"
    expected = {
        ("name",): 2,
        ("layer", 0): 3,
        ("layer", 0, "type"): 4,
        ("layer", 0, "convolution_param", "kernel_size", 0): 6,
        ("layer", 0, "convolution_param", "kernel_size", 1): 7,
        ("layer", 0, "convolution_param", "weight_filler", "type"): 8,
        ("layer", 0, "param", 1, "lr_mult"): 10,
        ("layer", 1): 12,
        ("layer", 1, "include", 1, "phase"): 14,
    }
    for path, line in expected.items():
        assert document.where(*path) == f"n.prototxt:{line}", path


def test_a_field_that_is_not_there_stands_where_its_block_does() -> None:
    document = text.parse(NET, messages.NetParameter(), "n.prototxt")
    assert document.where("layer", 0, "convolution_param", "pad") == "n.prototxt:5"
    assert document.where("input") == "n.prototxt"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "s: the file is empty"),
        ("# nothing\n", "s: the file is empty"),
        (
            "\ufeffbase_lr: 1",
            "s:1: the file begins with a byte order mark, which Caffe does not read; save it as UTF-8 without it",
        ),
        ("net: 'a'\nbase_lr: fast", "s:2: couldn't parse float: fast"),
        ("base_lr: 1\n\nbase_lr: 2", 's:3: "base_lr" of SolverParameter stands twice'),
        ("stepsize: 99999999999", "s:1: value out of range: 99999999999"),
        ("\ngamma: 1e999", "s:2: gamma must be finite, got inf"),
        ("gamma: nan", "s:1: gamma must be finite, got nan"),
        ("solver_mode: TPU", 's:1: SolverMode "TPU" is unknown; known: CPU, GPU; did you mean "GPU"?'),
        ("snapshot_format: 9", 's:1: SnapshotFormat "9" is unknown; known: BINARYPROTO, HDF5'),
        (
            "net_param {\n layer {\n clip_param { min: 1 } } }",
            "s:3: net_param.layer[0].clip_param.max is required and missing",
        ),
    ],
)
def test_refused(source: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        text.parse(source, messages.SolverParameter(), "s")
    assert str(caught.value) == message


def test_deep_nesting_is_refused_before_anything_recurses() -> None:
    with pytest.raises(InputError, match="s:51: blocks nest deeper than 50"):
        text.parse("a {\n" * 100_000, messages.SolverParameter(), "s")


def test_a_line_without_end_is_refused_before_it_takes_time() -> None:
    with pytest.raises(InputError, match="s:2: a line is longer than 10000 characters, got 1000000"):
        text.parse("base_lr: 1\n" + "a: 1 " * 200_000, messages.SolverParameter(), "s")


def test_unknown_fields_are_listed_with_line_value_and_nearest_name() -> None:
    source = "base_lr: 1\nstepsze: 5\nfoo { bar { x: 1 } }\nnet_param { lair: 2 }"
    document = text.parse(source, messages.SolverParameter(), "s")
    found = [(field.where, field.message, field.name, field.nearest, field.value) for field in document.unknown]
    assert found == [
        ("s:2", "SolverParameter", "stepsze", "stepsize", "5"),
        ("s:3", "SolverParameter", "foo", None, None),
        ("s:4", "NetParameter", "lair", "layer", "2"),
    ]


def test_files_that_are_no_text(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"ok\n\xff\xfe")
    for path, rule in ((binary, f"{binary}:2: this is no prototxt: byte 3 is not UTF-8 text"),
                       (tmp_path, f"{tmp_path}: this is a directory; a prototxt file is needed"),
                       (tmp_path / "no", f"{tmp_path / 'no'}: no such file")):  # fmt: skip
        with pytest.raises(InputError) as caught:
            text.read_text(path)
        assert str(caught.value) == rule


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "solver.prototxt"
    target.write_text("old")
    with pytest.raises(RunError, match="cannot be written: No space left"), files.replacing(target) as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_files_written_together_take_their_places_together(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("old")
    with pytest.raises(RunError, match=f"^{two}: cannot be written: No space left"), files.together():
        files.write_bytes(one, b"new")
        with files.replacing(two):
            raise OSError(28, "No space left on device")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"one": "old"}
    with files.together():
        files.write_bytes(one, b"new")
        files.write_bytes(two, b"new")
        assert one.read_text() == "old" and not two.exists()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"one": "new", "two": "new"}
    files.write_bytes(one, b"alone again")
    assert one.read_text() == "alone again"


@pytest.mark.parametrize("error", [RunError("no room"), KeyboardInterrupt()])
def test_what_belongs_together_is_written_whole_or_not_at_all(tmp_path: Path, error: BaseException) -> None:
    folder = tmp_path / "a" / "b"
    with pytest.raises(type(error)), files.all_or_none(folder, ["one", "two"]):
        (folder / "one").write_text("1")
        raise error
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)
    (folder / "one").write_text("old")
    (folder / "other").touch()
    with pytest.raises(type(error)), files.all_or_none(folder, ["one", "two", "three"]):
        (folder / "two").mkdir()
        (folder / "two" / "half").touch()
        raise error
    assert sorted(path.name for path in folder.iterdir()) == ["one", "other"]
    with files.all_or_none(folder, ["two"]):
        (folder / "two").touch()
    assert sorted(path.name for path in folder.iterdir()) == ["one", "other", "two"]


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(RunError, match=r"file/x: the folder cannot be made: Not a directory; give another place$"),
        files.all_or_none(tmp_path / "file" / "x", ["one"]),
    ):
        pass
    assert files.refusal(OSError(28, "No space left")) == "No space left; make room there, or give another place"


def test_a_written_file_is_whole_and_readable_like_any_other(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "new", b"content")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "new").read_bytes() == b"content"
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    with pytest.raises(InputError, match="no such folder"):
        files.write_bytes(tmp_path / "absent" / "file", b"")
