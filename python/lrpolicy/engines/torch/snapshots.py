"""Snapshots that real Caffe accepts, with what it takes to go on bit for bit beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from lrpolicy.caffemodel import Array, SolverState, fit, fit_layer, read_state, read_weights, write_state, write_weights
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.identity import RENAME, check_identity, damaged, fitted_history, identity, own_part, weights_of
from lrpolicy.engines.torch.net import Weights
from lrpolicy.engines.torch.optimizers import Optimizer
from lrpolicy.engines.torch.windows import Windows
from lrpolicy.errors import InputError
from lrpolicy.live import LiveSchedule
from lrpolicy.policies import Policy
from lrpolicy.prototxt import files
from lrpolicy.prototxt.messages import enum_name


@dataclass
class Progress:
    """What a training knows beside its weights and history: its last losses, and its time.

    `window` holds the last average_loss losses, `recent` those of a measurement's train_loss.
    """

    window: list[float]
    recent: list[float]
    seconds: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From a snapshot; older ones have no `recent`. Raises KeyError, TypeError or ValueError."""
        window = [float(loss) for loss in values["window"]]
        return cls(window, [float(loss) for loss in values.get("recent", window)], float(values.get("seconds", 0.0)))


class Resumed(NamedTuple):
    """The updates done, what else the snapshot knows of them, and whether Caffe did them."""

    iteration: int
    progress: Progress
    by_caffe: bool


@dataclass(frozen=True)
class Snapshots:
    """Writes and reads the snapshots of one job. `message` is the filtered NetParameter of the TRAIN phase."""

    job: TrainingJob
    message: Any
    weights: Weights
    optimizer: Optimizer
    live: LiveSchedule[Any] | None = None
    windows: Windows | None = None

    def save(self, iteration: int, progress: Progress) -> Path:
        """Write PREFIX_iter_N.caffemodel and .solverstate (.h5 as the solver says); returns the .solverstate.

        Both are written, or neither. Raises InputError (no such folder) or RunError (a full disk).
        """
        suffix = ".h5" if enum_name(self.job.solver.message, "snapshot_format") == "HDF5" else ""
        stem = f"{self.job.snapshot_prefix}_iter_{iteration}"
        model, state = Path(f"{stem}.caffemodel{suffix}"), Path(f"{stem}.solverstate{suffix}")
        blobs = {name: [blob.cpu().numpy() for blob in blobs] for name, blobs in self.weights.copy().items()}
        history = tuple(tensor.cpu().numpy() for tensor in self.optimizer.history)
        kept = {} if self.live is None else self.live.state.to_dict()
        extra = json.dumps(kept | {"engine": {**self._identity(), "progress": vars(progress)}}).encode()
        buffers = () if self.windows is None else tuple(buffer.cpu().numpy() for buffer in self.windows.buffers)
        stands = SolverState(iteration, str(model), self._current_step(iteration), history, extra, buffers)
        with files.together():
            write_weights(model, blobs, self.message)
            write_state(state, stands)
        return state

    def resume(self, path: Path) -> Resumed:
        """Take over weights, history and the policy's state; returns how far they had come.

        Raises InputError for a file that is missing or truncated, or that belongs to another net, solver, policy, seed
        or protocol.
        """
        state = read_state(path)
        shapes = [tuple(weight.tensor.shape) for weight in self.weights.learned]
        history = fitted_history(state, self.job.solver.solver_type, shapes, path)
        values = own_part(state.extra, path)
        by_engine, by_caffe = values.pop("engine", None), values.pop("caffe", None)
        if self.live is not None:
            self._restore_policy(self.live, values, state.policy_history, path)
        progress = self._progress(by_engine, by_caffe, path)
        self._take_over(weights_of(path, state.learned_net), whole=True)
        for mine, theirs in zip(self.optimizer.history, history, strict=True):
            mine.copy_(torch.from_numpy(theirs))
        return Resumed(state.iter, progress, by_engine is None)

    def load_weights(self, path: Path) -> None:
        """Take over the weights of the layers that a .caffemodel shares with the net by name; others stay.

        Raises InputError for a file that is missing or truncated, or whose blobs do not fit.
        """
        self._take_over(path, whole=False)

    def _take_over(self, path: Path, *, whole: bool) -> None:
        found, mine = read_weights(path), self.weights.by_layer
        missing = [name for name in sorted(set(mine) - set(found)) if not self._all_shared(name)]
        if whole and missing:
            got = f"none for {', '.join(missing)}"
            raise InputError("the weights of layers are missing", where=str(path), got=got)
        remedy = None if whole else RENAME
        names = [layer.name for layer in self.message.layer if layer.name in found]
        self.weights.assign({name: self._fitted(name, found[name], path, remedy) for name in names})

    def _fitted(self, name: str, found: list[Array], path: Path, remedy: str | None) -> list[Tensor | None]:
        """A layer's blobs from a file, None for one that another layer owns and the file leaves out."""
        shapes = [tuple(blob.shape) for blob in self.weights.by_layer.get(name, ())]
        shared = [index for index in range(len(shapes)) if (name, index) in self.weights.shared]
        fitted = fit_layer(found, shapes, shared, str(path), name, remedy)
        return [None if blob is None else torch.from_numpy(blob) for blob in fitted]

    def _all_shared(self, name: str) -> bool:
        return all((name, index) in self.weights.shared for index in range(len(self.weights.by_layer[name])))

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a resumed training to be the same training."""
        policy = identity(self.job.schedule or self.job.solver.policy)
        return {"seed": self.job.seed, "protocol": str(self.job.protocol)} | policy

    def _progress(self, by_engine: Any, by_caffe: Any, path: Path) -> Progress:
        """What this engine added to the policy's state, or a patched Caffe; one without the patch adds nothing."""
        wanted = self._identity()
        try:
            if by_engine is not None:
                made_with, progress = by_engine, Progress.of(by_engine["progress"])
            elif by_caffe is not None:
                made_with, progress = by_caffe, Progress.of(by_caffe)
                wanted = identity(self.job.schedule or self.job.solver.policy)
            else:
                return Progress([], [], 0.0)
        except (KeyError, TypeError, ValueError):
            raise damaged(path) from None
        check_identity(made_with, wanted, path)
        return progress

    def _restore_policy(
        self, live: LiveSchedule[Any], values: dict[str, Any], buffers: tuple[Array, ...], path: Path
    ) -> None:
        if not values:
            rule = f"the snapshot has no state of {live.state.schedule}: it was made with another policy"
            raise InputError(rule, where=str(path), remedy="start from its weights with --weights FILE.caffemodel")
        live.restore(values, str(path))
        mine = [] if self.windows is None else self.windows.buffers
        if len(buffers) != len(mine):
            rule = f"{live.state.schedule} has {len(mine)} tensors of its own for this net"
            raise InputError(rule, where=str(path), got=len(buffers))
        fitted = [
            torch.from_numpy(fit(theirs, tuple(buffer.shape), f"{path}: lrpolicy_history {index}"))
            for index, (buffer, theirs) in enumerate(zip(mine, buffers, strict=True))
        ]
        if self.windows is not None:
            self.windows.restore(fitted)

    def _current_step(self, iteration: int) -> int:
        """Caffe's counter of multistep: the steps passed when the last update was done."""
        policy = self.job.schedule or self.job.solver.policy
        steps = policy.parameters.get("stepvalue", ()) if isinstance(policy, Policy) else ()
        return sum(step < iteration for step in steps) if isinstance(steps, tuple) else 0
