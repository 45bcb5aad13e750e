"""How far apart two tasks are: a declared distance, whose every part can be named.

The distance is the sum of `parts`: a constant for each thing that differs, and a constant for each factor of ten that
two counts differ by. It is 0 for the same network (by fingerprint) on the same data (by fingerprint) in the same
framework. The constants are a judgement, not a measurement: they say what a person would look at first.
"""

from __future__ import annotations

import math

from lrpolicy.database import Setting
from lrpolicy.records import DatasetInfo, NetworkInfo, Task

# Tasks and settings further apart than this are not similar.
FARTHEST = 2.0

# What cannot be compared at all.
TASK_TYPE = 10.0
OPTIMIZER = 10.0

# What differs or does not.
FRAMEWORK = 0.1
DATASET_CONTENT = 0.4
CHANNELS = 0.2
NETWORK_LAYERS = 0.3  # the same name, other layers: a variant
NETWORK_NAME = 0.6  # another network
WEIGHT_DECAY = 0.1
MOMENTUM_CONVENTION = 0.1

# For each factor of ten.
CLASS_COUNT = 0.5
PIXELS = 0.5
EXAMPLES = 0.3
WEIGHTS = 0.3
MAX_ITER = 0.3
BATCH_SIZE = 0.3
MOMENTUM = 0.3  # of the factor 1 / (1 - momentum) by which momentum lengthens a step


def task_parts(asked: Task, stored: Task) -> dict[str, float]:
    """What the distance between two tasks consists of, by name; only what is not 0."""
    parts = {
        "task type": TASK_TYPE * (asked.task_type != stored.task_type),
        "framework": FRAMEWORK * (asked.framework != stored.framework),
        **_network_parts(asked.network, stored.network),
        **_dataset_parts(asked.dataset, stored.dataset),
    }
    return _without_zeros(parts)


def setting_parts(asked: Setting, stored: Setting) -> dict[str, float]:
    """What the distance between two settings consists of, by name; only what is not 0."""
    parts = {
        "optimizer": OPTIMIZER * (asked.optimizer != stored.optimizer),
        "momentum": MOMENTUM * _tens(1 - asked.momentum, 1 - stored.momentum),
        "momentum convention": MOMENTUM_CONVENTION * (asked.momentum_convention != stored.momentum_convention),
        "weight decay": WEIGHT_DECAY * (not alike(asked.weight_decay, stored.weight_decay)),
        "batch size": BATCH_SIZE * _tens(asked.batch_size, stored.batch_size),
        "iterations": MAX_ITER * _tens(asked.max_iter, stored.max_iter),
    }
    return _without_zeros(parts)


def _network_parts(asked: NetworkInfo, stored: NetworkInfo) -> dict[str, float]:
    if asked.fingerprint == stored.fingerprint:
        return {}
    same_name = asked.name.lower() == stored.name.lower()
    return {
        "network's layers" if same_name else "network": NETWORK_LAYERS if same_name else NETWORK_NAME,
        "weights": WEIGHTS * _tens(asked.weight_count, stored.weight_count),
    }


def _dataset_parts(asked: DatasetInfo, stored: DatasetInfo) -> dict[str, float]:
    if asked.fingerprint == stored.fingerprint:
        return {}
    examples = [info.train_size + info.validation_size for info in (asked, stored)]
    return {
        "data": DATASET_CONTENT,
        "classes": CLASS_COUNT * _tens(asked.class_count, stored.class_count),
        "channels": CHANNELS * (asked.channels != stored.channels),
        "pixels": PIXELS * _tens(asked.height * asked.width, stored.height * stored.width),
        "examples": EXAMPLES * _tens(*examples),
    }


def _tens(one: float, other: float) -> float:
    """How many factors of ten lie between two numbers; a number that is not positive is as far as can be."""
    if alike(one, other):
        return 0.0
    return abs(math.log10(one / other)) if min(one, other) > 0 else math.inf


def alike(one: float, other: float) -> bool:
    """Whether two settings are one: a number from a prototxt is the float32 of what was written."""
    return math.isclose(one, other, rel_tol=1e-4)


def _without_zeros(parts: dict[str, float]) -> dict[str, float]:
    return {name: part for name, part in parts.items() if part}
