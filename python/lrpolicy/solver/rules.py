"""What a SolverParameter must obey beside its policy: every rule that Caffe dies on, and those it should.

From src/caffe/solver.cpp, src/caffe/util/upgrade_proto.cpp and include/caffe/sgd_solvers.hpp.
"""

from __future__ import annotations

from typing import Any

from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.prototxt.messages import enum_name
from lrpolicy.prototxt.text import Document

SOLVER_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
NET_FIELDS = ("net", "net_param", "train_net", "train_net_param")

# Fields that change nothing here, and why; whoever sets one is told.
_DEVICE = "--device says where to train"
_WITHOUT_EFFECT = {"solver_mode": _DEVICE, "device_id": _DEVICE, "debug_info": "no norms of blobs are shown"}

_LEAST = {
    "max_iter": 1,
    "iter_size": 1,
    "average_loss": 1,
    "test_interval": 0,
    "display": 0,
    "snapshot": 0,
    "momentum": 0,
}


def check(document: Document) -> None:
    """Raise InputError, with file and line, for the first rule that the SolverParameter breaks."""
    message = document.message
    if not message.HasField("max_iter"):
        raise InputError("max_iter is missing", where=document.path, remedy="add for example  max_iter: 10000")
    for field, least in _LEAST.items():
        if message.HasField(field) and getattr(message, field) < least:
            _fail(document, field, f"{field} must be {least} or more", getattr(message, field))
    _check_nets(document)
    _check_tests(document)
    _check_type(document)
    if message.regularization_type not in ("L1", "L2"):
        _fail(document, "regularization_type", 'regularization_type must be "L1" or "L2"', message.regularization_type)


def notes(document: Document) -> list[str]:
    """What the SolverParameter says that has no effect here, or another one than in Caffe's program."""
    message = document.message
    found = [
        f"{document.where(field)}: {field} has no effect: {why}"
        for field, why in _WITHOUT_EFFECT.items()
        if message.HasField(field) and getattr(message, field)
    ]
    if message.train_state.level:
        level = f"level {message.train_state.level} counts here; `caffe train` takes the one of its option --level"
        found.append(f"{document.where('train_state', 'level')}: {level}")
    if (count := len(message.test_iter)) > 1:
        found.append(f"{document.where('test_iter', 1)}: of {count} test nets the first is measured")
    return found


def solver_type(message: Any) -> str:
    """The type as a text; the old field solver_type spells the same six in capitals."""
    if not message.HasField("solver_type"):
        return str(message.type)
    old = enum_name(message, "solver_type")
    return next(name for name in SOLVER_TYPES if name.upper() == old)


def _check_nets(document: Document) -> None:
    given = [field for field in NET_FIELDS if document.message.HasField(field)]
    if not given:
        raise InputError("no training net is named", where=document.path, remedy='add  net: "FILE.prototxt"')
    if len(given) > 1:
        _fail(document, given[1], "one training net is allowed", " and ".join(given))


def _check_tests(document: Document) -> None:
    message = document.message
    own = len(message.test_net) + len(message.test_net_param)
    count = len(message.test_iter)
    generic = message.HasField("net") or message.HasField("net_param")
    if count < own or (count > own and not generic):
        wanted = f"{own} or more" if generic else own
        _fail(document, "test_iter", f"test_iter must be given once for each test net, {wanted} times", count)
    for index, value in enumerate(message.test_iter):
        if value < 1:
            raise InputError("test_iter must be 1 or more", where=document.where("test_iter", index), got=value)
    if message.test_state and len(message.test_state) != count:
        rule = f"test_state must be left out or given once for each test net, {count} times"
        _fail(document, "test_state", rule, len(message.test_state))
    if count and message.test_interval < 1:
        rule = "test_interval must be 1 or more where test_iter is given"
        field = "test_interval" if message.HasField("test_interval") else "test_iter"
        _fail(document, field, rule, message.test_interval)


def _check_type(document: Document) -> None:
    message = document.message
    if message.HasField("type") and message.HasField("solver_type"):
        _fail(document, "solver_type", "type and its old form solver_type exclude each other")
    if message.HasField("type") and message.type not in SOLVER_TYPES:
        rule = f'solver type "{message.type}" is unknown'
        raise InputError(rule, where=document.where("type"), remedy=did_you_mean(message.type, SOLVER_TYPES))
    name = solver_type(message)
    if name in ("AdaGrad", "RMSProp") and message.momentum != 0:
        _fail(document, "momentum", f"{name} takes no momentum", message.momentum)
    if name == "RMSProp" and not 0 <= message.rms_decay < 1:
        _fail(document, "rms_decay", "rms_decay must lie in [0, 1)", message.rms_decay)
    if name == "Adam":  # Caffe divides by 1 - momentum^t, takes the root of 1 - momentum2^t, and trains with NaN
        for field in ("momentum", "momentum2"):
            if not 0 <= getattr(message, field) < 1:
                _fail(document, field, f"Adam's {field} must lie in [0, 1)", getattr(message, field))


def _fail(document: Document, field: str, rule: str, got: object | None = None) -> None:
    raise InputError(rule, where=document.where(field), got=got)
