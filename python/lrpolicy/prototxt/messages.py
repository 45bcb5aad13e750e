"""Caffe's protobuf messages, as classes made from the descriptor that ships with the package.

The descriptor lives in a pool of its own, so no other `caffe.proto` in the process can clash with it. The classes are
plain protobuf: `messages.NetParameter()`, `message.layer.add(name="ip1")`, `message.HasField("name")`. Their fields
are not known to a type checker, hence `Any`.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool


def _load() -> DescriptorPool:
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(resources.files("lrpolicy.prototxt").joinpath("caffe.desc").read_bytes())
    pool = DescriptorPool()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _load()


def message_class(name: str) -> Any:
    """The class of Caffe's message `name`, for example "SolverParameter". Raises KeyError for any other name."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"caffe.{name}"))


SolverParameter = message_class("SolverParameter")
LearningRatePolicyParameter = message_class("LearningRatePolicyParameter")
SolverState = message_class("SolverState")
NetParameter = message_class("NetParameter")
NetState = message_class("NetState")
LayerParameter = message_class("LayerParameter")
ParamSpec = message_class("ParamSpec")
FillerParameter = message_class("FillerParameter")
BlobProto = message_class("BlobProto")
BlobShape = message_class("BlobShape")
Datum = message_class("Datum")

TRAIN: int = _POOL.FindEnumTypeByName("caffe.Phase").values_by_name["TRAIN"].number
TEST: int = _POOL.FindEnumTypeByName("caffe.Phase").values_by_name["TEST"].number


def enum_name(message: Any, field: str) -> str:
    """The name of an enum field's value: `enum_name(layer.pooling_param, "pool")` is "MAX", "AVE" or "STOCHASTIC"."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(values[getattr(message, field)].name)


def is_repeated(field: Any) -> bool:
    """Whether a field descriptor is a repeated field (protobuf has renamed the question between its versions)."""
    repeated = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)
