"""Real Caffe's command line, and how far two nets' weights lie apart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Blobs = Mapping[str, Sequence[NDArray[np.float32]]]


def run_caffe(binary: Path, *arguments: object, cwd: Path) -> str:
    """What `caffe` logs. It must end well."""
    environment = {**os.environ, "GLOG_logtostderr": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [str(binary), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stderr


def distance(left: Blobs, right: Blobs) -> float:
    """The largest difference of two nets' weights, relative to the largest weight of the same layer.

    Of the layer and not of the blob: a bias before a BatchNorm has no gradient, its value is float32 noise.
    """
    named = {name: blobs for name, blobs in right.items() if blobs}
    assert left.keys() >= named.keys(), "Caffe leaves shared blobs out of HDF5 files, and nothing else"
    largest = 0.0
    for name, theirs in named.items():
        scale = max(float(np.abs(blob).max(initial=0)) for blob in theirs)
        for mine, other in zip(left[name], theirs, strict=True):
            largest = max(largest, float(np.abs(mine.astype(float) - other).max(initial=0)) / scale)
    return largest
