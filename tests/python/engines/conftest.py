"""What every test of an engine runs under."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def memory_full_of_nan() -> Iterator[None]:
    """PyTorch's deterministic mode fills new memory with NaN: code that reads it before writing shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
