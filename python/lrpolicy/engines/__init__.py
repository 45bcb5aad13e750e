"""Engines train jobs. They are found by name, and imported only when one is asked for."""

from __future__ import annotations

import importlib
from typing import cast

from lrpolicy.engines.base import Engine
from lrpolicy.engines.function import FunctionEngine
from lrpolicy.errors import InputError, did_you_mean

ENGINES = {"caffe": "lrpolicy.engines.caffe:CaffeEngine", "torch": "lrpolicy.engines.torch:TorchEngine"}


def load_engine(name: str) -> Engine:
    """A new engine: a known name, "package.module:Class" for an engine of the user's own, or "package.module:train_fn"
    for a training function.

    Raises InputError for an unknown name or place, NotAvailableError where the engine cannot run.
    """
    place = ENGINES.get(name, name)
    module, colon, attribute = place.partition(":")
    if not colon:
        raise InputError(f'engine "{name}" is unknown', remedy=did_you_mean(name, ENGINES))
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        if name in ENGINES:
            raise
        raise InputError(f'engine "{name}" cannot be imported', got=error, remedy="check the module's path") from None
    if not callable(found):
        raise InputError(f'engine "{name}" is neither a class nor a training function', got=repr(found))
    return cast(Engine, found()) if isinstance(found, type) else FunctionEngine(found)
