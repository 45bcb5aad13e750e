"""The torch engine: Caffe's solver and net prototxt, trained by PyTorch with Caffe's meaning.

Importing this package raises NotAvailableError where PyTorch is not installed.
"""

from __future__ import annotations

from lrpolicy.errors import NotAvailableError

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise NotAvailableError(f"the torch engine needs PyTorch ({error}); pip install 'lrpolicy[torch]'") from error

from lrpolicy.engines.torch.engine import TorchEngine

__all__ = ["TorchEngine"]
