"""Nets and solvers that ship with lrpolicy: the LRBench paper's set-ups (Table II), and digits to try things on.

Their data layers name sources NAME_train_lmdb and NAME_test_lmdb (NAME_train_pad4_lmdb: images padded by 4 zeros) and
mean files NAME_mean.binaryproto (NAME_pad4_mean.binaryproto), which engines resolve in the user's data folder;
"digits" comes with scikit-learn.
"""

from __future__ import annotations

from pathlib import Path

from lrpolicy.errors import InputError, did_you_mean

_FOLDER = Path(__file__).parent
_SUFFIX = "_solver.prototxt"


def names() -> list[str]:
    """The names of the shipped solvers, such as "digits" and "mnist-lenet"."""
    return sorted(path.name.removesuffix(_SUFFIX).replace("_", "-") for path in _FOLDER.glob(f"*{_SUFFIX}"))


def solver_path(name: str) -> Path:
    """The solver prototxt of a shipped name. Raises InputError for an unknown one."""
    if name not in names():
        raise InputError(f'"{name}" does not ship with lrpolicy', remedy=did_you_mean(name, names()))
    return _FOLDER / f"{name.replace('-', '_')}{_SUFFIX}"


def find(name_or_path: str | Path) -> Path:
    """The solver of a shipped name, else the file of that path. Raises InputError where neither exists."""
    text = str(name_or_path)
    if text in names():
        return solver_path(text)
    if text and Path(text).exists():
        return Path(text)
    rule = "there is no such solver file" if text.endswith(".prototxt") or "/" in text else "no such solver"
    raise InputError(rule, where=text or '""', remedy=did_you_mean(text, names()))
