"""The torch engine: Caffe's solver and net prototxt, trained by PyTorch with Caffe's meaning.

Importing this package raises NotAvailableError where PyTorch is not installed.
"""

from __future__ import annotations

import os

from lrpolicy.errors import NotAvailableError

# GNU's OpenMP, which reads this when PyTorch loads it, turns 300,000 times while a thread waits for another. Where
# other programs want the cores too that eats the other's time slice, and a training takes ten times as long.
_CHOOSES_TURNS = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}.isdisjoint(os.environ)
if _CHOOSES_TURNS:
    os.environ["GOMP_SPINCOUNT"] = "30000"
try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise NotAvailableError(f"the torch engine needs PyTorch ({error}); pip install 'lrpolicy[torch]'") from error
finally:
    if _CHOOSES_TURNS:  # child processes choose for themselves
        del os.environ["GOMP_SPINCOUNT"]

from lrpolicy.engines.torch.engine import TorchEngine  # noqa: E402  (it needs PyTorch, which must not come before)

__all__ = ["TorchEngine"]
