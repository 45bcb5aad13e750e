"""Older net forms turned into today's, as Caffe does on reading (src/caffe/util/upgrade_proto.cpp).

Three forms: `layers { type: CONVOLUTION }` (V1), transformations inside data blocks, and `input` fields instead of an
Input layer. The form of 2013 (V0, a layer inside `layers`) is refused.
"""

from __future__ import annotations

from typing import Any

from lrpolicy.errors import InputError
from lrpolicy.prototxt.messages import LayerParameter, enum_name
from lrpolicy.prototxt.text import Document

Origin = tuple[str | int, ...]

_V1_NAMES = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "ELTWISE": "Eltwise",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "IM2COL": "Im2col",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
    "NONE": "",
}
_V1_PER_BLOB = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
_DATA_BLOCKS = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}


def upgrade(document: Document) -> tuple[list[Origin], list[str]]:
    """Bring `document.message` (a NetParameter) to today's form, in place.

    Returns:
        Where each layer stands in the file, as a field path, and notes on what was changed.

    Raises:
        InputError: `layer` and `layers` are mixed, a V0 layer, or inputs without their dimensions.
    """
    net, notes = document.message, []
    origins: list[Origin] = [("layer", index) for index in range(len(net.layer))]
    if net.layers:
        notes.append(f"{document.where('layers', 0)}: old `layers` blocks are read as `layer` blocks")
        origins = _upgrade_v1(document)
    for index, layer in enumerate(net.layer):
        if _move_transformation(layer):
            notes.append(
                f"{document.where(*origins[index])}: scale, mean_file, crop_size, mirror moved to transform_param"
            )
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            for spec in layer.param:
                spec.lr_mult = spec.decay_mult = 0
    if net.input:
        origins = _upgrade_inputs(document) + origins
    return origins, notes


def _upgrade_v1(document: Document) -> list[Origin]:
    net = document.message
    if net.layer:
        raise InputError("`layer` and `layers` blocks cannot be mixed in one net", where=document.where("layers", 0))
    for index, old in enumerate(net.layers):
        if old.HasField("layer"):
            raise InputError(
                "this net is in Caffe's V0 form of 2013",
                where=document.where("layers", index, "layer"),
                remedy="Caffe's tool upgrade_net_proto_text turns it into today's form",
            )
        net.layer.add().CopyFrom(_v1_layer(old))
    origins: list[Origin] = [("layers", index) for index in range(len(net.layers))]
    net.ClearField("layers")
    return origins


def _v1_layer(old: Any) -> Any:
    layer = LayerParameter()
    for field, value in old.ListFields():
        if field.name == "type":
            name = enum_name(old, "type")
            layer.type = _V1_NAMES.get(name, "".join(part.capitalize() for part in name.split("_")))
        elif field.name in _V1_PER_BLOB:
            for index, item in enumerate(value):
                while len(layer.param) <= index:
                    layer.param.add()
                setattr(layer.param[index], _V1_PER_BLOB[field.name], item)
        elif field.name == "name":
            layer.name = value
        elif field.message_type and field.name.endswith("_param"):
            getattr(layer, field.name).CopyFrom(value)
        else:
            getattr(layer, field.name).extend(value)
    return layer


def _move_transformation(layer: Any) -> bool:
    block = _DATA_BLOCKS.get(layer.type)
    if block is None or not layer.HasField(block):
        return False
    source, moved = getattr(layer, block), False
    for name in _TRANSFORM_FIELDS:
        if source.HasField(name):
            setattr(layer.transform_param, name, getattr(source, name))
            source.ClearField(name)
            moved = True
    return moved


def _upgrade_inputs(document: Document) -> list[Origin]:
    net = document.message
    inputs, shapes, dims = list(net.input), list(net.input_shape), list(net.input_dim)
    for name in ("input", "input_shape", "input_dim"):
        net.ClearField(name)
    if not shapes and not dims:
        return []  # an old .caffemodel: names alone
    if (shapes and len(shapes) != len(inputs)) or (dims and len(dims) != 4 * len(inputs)) or (shapes and dims):
        raise InputError(
            f"{len(inputs)} input(s) need one input_shape each, or four input_dim each",
            where=document.where("input", 0),
            got=f"{len(shapes)} input_shape and {len(dims)} input_dim",
        )
    layers = [LayerParameter(name="input", type="Input", top=inputs), *net.layer]
    for index in range(len(inputs)):
        dim = shapes[index].dim if shapes else dims[4 * index : 4 * index + 4]
        layers[0].input_param.shape.add(dim=dim)
    net.ClearField("layer")
    net.layer.extend(layers)
    return [("input", 0)]
