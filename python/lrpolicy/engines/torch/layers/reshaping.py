"""Layers that move numbers without changing them: Concat, Slice, Crop, Flatten, Reshape, Split, Silence."""

from __future__ import annotations

import torch

from lrpolicy.engines.torch.layers.registry import Forward, LayerContext, layer


@layer("Concat")
def concat(context: LayerContext) -> Forward:
    """The bottoms one behind the other along `axis` (or the older `concat_dim`)."""
    param = context.layer.concat_param
    axis = param.concat_dim if param.HasField("concat_dim") else param.axis
    return lambda *bottoms: torch.cat(bottoms, axis)


@layer("Slice")
def slice_(context: LayerContext) -> Forward:
    """The bottom cut along `axis` (or the older `slice_dim`) at the slice_points, or into equal parts."""
    param = context.layer.slice_param
    axis = param.slice_dim if param.HasField("slice_dim") else param.axis
    sizes = [shape[axis] for shape in context.top_shapes]
    return lambda x: torch.split(x, sizes, axis)


@layer("Crop")
def crop(context: LayerContext) -> Forward:
    """The first bottom cut to the second one's size, from `axis` on, starting at `offset`."""
    param, bottom, top = context.layer.crop_param, context.bottom_shapes[0], context.top_shapes[0]
    first, offsets = param.axis % len(bottom), tuple(param.offset) or (0,)
    if len(offsets) == 1:
        offsets *= len(bottom) - first
    window = (slice(None),) * first + tuple(slice(o, o + n) for o, n in zip(offsets, top[first:], strict=True))
    return lambda x, _reference: x[window]


@layer("Flatten", "Reshape")
def reshape(context: LayerContext) -> Forward:
    """The same numbers in another shape."""
    shape = context.top_shapes[0]
    return lambda x: x.reshape(shape)


@layer("Split")
def split(context: LayerContext) -> Forward:
    """The bottom under several names."""
    count = len(context.top_shapes)
    return lambda x: (x,) * count


@layer("Silence")
def silence(context: LayerContext) -> Forward:
    """Takes bottoms that nobody else wants."""
    return lambda *_bottoms: ()
