"""What must be the same for a resumed training to be the same training: kept in a snapshot, checked at a resume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrpolicy.errors import InputError
from lrpolicy.stateful import AdaptivePolicy


def identity(policy: object) -> dict[str, str]:
    """What a snapshot keeps of a policy that observes the training: its name, and what TLR's windows accumulate."""
    if not isinstance(policy, AdaptivePolicy):
        return {}
    source = {"source": str(policy.parameters.get("source", "displacement"))} if policy.name == "tlr" else {}
    return {"lr_policy": policy.name} | source


def own_part(extra: bytes, path: Path) -> dict[str, Any]:
    """lrpolicy's own part of a .solverstate: the policy's state, and what "engine" (ours) or "caffe" adds to it.

    Raises InputError, naming the file, where it is damaged.
    """
    try:
        values = json.loads(extra) if extra else {}
    except ValueError:
        raise damaged(path) from None
    if not isinstance(values, dict):
        raise damaged(path)
    return values


def damaged(path: Path) -> InputError:
    """The error of a snapshot whose own part cannot be read."""
    return InputError("lrpolicy's own part of the snapshot is damaged", where=str(path))


def check_identity(kept: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Raise InputError, naming the file, where a snapshot was made with another value than is wanted."""
    for name, value in wanted.items():
        made_with = kept.get(name)
        if made_with == value or (name == "source" and made_with is None):  # which older snapshots do not keep
            continue
        other = "another policy" if made_with is None else f"{name} {made_with}"
        remedy = "resume with that, or start from its weights with --weights FILE.caffemodel"
        raise InputError(f"the snapshot was made with {other}", where=str(path), got=value, remedy=remedy)
