"""What must be the same for a resumed training to be the same training: kept in a snapshot, checked at a resume."""

from __future__ import annotations

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


def check_identity(kept: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Raise InputError, naming the file, where a snapshot was made with another value than is wanted."""
    for name, value in wanted.items():
        made_with = kept.get(name)
        if made_with == value or (name == "source" and made_with is None):  # which older snapshots do not keep
            continue
        other = "another policy" if made_with is None else f"{name} {made_with}"
        remedy = "resume with that, or start from its weights with --weights FILE.caffemodel"
        raise InputError(f"the snapshot was made with {other}", where=str(path), got=value, remedy=remedy)
