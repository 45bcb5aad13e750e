"""Layers without bottoms that are not data: DummyData."""

from __future__ import annotations

import torch
from torch import Tensor

from lrpolicy.engines.torch.fillers import fill
from lrpolicy.engines.torch.layers.registry import Forward, LayerContext, layer
from lrpolicy.prototxt.messages import FillerParameter


@layer("DummyData")
def dummy_data(context: LayerContext) -> Forward:
    """Tops filled by fillers: constants once, anything else anew in every pass."""
    fillers = list(context.layer.dummy_data_param.data_filler) or [FillerParameter()]
    if len(fillers) == 1:
        fillers *= len(context.top_shapes)
    filled = list(zip(fillers, context.top_shapes, strict=True))

    def tops(seed: int, step: int) -> tuple[Tensor, ...]:
        arrays = (fill(filler, shape, seed, step * len(filled) + i) for i, (filler, shape) in enumerate(filled))
        return tuple(torch.from_numpy(array).to(context.random.device, context.dtype) for array in arrays)

    if all(filler.type == "constant" for filler in fillers):
        constants = tops(0, 0)
        return lambda: constants
    return lambda: tops(context.random.seed, context.random.step)
