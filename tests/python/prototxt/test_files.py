"""Files that are whole or not there, and what stands in their place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lrpolicy.errors import InputError
from lrpolicy.prototxt.files import write_bytes


def test_a_pipe_or_device_is_not_replaced(tmp_path: Path) -> None:
    """Root may write in /dev: a report to /dev/null took the place of the device."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(InputError, match="pipe: this is a device or a pipe; a file name is needed"):
            write_bytes(path, b"content")
    assert pipe.is_fifo() and link.is_symlink() and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "folder" / "target"
    target.parent.mkdir()
    if there:
        target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(Path("folder", "target"))
    write_bytes(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["target"]
