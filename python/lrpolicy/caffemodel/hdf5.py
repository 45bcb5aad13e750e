"""HDF5 snapshots, .caffemodel.h5 and .solverstate.h5, in Caffe's layout. Alone imports h5py.

Weights: /data/LAYER/0, /data/LAYER/1, ... State: iter, learned_net, current_step, /history/0, ...
(src/caffe/net.cpp, src/caffe/solvers/sgd_solver.cpp, src/caffe/util/hdf5.cpp). Ours: lrpolicy_state and
/lrpolicy_history/0, ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lrpolicy.caffemodel.record import Array, SolverState, Weights
from lrpolicy.errors import InputError, NotAvailableError
from lrpolicy.prototxt import files


def read_weights(path: Path) -> dict[str, list[Array]]:
    """The blobs of every layer by its name; an empty array where Caffe left one out (Net::ToHDF5)."""
    with _reading(path) as file:
        weights = {name: _numbered(group, missing=True) for name, group in file["data"].items()}
    if not any(weights.values()):
        raise InputError("this is no .caffemodel.h5: it holds no layer with weights", where=str(path))
    return weights


def write_weights(path: Path, weights: Weights) -> None:
    """Write the blobs of every layer."""
    for name in weights:
        if "/" in name:
            rule = f'layer "{name}" has a slash in its name, which HDF5 cannot hold'
            raise InputError(rule, where=str(path), remedy="use snapshot_format: BINARYPROTO")
    with _writing(path) as file:
        for name, blobs in weights.items():
            _fill(file.create_group(f"data/{name}"), blobs)


def read_state(path: Path) -> SolverState:
    """Read a solver state."""
    with _reading(path) as file:
        return SolverState(
            iter=int(file["iter"][0]),
            learned_net=_text(file["learned_net"]).decode(),
            current_step=int(file["current_step"][0]),
            history=tuple(_numbered(file["history"])),
            extra=_text(file["lrpolicy_state"]) if "lrpolicy_state" in file else b"",
            policy_history=tuple(_numbered(file["lrpolicy_history"]) if "lrpolicy_history" in file else ()),
        )


def write_state(path: Path, state: SolverState) -> None:
    """Write a solver state."""
    with _writing(path) as file:
        file["iter"] = np.array([state.iter], np.int32)
        file["current_step"] = np.array([state.current_step], np.int32)
        _write_text(file, "learned_net", state.learned_net.encode())
        _fill(file.create_group("history"), state.history)
        if state.extra:
            _write_text(file, "lrpolicy_state", state.extra)
        if state.policy_history:
            _fill(file.create_group("lrpolicy_history"), state.policy_history)


def _text(dataset: Any) -> bytes:
    return bytes(dataset[()]).rstrip(b"\0")


def _write_text(file: Any, name: str, text: bytes) -> None:
    """One byte more than the text has: Caffe reads up to the zero that C strings end with."""
    file.create_dataset(name, data=np.array(text, f"S{len(text) + 1}"))


def _numbered(group: Any, *, missing: bool = False) -> list[Array]:
    """The arrays 0, 1, ... of a group; where some may be missing, (0,) in their place."""
    count = max((int(name) + 1 for name in group), default=0) if missing else len(group)
    nothing = np.empty(0, np.float32)
    return [
        nothing if missing and str(index) not in group else np.asarray(group[str(index)], np.float32)
        for index in range(count)
    ]


def _fill(group: Any, blobs: Any) -> None:
    for index, blob in enumerate(blobs):
        group[str(index)] = np.asarray(blob, np.float32)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise NotAvailableError("HDF5 snapshots need h5py; install it with  pip install lrpolicy[data]") from None
    return h5py


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    h5py = _h5py()
    if not path.is_file():
        raise InputError("no such file", where=str(path))
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, AttributeError, TypeError, ValueError, IndexError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        rule = f"this is no HDF5 snapshot of Caffe's, or it is truncated ({reason})"
        raise InputError(rule, where=str(path), remedy="give a whole one, of an earlier iteration") from None


@contextmanager
def _writing(path: Path) -> Iterator[Any]:
    h5py = _h5py()
    with files.replacing(path) as temporary:
        try:
            with h5py.File(temporary, "w") as file:
                yield file
        except (RuntimeError, ValueError) as error:  # how h5py reports a failed flush
            raise OSError(str(error)) from error
