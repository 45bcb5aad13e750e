"""Keras has one backend in a process: the tests of this folder run again, under torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

keras = pytest.importorskip("keras")


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="this is the run under torch")
def test_under_the_torch_backend() -> None:
    pytest.importorskip("torch")
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        HERE,
        HERE.parent / "test_conformance.py",
        HERE.parent / "test_composition_conformance.py",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
