"""A pytest plugin (`make cuda-on-host`): PyTorch's CUDA device in the host's memory, with the kernels that run there.

`lrpolicy._cuda` comes from build/on_host (csrc/kernels/cuda_on_host). A tensor on the device is one of the CPU's whose
type says to everybody that it lies on cuda:0. There is one stream, whose work is done at once, and there are no graphs.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import lrpolicy
from lrpolicy import _core  # noqa: F401  (_cuda takes its types)

MODULE = next((Path(__file__).parents[2] / "build/on_host/csrc/bindings").glob("_cuda.*"))
DEVICE = torch.device("cuda", 0)
CPU, CUDA = 1, 2  # DLPack's numbers
BEFORE_DEVICE = 40  # bytes of a DLManagedTensorVersioned: version, manager, deleter, flags, data

capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
capsule_pointer.restype, capsule_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class OnDevice(torch.Tensor):
    """A tensor of the CPU's memory that calls itself one of cuda:0."""

    __dlpack_c_exchange_api__ = None  # it would tell the truth
    device = DEVICE  # type: ignore[assignment]

    def __dlpack_device__(self) -> tuple[int, int]:  # type: ignore[override]
        return CUDA, 0

    def __dlpack__(self, *, stream: object = None, max_version: object = None) -> Any:  # type: ignore[override]
        capsule = plain(self).__dlpack__(max_version=(1, 0))
        place = capsule_pointer(capsule, b"dltensor_versioned")
        kind = ctypes.c_int32.from_address(place + BEFORE_DEVICE)
        assert kind.value == CPU
        kind.value = CUDA
        return capsule

    def cuda(self) -> Any:  # type: ignore[override]
        return self

    def cpu(self) -> Any:  # type: ignore[override]
        return plain(self).clone()


def plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_subclass(torch.Tensor)


def is_cuda(device: object) -> bool:
    return isinstance(device, str | torch.device) and torch.device(device).type == "cuda"


def moved(tensor: torch.Tensor) -> Any:
    return plain(tensor).clone().as_subclass(OnDevice)


def placed(make: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """A function that makes a tensor, with a `device` that may be ours."""

    @wraps(make)
    def made(*values: Any, device: Any = None, requires_grad: bool = False, **options: Any) -> Any:
        if not is_cuda(device):
            return make(*values, device=device, requires_grad=requires_grad, **options)
        return make(*values, **options).as_subclass(OnDevice).requires_grad_(requires_grad)

    return made


def to(tensor: torch.Tensor, *values: Any, **options: Any) -> Any:
    if values and is_cuda(values[0]):
        return moved(tensor)
    if values and isinstance(values[0], str | torch.device) and isinstance(tensor, OnDevice):
        return tensor.cpu()
    return torch_to(tensor, *values, **options)


torch_to = torch.Tensor.to
torch.Tensor.to = to  # type: ignore[method-assign, assignment]
torch.Tensor.cuda = moved  # type: ignore[method-assign]
for name in ("empty", "full", "ones", "tensor", "zeros"):
    setattr(torch, name, placed(getattr(torch, name)))
torch.version.cuda = "on the host"
for name, answer in {"is_available": True, "device_count": 1, "synchronize": None}.items():
    setattr(torch.cuda, name, lambda *_, answer=answer: answer)
for name in ("Stream", "current_stream"):
    setattr(torch.cuda, name, lambda *_: SimpleNamespace(cuda_stream=0))
for name in ("device", "stream"):
    setattr(torch.cuda, name, lambda *_: nullcontext())

spec = importlib.util.spec_from_file_location("lrpolicy._cuda", MODULE)
assert spec is not None and spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sys.modules["lrpolicy._cuda"] = lrpolicy._cuda = module  # type: ignore[attr-defined]
