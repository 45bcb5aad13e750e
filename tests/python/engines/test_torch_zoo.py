"""The shipped solvers, trained: digits everywhere, MNIST where there is real data."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_support import Recorder

from lrpolicy import solver, zoo
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.records import TrialStatus


def test_digits_reach_95_percent() -> None:
    job = TrainingJob(solver.read(zoo.solver_path("digits")), threads=1)
    outcome = TorchEngine().train(job, Recorder())
    assert outcome.status is TrialStatus.COMPLETED
    assert outcome.test is not None
    assert outcome.test.evaluation.top1 > 0.95


@pytest.mark.slow
def test_lenet_learns_mnist_in_300_iterations(real_data: Path) -> None:
    lenet = solver.read(zoo.solver_path("mnist-lenet"))
    job = TrainingJob(lenet, data=real_data / "mnist", max_iter=300, test_interval=300, threads=1)
    outcome = TorchEngine().train(job, Recorder())
    assert outcome.test is not None
    assert outcome.test.evaluation.example_count == 10_000
    assert outcome.test.evaluation.top1 > 0.95
