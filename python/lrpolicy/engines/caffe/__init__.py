"""The caffe engine: the patched `caffe` binary, run on a job and read by its log (caffe_patch/README.md)."""

from __future__ import annotations

from lrpolicy.engines.caffe.engine import CaffeEngine

__all__ = ["CaffeEngine"]
