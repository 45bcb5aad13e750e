"""Caffe's snapshot files, read and written as plain NumPy values: weights, solver state, mean image.

A name that ends in .h5 is HDF5, any other BINARYPROTO, as in Caffe. Files are written whole or not at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lrpolicy.caffemodel import binary, hdf5
from lrpolicy.caffemodel.record import Array, SolverState, Weights, fit, fit_layer

__all__ = [
    "Array",
    "SolverState",
    "Weights",
    "fit",
    "fit_layer",
    "read_mean",
    "read_state",
    "read_weights",
    "write_mean",
    "write_state",
    "write_weights",
]


def read_weights(path: str | Path) -> dict[str, list[Array]]:
    """The blobs of a .caffemodel[.h5] by layer name, float32, in Caffe's shapes (old files: 4-D, see `fit`).

    A layer without weights has none. A blob that another layer owns, which Caffe leaves out of HDF5 files, is missing
    at the list's end or has the shape (0,); so may its whole layer be.

    Raises InputError for a file that is missing, truncated, or something else.
    """
    path = Path(path)
    return hdf5.read_weights(path) if path.suffix == ".h5" else binary.read_weights(path)


def write_weights(path: str | Path, weights: Weights, net: Any | None = None) -> None:
    """Write a .caffemodel[.h5].

    `net` is the filtered NetParameter that the weights belong to; with it BINARYPROTO files describe the whole net,
    as Caffe's do. Raises InputError (no such folder) or RunError (cannot be written, a full disk).
    """
    path = Path(path)
    if path.suffix == ".h5":
        hdf5.write_weights(path, weights)
    else:
        binary.write_weights(path, weights, net)


def read_state(path: str | Path) -> SolverState:
    """Read a .solverstate[.h5]. Raises InputError for a file that is missing, truncated, or something else."""
    path = Path(path)
    return hdf5.read_state(path) if path.suffix == ".h5" else binary.read_state(path)


def write_state(path: str | Path, state: SolverState) -> None:
    """Write a .solverstate[.h5]. Raises as `write_weights`."""
    path = Path(path)
    if path.suffix == ".h5":
        hdf5.write_state(path, state)
    else:
        binary.write_state(path, state)


def read_mean(path: str | Path) -> Array:
    """A mean image (.binaryproto), float32 of (channels, height, width). Raises InputError as `read_weights`."""
    return binary.read_mean(Path(path))


def write_mean(path: str | Path, mean: Array) -> None:
    """Write a mean image of (channels, height, width). Raises as `write_weights`."""
    binary.write_mean(Path(path), mean)
