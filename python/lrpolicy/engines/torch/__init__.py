"""The torch engine: Caffe's solver and net prototxt, trained by PyTorch with Caffe's meaning."""

from lrpolicy.engines.torch.engine import TorchEngine

__all__ = ["TorchEngine"]
