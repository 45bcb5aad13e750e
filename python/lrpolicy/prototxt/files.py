"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lrpolicy.errors import InputError, RunError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield the path of a temporary file beside `path` that takes its place when the block ends well.

    Raises:
        InputError: the folder does not exist, or `path` is one.
        RunError: the file cannot be written, as on a full disk; nothing is left behind and an old file stays.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError("no such folder", where=str(path.parent), remedy=f"it is needed to write {path.name}")
    if path.is_dir():
        raise InputError("this is a folder; a file name is needed", where=str(path))
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        os.close(handle)
        temporary.chmod(0o666 & ~_umask())
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_writable(folder: str | Path) -> None:
    """Raise InputError where no file can be made in `folder`, which need not exist yet; nothing is left behind.

    For the start of what takes long and writes at its end.
    """
    folder = Path(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        rule = f"cannot be written: {error.strerror or error}"
        raise InputError(rule, where=str(folder), remedy="give another folder") from error
    finally:
        for path in missing:
            with contextlib.suppress(OSError):  # it was not made, or someone else uses it by now
                path.rmdir()


def check_folder(prefix: Path) -> None:
    """Raise InputError where the folder of the snapshots named `prefix` is not there, or takes no file."""
    if not prefix.parent.is_dir():
        raise InputError("no such folder for the snapshots", where=str(prefix.parent))
    check_writable(prefix.parent)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file, or nothing. Raises as `replacing`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
