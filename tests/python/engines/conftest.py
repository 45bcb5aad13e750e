"""What every test of an engine runs under."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lrpolicy.engines.caffe import CaffeEngine


@pytest.fixture(autouse=True)
def memory_full_of_nan() -> Iterator[None]:
    """PyTorch's deterministic mode fills new memory with NaN: code that reads it before writing shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def engine(caffe_binary: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CaffeEngine:
    """The caffe engine with the patched binary, its files in an empty folder; skipped without one."""
    monkeypatch.setenv("LRPOLICY_CAFFE", str(caffe_binary))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return CaffeEngine()
