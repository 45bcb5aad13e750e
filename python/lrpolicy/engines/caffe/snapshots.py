"""The snapshots that Caffe writes into a folder of the run: kept, handed over to the user, or removed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lrpolicy.caffemodel import SolverState, fit_layer, read_state, read_weights, write_state
from lrpolicy.engines.identity import check_identity, damaged, fitted_history, identity, own_part
from lrpolicy.live import live
from lrpolicy.net import Parameter
from lrpolicy.prototxt import files
from lrpolicy.stateful import AdaptivePolicy, AnyPolicy


@dataclass(frozen=True)
class Snapshots:
    """Snapshots PREFIX_iter_N of Caffe's in `folder`; `suffix` is ".h5" or nothing, `prefix` the user's."""

    folder: Path
    suffix: str
    prefix: Path | None

    @property
    def stem(self) -> Path:
        """snapshot_prefix for Caffe."""
        return self.folder / "snapshot"

    def weights(self, iteration: int) -> Path:
        """The .caffemodel of an iteration."""
        return Path(f"{self.stem}_iter_{iteration}.caffemodel{self.suffix}")

    def moved(self, path: Path, state: SolverState, weights: Path) -> Path:
        """The snapshot at `path`, or where its `weights` do not lie where it says, a copy that says where they do."""
        if weights == Path(state.learned_net):
            return path.absolute()
        copy = self.folder / f"moved.solverstate{path.suffix if path.suffix == '.h5' else ''}"
        write_state(copy, replace(state, learned_net=str(weights.absolute())))
        return copy

    def iteration_of(self, state: Path) -> int:
        """The iteration that a .solverstate's name says."""
        return int(state.name.partition("_iter_")[2].partition(".")[0])

    def hand_over(self, state: Path) -> Path:
        """Put a snapshot where the user wants it; returns its .solverstate there.

        Its files are the same but for the name of the weights in the state, without which Caffe could not resume.
        Both are there afterwards, or neither. Raises InputError (no such folder) or RunError (a full disk).
        """
        stem = f"{self.prefix}_iter_{self.iteration_of(state)}"
        model, wanted = Path(f"{stem}.caffemodel{self.suffix}"), Path(f"{stem}.solverstate{self.suffix}")
        with files.together():
            with files.replacing(model) as temporary:
                shutil.copyfile(self.weights(self.iteration_of(state)), temporary)
            write_state(wanted, replace(read_state(state), learned_net=str(model)))
        return wanted

    def keep(self, best: int, latest: int) -> None:
        """Remove all before `latest` but the best one. Caffe may be ahead of its log and have written later ones."""
        for path in self.folder.glob("snapshot_iter_*"):
            if self.iteration_of(path) < latest and self.iteration_of(path) != best:
                path.unlink()


def check_policy(path: Path, state: SolverState, policy: AnyPolicy) -> None:
    """Raises InputError where a policy that observes the training would go on from another's state."""
    if wanted := identity(policy):
        check_identity(_own_part(state, path)[1], wanted, path)


def check_fit(
    path: Path, state: SolverState, solver_type: str, policy: AnyPolicy, weights: Sequence[Parameter]
) -> None:
    """Raises InputError where Caffe would abort: a snapshot of another solver type or net, a state that does not fit.

    `weights` are what is learned, each blob once.
    """
    fitted_history(state, solver_type, [weight.shape for weight in weights], path)
    if isinstance(policy, AdaptivePolicy):
        values, _ = _own_part(state, path)
        live(policy, 1, [weight.lr_mult for weight in weights]).restore(values, str(path))


def check_weights(path: Path, net: Any, blobs: Sequence[Parameter], remedy: str | None = None) -> None:
    """Raises InputError where Caffe would abort: no .caffemodel, or other blobs than the layer of their name has.

    `net` is the filtered net, `blobs` are its parameters.
    """
    found = read_weights(path)
    for index, layer in enumerate(net.layer):
        if layer.name in found:
            own = {blob.blob: blob.shape for blob in blobs if blob.layer == index}
            shared = [blob.blob for number, blob in enumerate(blobs) if blob.layer == index and blob.owner != number]
            fit_layer(found[layer.name], list(own.values()), shared, str(path), layer.name, remedy)


def _own_part(state: SolverState, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The policy's state in a snapshot, and what it was made with. Raises InputError where they are damaged."""
    values = own_part(state.extra, path)
    by_caffe = values.pop("caffe", {})
    made_with = values.pop("engine", by_caffe)
    if not isinstance(made_with, dict):
        raise damaged(path)
    return values, made_with
