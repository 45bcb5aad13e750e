"""The layer types and fillers that lrpolicy knows: their parameter blocks and how many bottoms and tops they take.

The counts are those that Caffe's layers declare (include/caffe/layers/*.hpp).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.prototxt.messages import LayerParameter

MANY = 1 << 30


@dataclass(frozen=True)
class LayerType:
    """One layer type: the blocks it reads (its own first) and its (least, most) bottoms and tops."""

    name: str
    blocks: tuple[str, ...] = ()
    bottoms: tuple[int, int] = (1, 1)
    tops: tuple[int, int] = (1, 1)


_ALL = [
    LayerType("Data", ("data_param", "transform_param"), (0, 0), (1, 2)),
    LayerType("ImageData", ("image_data_param", "transform_param"), (0, 0), (2, 2)),
    LayerType("HDF5Data", ("hdf5_data_param",), (0, 0), (1, MANY)),
    LayerType("MemoryData", ("memory_data_param", "transform_param"), (0, 0), (2, 2)),
    LayerType("DummyData", ("dummy_data_param",), (0, 0), (1, MANY)),
    LayerType("Input", ("input_param",), (0, 0), (1, MANY)),
    LayerType("Convolution", ("convolution_param",), (1, MANY), (1, MANY)),
    LayerType("InnerProduct", ("inner_product_param",)),
    LayerType("BatchNorm", ("batch_norm_param",)),
    LayerType("Scale", ("scale_param",), (1, 2)),
    LayerType("Bias", ("bias_param",), (1, 2)),
    LayerType("PReLU", ("prelu_param",)),
    LayerType("Pooling", ("pooling_param",), (1, 1), (1, 2)),
    LayerType("LRN", ("lrn_param",)),
    LayerType("Dropout", ("dropout_param",)),
    LayerType("ReLU", ("relu_param",)),
    LayerType("ELU", ("elu_param",)),
    LayerType("Sigmoid", ("sigmoid_param",)),
    LayerType("TanH", ("tanh_param",)),
    LayerType("Power", ("power_param",)),
    LayerType("Exp", ("exp_param",)),
    LayerType("Log", ("log_param",)),
    LayerType("AbsVal"),
    LayerType("BNLL"),
    LayerType("Softmax", ("softmax_param",)),
    LayerType("Eltwise", ("eltwise_param",), (2, MANY)),
    LayerType("Concat", ("concat_param",), (1, MANY)),
    LayerType("Slice", ("slice_param",), (1, 1), (1, MANY)),
    LayerType("Split", (), (1, 1), (1, MANY)),
    LayerType("Crop", ("crop_param",), (2, 2)),
    LayerType("Flatten", ("flatten_param",)),
    LayerType("Reshape", ("reshape_param",)),
    LayerType("Silence", (), (1, MANY), (0, 0)),
    LayerType("SoftmaxWithLoss", ("softmax_param", "loss_param"), (2, 2), (0, 1)),  # at a second top Caffe stops
    LayerType("EuclideanLoss", (), (2, 2), (0, 1)),
    LayerType("SigmoidCrossEntropyLoss", ("loss_param",), (2, 2), (0, 1)),
    LayerType("Accuracy", ("accuracy_param",), (2, 2), (1, 2)),
]

LAYER_TYPES = {layer_type.name: layer_type for layer_type in _ALL}

DATA_TYPES = ("Data", "ImageData", "HDF5Data", "MemoryData")
LOSSES = ("SoftmaxWithLoss", "EuclideanLoss", "SigmoidCrossEntropyLoss")

CAFFE_ONLY = frozenset(
    {"ArgMax", "BatchReindex", "Clip", "ContrastiveLoss", "Deconvolution", "Embed", "Filter", "HDF5Output"}
    | {"HingeLoss", "Im2col", "InfogainLoss", "LSTM", "LSTMUnit", "MVN", "MultinomialLogisticLoss", "Parameter"}
    | {"Python", "RNN", "Reduction", "SPP", "Swish", "Threshold", "Tile", "WindowData"}
)

# Fields that change nothing here, and why; whoever sets one is told.
_RAW = "it is for encoded images, and pixels are read as they are stored"
_SERVED = "the examples of --data are taken as they are, in their order"
WITHOUT_EFFECT = {
    ("data_param", "rand_skip"): "no example is skipped, as in Caffe since 1.0",
    ("data_param", "force_encoded_color"): _RAW,
    ("transform_param", "force_color"): _RAW,
    ("transform_param", "force_gray"): _RAW,
    ("hdf5_data_param", "shuffle"): _SERVED,
} | {
    ("image_data_param", field): _SERVED for field in ("rand_skip", "shuffle", "new_height", "new_width", "root_folder")
}

FILLERS = ("bilinear", "constant", "gaussian", "msra", "positive_unitball", "uniform", "xavier")

BLOCKS = tuple(
    field.name
    for field in LayerParameter.DESCRIPTOR.fields
    if field.message_type and field.name.endswith("_param") and field.name != "param"
)


def layer_type(layer: Any) -> LayerType:
    """The type of a LayerParameter. Raises InputError for a type that lrpolicy does not know."""
    known = LAYER_TYPES.get(layer.type)
    if known is not None:
        return known
    if layer.type in CAFFE_ONLY:
        rule = f'layer "{layer.name}": Caffe has the type "{layer.type}", lrpolicy does not'
        raise InputError(rule, remedy="known: " + ", ".join(sorted(LAYER_TYPES)))
    rule = (
        f'layer "{layer.name}": type "{layer.type}" is unknown' if layer.type else f'layer "{layer.name}" has no type'
    )
    raise InputError(rule, remedy=did_you_mean(layer.type, LAYER_TYPES))


def fillers(layer: Any) -> list[tuple[tuple[str | int, ...], Any]]:
    """The FillerParameters in the blocks that a layer's type reads, each with its path within the layer."""
    found: list[tuple[tuple[str | int, ...], Any]] = []
    for block in layer_type(layer).blocks:
        if not layer.HasField(block):
            continue
        for field, value in getattr(layer, block).ListFields():
            if field.message_type and field.message_type.name == "FillerParameter":
                values = value if field.name == "data_filler" else [value]
                found += [((block, 0, field.name, index), item) for index, item in enumerate(values)]
    return found
