"""What must be the same for a resumed training to be the same training: kept in a snapshot, checked at a resume."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lrpolicy.caffemodel import Array, SolverState, fit
from lrpolicy.errors import InputError
from lrpolicy.stateful import AdaptivePolicy

# The history blobs that each solver type keeps for a weight (caffe/solvers/*.cpp).
HISTORY_SLOTS = {"SGD": 1, "Nesterov": 1, "AdaGrad": 1, "RMSProp": 1, "AdaDelta": 2, "Adam": 2}
_REMEDY = "start from its weights with --weights FILE.caffemodel"
# What to do where a .caffemodel has other blobs than a layer.
RENAME = "give the layer another name, and it begins anew"


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
        rule = f"the snapshot was made with {other}"
        raise InputError(rule, where=str(path), got=value, remedy=f"resume with that, or {_REMEDY}")


def weights_of(state: Path, learned_net: str) -> Path:
    """The weights that a solver state names: there, or, after a move, in the state's own folder."""
    model = Path(learned_net)
    return model if model.exists() or not learned_net else state.parent / model.name


def fitted_history(state: SolverState, solver_type: str, shapes: Sequence[tuple[int, ...]], path: Path) -> list[Array]:
    """A state's history blobs for weights of these shapes. Raises InputError where another type or net made them."""
    wanted = [*shapes] * HISTORY_SLOTS[solver_type]
    if len(state.history) != len(wanted):
        rule = f"a solver of type {solver_type} has {len(wanted)} history blobs for this net"
        remedy = f"resume with the type and the net that made it, or {_REMEDY}"
        raise InputError(rule, where=str(path), got=len(state.history), remedy=remedy)
    return [
        fit(blob, shape, f"{path}: history {index}")
        for index, (blob, shape) in enumerate(zip(state.history, wanted, strict=True))
    ]
