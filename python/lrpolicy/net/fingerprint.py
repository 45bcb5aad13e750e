"""A hash that says whether two nets are the same network."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from typing import Any

from lrpolicy.net.layer_types import DATA_TYPES, layer_type
from lrpolicy.net.reader import Net
from lrpolicy.prototxt.messages import is_repeated

# What does not change what is learned: where data lies, how much at once, and which code computes it.
_IGNORED_FIELDS = {"engine", "mean_file", "force_nd_im2col"}


def fingerprint(net: Net) -> str:
    """16 hex digits that depend on the structure of the training layers alone.

    Types, connections, settings (a default counts as if written), fillers, multipliers and sharing count; names,
    comments, order of fields, paths of data, batch sizes and ignored blocks do not.
    """
    blobs: dict[str, int] = {}
    shared: dict[str, int] = {}
    results = itertools.count()
    layers = [_layer(layer, blobs, shared, results) for layer in net.for_state("TRAIN").layer]
    return hashlib.sha256(json.dumps(layers, sort_keys=True).encode()).hexdigest()[:16]


def _layer(layer: Any, blobs: dict[str, int], shared: dict[str, int], results: Iterator[int]) -> dict[str, Any]:
    known = layer_type(layer)
    bottoms = [blobs.get(name, -1) for name in layer.bottom]
    for name in layer.top:  # a top in place is a new result, too: what counts is who reads whose
        blobs[name] = next(results)
    blocks = {block: _values(getattr(layer, block)) for block in known.blocks if block not in _data_blocks(layer)}
    for block in ("dummy_data_param", "input_param"):
        if block in blocks:
            blocks[block].pop("num", None)
            blocks[block]["shape"] = [list(shape.dim[1:]) for shape in getattr(layer, block).shape]
    return {
        "type": layer.type,
        "bottom": bottoms,
        "top": [blobs[name] for name in layer.top],
        "loss_weight": list(layer.loss_weight),
        "param": [_spec(spec, shared) for spec in layer.param],
        "propagate_down": list(layer.propagate_down),
        "blocks": blocks,
    }


def _data_blocks(layer: Any) -> tuple[str, ...]:
    return layer_type(layer).blocks[:1] if layer.type in DATA_TYPES else ()


def _spec(spec: Any, shared: dict[str, int]) -> list[Any]:
    number = shared.setdefault(spec.name, len(shared)) if spec.name else None
    return [number, spec.lr_mult, spec.decay_mult]


def _values(message: Any) -> dict[str, Any]:
    """Every field of a message, defaults included, as plain values."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.name in _IGNORED_FIELDS:
            continue
        value = getattr(message, field.name)
        if is_repeated(field):
            values[field.name] = [_values(item) if field.message_type else item for item in value]
        else:
            values[field.name] = _values(value) if field.message_type else value
    return values
