"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path

from lrpolicy.errors import InputError, RunError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Temporary files that are whole, with the paths that they are for, within `together`.
_waiting: ContextVar[list[tuple[Path, Path]] | None] = ContextVar("_waiting", default=None)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield the path of a temporary file beside `path` that takes its place when the block ends well.

    A link stays: it is what it names that is replaced.

    Raises:
        InputError: the folder does not exist, or `path` is one, or a device or pipe, which nothing may replace.
        RunError: the file cannot be written, as on a full disk; nothing is left behind and an old file stays.
    """
    path = Path(path)
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise InputError("no such folder", where=str(path.parent), remedy=f"it is needed to write {path.name}")
    if path.is_dir():
        raise InputError("this is a folder; a file name is needed", where=str(path))
    if path.exists() and not path.is_file():
        raise InputError("this is a device or a pipe; a file name is needed", where=str(path))
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        os.close(handle)
        temporary.chmod(0o666 & ~_umask())
        yield temporary
        waiting = _waiting.get()
        if waiting is None:
            temporary.replace(path)
        else:
            waiting.append((temporary, path))
            temporary = None
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {refusal(error)}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Files that `replacing` makes within a `with` block take their places when it ends well, in their order.

    Where it does not, none does, and what stood there before is as it was. Raises RunError as `replacing`.
    """
    waiting: list[tuple[Path, Path]] = []
    token = _waiting.set(waiting)
    try:
        yield
        for temporary, path in waiting:
            try:
                temporary.replace(path)
            except OSError as error:
                raise RunError(f"{path}: cannot be written: {refusal(error)}") from error
    finally:
        _waiting.reset(token)
        for temporary, _ in waiting:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def all_or_none(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Make the folder for a `with` block that writes files and folders of these names into it, all of them or none.

    Where the block fails, what it made is removed; what was there before stays. Raises RunError where the folder
    cannot be made.
    """
    new = [path for path in (folder / name for name in names) if not path.exists()]
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_empty(missing)
        raise RunError(f"{folder}: the folder cannot be made: {refusal(error)}") from error
    try:
        yield
    except BaseException:
        for path in new:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        _remove_empty(missing)
        raise


def refusal(error: OSError) -> str:
    """Why a place takes no file, and what to do."""
    return f"{error.strerror or error}; {'make room there, or ' if error.errno in _FULL else ''}give another place"


def check_writable(folder: str | Path) -> None:
    """Raise InputError where no file can be made in `folder`, which need not exist yet; nothing is left behind.

    Where that is for want of room it is a RunError. For the start of what takes long and writes at its end.
    """
    folder = Path(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in _FULL:
            raise RunError(f"{folder}: cannot be written: {refusal(error)}") from error
        rule = f"cannot be written: {error.strerror or error}"
        raise InputError(rule, where=str(folder), remedy="give another folder") from error
    finally:
        _remove_empty(missing)


def _remove_empty(folders: Iterable[Path]) -> None:
    for path in folders:
        with contextlib.suppress(OSError):  # it was not made, or someone else uses it by now
            path.rmdir()


def check_name(path: Path) -> None:
    """Raise InputError for a path that no message of Caffe's can hold: their texts are UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        remedy = "rename it, or give another place"
        raise InputError("Caffe's files name paths in UTF-8 only", where=str(path), remedy=remedy) from None


def check_folder(prefix: Path) -> None:
    """Raise InputError where the folder of the snapshots named `prefix` is not there, or takes no file.

    A snapshot names its weights, so that the prefix must be UTF-8.
    """
    check_name(prefix)
    if not prefix.parent.is_dir():
        remedy = "make it, or give another prefix (--snapshot-prefix, snapshot_prefix)"
        raise InputError("no such folder for the snapshots", where=str(prefix.parent), remedy=remedy)
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
