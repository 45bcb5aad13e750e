"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Keras would take TensorFlow, and write a file into the home folder to say so.
os.environ.setdefault("KERAS_BACKEND", "jax")

# A shell's background job ignores SIGINT, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds mnist/ and cifar10/, named by LRPOLICY_DATA; without it the test is skipped."""
    folder = os.environ.get("LRPOLICY_DATA")
    if not folder:
        pytest.skip("LRPOLICY_DATA is not set: no real MNIST and CIFAR-10 here")
    path = Path(folder)
    missing = [name for name in ("mnist", "cifar10") if not (path / name).is_dir()]
    if missing:
        pytest.skip(f"LRPOLICY_DATA={folder} has no {' and no '.join(missing)} folder")
    return path


@pytest.fixture(scope="session")
def caffe_binary() -> Path:
    """The patched Caffe named by LRPOLICY_CAFFE, or that of `make caffe`; without one the test is skipped."""
    built = Path(__file__).resolve().parents[1] / "build" / "caffe" / "bin" / "caffe"
    binary = Path(os.environ.get("LRPOLICY_CAFFE") or built)
    if not os.access(binary, os.X_OK):
        pytest.skip(f"no patched Caffe at {binary}: make caffe, or name one in LRPOLICY_CAFFE")
    return binary.absolute()
