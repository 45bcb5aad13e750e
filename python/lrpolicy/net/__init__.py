"""Nets in Caffe's prototxt: reading, filtering by phase, shapes, parameter blobs, fingerprint.

net = read("lenet_train_test.prototxt")
train = net.for_state("TRAIN")
shapes = infer(train, {"mnist": (1, 28, 28)}, net.where)
weight_count(parameters(train, shapes, net.where))
"""

from lrpolicy.net.fingerprint import fingerprint
from lrpolicy.net.geometry import convolution_window, pooling_window
from lrpolicy.net.layer_types import DATA_TYPES, FILLERS, LAYER_TYPES, LOSSES
from lrpolicy.net.losses import loss_weights, other_loss
from lrpolicy.net.parameters import Parameter, parameter_shapes, parameters, weight_count
from lrpolicy.net.reader import Net, Phase, read
from lrpolicy.net.shape import Shape
from lrpolicy.net.shape_rules import top_shapes
from lrpolicy.net.shapes import infer

__all__ = [
    "DATA_TYPES",
    "FILLERS",
    "LAYER_TYPES",
    "LOSSES",
    "Net",
    "Parameter",
    "Phase",
    "Shape",
    "convolution_window",
    "fingerprint",
    "infer",
    "loss_weights",
    "other_loss",
    "parameter_shapes",
    "parameters",
    "pooling_window",
    "read",
    "top_shapes",
    "weight_count",
]
