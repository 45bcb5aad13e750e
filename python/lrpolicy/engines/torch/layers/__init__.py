"""Caffe's layers as closures over PyTorch functions: one builder for each layer type, found by name."""

from lrpolicy.engines.torch.layers import elementwise, losses, pooling, reshaping, sources, weighted
from lrpolicy.engines.torch.layers.registry import Forward, LayerContext, StepRandom, build_layer, layer_types

__all__ = [
    "Forward",
    "LayerContext",
    "StepRandom",
    "build_layer",
    "elementwise",
    "layer_types",
    "losses",
    "pooling",
    "reshaping",
    "sources",
    "weighted",
]
