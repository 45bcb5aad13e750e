"""BINARYPROTO files: .caffemodel (a NetParameter), .solverstate (a SolverState), mean .binaryproto (a BlobProto)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, EncodeError

from lrpolicy.caffemodel.record import Array, SolverState, Weights
from lrpolicy.errors import InputError
from lrpolicy.prototxt import files, messages


def read_weights(path: Path) -> dict[str, list[Array]]:
    """The blobs of every layer by its name; none for a layer without."""
    net = _parse(path, messages.NetParameter(), ".caffemodel")
    weights: dict[str, list[Array]] = {}
    for layer in [*net.layer, *net.layers]:
        weights[layer.name] = [
            _from_blob(blob, f'{path}: layer "{layer.name}", blob {index}') for index, blob in enumerate(layer.blobs)
        ]
    if not any(weights.values()):
        raise InputError("this is no .caffemodel: it holds no layer with weights", where=str(path))
    return weights


def write_weights(path: Path, weights: Weights, net: Any | None) -> None:
    """Write a NetParameter: the layers of `net` with their blobs, or names and blobs alone."""
    message = messages.NetParameter()
    if net is not None:
        message.CopyFrom(net)
    else:
        message.layer.extend(messages.LayerParameter(name=name) for name in weights)
    for layer in message.layer:
        layer.ClearField("blobs")
        layer.blobs.extend(_to_blob(array) for array in weights.get(layer.name, ()))
    _write(path, message)


def read_state(path: Path) -> SolverState:
    """Read a SolverState."""
    state = _parse(path, messages.SolverState(), ".solverstate")
    if not state.HasField("iter"):
        raise InputError("this is no .solverstate: it has no iteration", where=str(path))
    history, policy_history = (
        tuple(_from_blob(blob, f"{path}: {field} {index}") for index, blob in enumerate(getattr(state, field)))
        for field in ("history", "lrpolicy_history")
    )
    return SolverState(state.iter, state.learned_net, state.current_step, history, state.lrpolicy_state, policy_history)


def write_state(path: Path, state: SolverState) -> None:
    """Write a SolverState."""
    message = messages.SolverState(iter=state.iter, learned_net=state.learned_net, current_step=state.current_step)
    message.history.extend(_to_blob(array) for array in state.history)
    if state.extra:
        message.lrpolicy_state = state.extra
    message.lrpolicy_history.extend(_to_blob(array) for array in state.policy_history)
    _write(path, message)


def read_mean(path: Path) -> Array:
    """Read a mean image, float32 of (channels, height, width)."""
    mean = _from_blob(_parse(path, messages.BlobProto(), "mean .binaryproto"), str(path))
    shape = mean.shape[1:] if mean.ndim == 4 and mean.shape[0] == 1 else mean.shape
    if len(shape) != 3:
        rule = "this is no mean image: channels, height and width are needed"
        raise InputError(rule, where=str(path), got=str(list(mean.shape)))
    return mean.reshape(shape)


def write_mean(path: Path, mean: Array) -> None:
    """Write a mean image in the old four numbers, as Caffe's compute_image_mean does."""
    channels, height, width = mean.shape
    blob = messages.BlobProto(num=1, channels=channels, height=height, width=width)
    blob.data.extend(np.asarray(mean, np.float32).ravel().tolist())
    _write(path, blob)


def _parse(path: Path, message: Any, kind: str) -> Any:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        message.ParseFromString(content)
    except DecodeError:
        rule, got = f"this is no {kind}, or it is truncated", f"{len(content)} bytes"
        raise InputError(rule, where=str(path), got=got, remedy="give a whole one, of an earlier iteration") from None
    return message


def _write(path: Path, message: Any) -> None:
    try:
        content = message.SerializeToString()
    except (EncodeError, ValueError):
        raise InputError("more than 2 GB do not fit into BINARYPROTO", where=str(path), remedy="use HDF5") from None
    files.write_bytes(path, content)


def _from_blob(blob: Any, where: str) -> Array:
    old = any(blob.HasField(name) for name in ("num", "channels", "height", "width"))
    shape = (blob.num, blob.channels, blob.height, blob.width) if old else tuple(blob.shape.dim)
    data = np.array(blob.double_data if blob.double_data else blob.data, np.float32)
    if any(size < 0 for size in shape) or data.size != math.prod(shape):
        raise InputError(f"a shape of {list(shape)} needs {math.prod(shape)} numbers", where=where, got=data.size)
    return data.reshape(shape)


def _to_blob(array: Array) -> Any:
    data = np.asarray(array, np.float32)
    blob = messages.BlobProto(shape=messages.BlobShape(dim=data.shape))
    blob.data.extend(data.ravel().tolist())
    return blob
