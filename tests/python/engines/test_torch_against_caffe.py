"""Losses of real Caffe, printed by its binary for small nets on the digits (tests/data/caffe/make_known_answers.py)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_support import Recorder

from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.records import Protocol
from lrpolicy.solver import Solver

FOLDER = Path(__file__).parents[2] / "data" / "caffe"
CASES = list(csv.DictReader((FOLDER / "losses.tsv").read_text().splitlines(), delimiter="\t"))


@pytest.mark.parametrize("case", CASES, ids=[f"{case['net']}-{index}" for index, case in enumerate(CASES)])
def test_losses_are_those_of_real_caffe(case: dict[str, Any]) -> None:
    theirs = np.array(case["losses"].split(), float)
    net = FOLDER / f"{case['net']}.prototxt"
    solver = Solver.parse(f'net: "{net}" {case["solver"]} max_iter: {len(theirs)}', "case.prototxt")
    job = TrainingJob(solver, protocol=Protocol.PAPER, weights=net.with_suffix(".caffemodel"), threads=1)
    updater = TorchEngine().trainer(job, Recorder()).updater
    rates = solver.policy.rates(range(len(theirs))).astype(np.float32).tolist()
    ours = [updater.update(iteration, rate).item() for iteration, rate in enumerate(rates)]
    # Caffe prints six digits; float32 noise grows with the updates, faster where maxima and rectifiers flip.
    np.testing.assert_allclose(ours, theirs, rtol=1e-5 if case["net"] == "smooth" else 1e-4)
