"""A training followed by its log alone, from a stand-in for the process that writes what it says when it says it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engine_support import Recorder

from lrpolicy.caffemodel import SolverState, read_state, write_state, write_weights
from lrpolicy.engines.caffe.snapshots import Snapshots
from lrpolicy.engines.caffe.training import Due, Training
from lrpolicy.records import Split, TrialStatus

HEAD = "I20261130 17:18:59.312646"


class Told:
    """A process that saves as Caffe does: a thread that reads data speaks before the state is on the disk."""

    def __init__(self, snapshots: Snapshots, more: bool) -> None:
        self.snapshots, self.more = snapshots, more

    def lines(self) -> Iterator[str]:
        state = Path(f"{self.snapshots.stem}_iter_1.solverstate")
        weights = self.snapshots.weights(1)
        yield f"{HEAD} 7 solver.cpp:239] Iteration 0 (-nan iter/s, 0s/1 iters), loss = 0.5"
        yield f"{HEAD} 7 sgd_solver.cpp:112] Iteration 0, lr = 0.1"
        write_weights(weights, {"ip": (np.ones(2, np.float32),)})
        state.touch()
        yield f"{HEAD} 7 sgd_solver.cpp:273] Snapshotting solver state to binary proto file {state}"
        yield f"{HEAD} 9 data_layer.cpp:73] Restarting data prefetching from start."
        write_state(state, SolverState(1, str(weights), 0, ()))
        if self.more:
            yield f"{HEAD} 7 sgd_solver.cpp:112] Iteration 1, lr = 0.1"

    def failure(self) -> str:
        return ""


@pytest.mark.parametrize("end", [1, 2])
def test_a_snapshot_is_handed_over_when_the_solver_goes_on_or_ends(end: int, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    snapshots, recorder = Snapshots(tmp_path / "run", "", tmp_path / "mine"), Recorder()
    due = Due(start=0, max_iter=end, display=0, snapshot=1, snapshot_at_end=False)
    training = Training(due, Split.TEST, ("loss",), 10, 1, True, snapshots, recorder)
    training.follow(Told(snapshots, more=end == 2))  # type: ignore[arg-type]
    assert (training.status, training.message) == (TrialStatus.COMPLETED, "")
    assert recorder.snapshots == [tmp_path / "mine_iter_1.solverstate"]
    assert read_state(recorder.snapshots[0]).learned_net == str(tmp_path / "mine_iter_1.caffemodel")
