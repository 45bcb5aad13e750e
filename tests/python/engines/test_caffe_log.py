"""The log of real Caffe, line by line; the lines are those that it printed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lrpolicy.engines.caffe import log

HEAD = "20261128 06:48:59.689680 11219"


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (
            f"I{HEAD} solver.cpp:239] Iteration 100 (31.4 iter/s, 3.18s/100 iters), loss = 0.212996",
            log.Loss(100, 0.212996),
        ),
        (f"I{HEAD} solver.cpp:239] Iteration 0 (-nan iter/s, 0s/1 iters), loss = 2e-08", log.Loss(0, 2e-8)),
        (f"I{HEAD} solver.cpp:239] Iteration 7 (3 iter/s, 0s/1 iters), loss = inf", log.Loss(7, math.inf)),
        (f"I{HEAD} sgd_solver.cpp:112] Iteration 100, lr = 0.00992565", log.Rate(100, 0.00992565)),
        (f"I{HEAD} solver.cpp:347] Iteration 500, Testing net (#0)", log.TestBegan(500)),
        (f"I{HEAD} solver.cpp:347] Iteration 500, Testing net (#1)", None),
        (f"I{HEAD} solver.cpp:414]     Test net output #0: accuracy = 0.9762", log.TestOutput("accuracy", 0.9762)),
        (
            f"I{HEAD} solver.cpp:414]     Test net output #1: loss = 1.5e-05 (* 1 = 1.5e-05 loss)",
            log.TestOutput("loss", 1.5e-5),
        ),
        (
            f"I{HEAD} sgd_solver.cpp:273] Snapshotting solver state to binary proto file a b_iter_5.solverstate",
            log.Saving(Path("a b_iter_5.solverstate")),
        ),
        (
            f"I{HEAD} sgd_solver.cpp:283] Snapshotting solver state to HDF5 file x_iter_5.solverstate.h5",
            log.Saving(Path("x_iter_5.solverstate.h5")),
        ),
        (f"I{HEAD} solver.cpp:310] Iteration 600, loss = 0.1", None),
        (f"I{HEAD} data_layer.cpp:73] Restarting data prefetching from start.", None),
        (f"I{HEAD} caffe.cpp:251] Starting Optimization", log.Began()),
        (f'W{HEAD} lrpolicy.cpp:99] lr_policy "step" reads gamma, which is not set and counts as 0; add for', None),
        (f"F{HEAD} solver.cpp:10] Check failed: a == b", None),
        ("    @     0x7fd7cc8851ed  google::LogMessage::Fail()", None),
        ("", None),
    ],
)
def test_a_line_is_the_event_it_tells(line: str, event: log.Event | None) -> None:
    assert log.parse(line) == event


def test_a_loss_that_is_no_number() -> None:
    for text in ("nan", "-nan"):
        event = log.parse(f"I{HEAD} solver.cpp:239] Iteration 3 (3 iter/s, 0s/1 iters), loss = {text}")
        assert isinstance(event, log.Loss)
        assert math.isnan(event.value)


def test_what_killed_it() -> None:
    line = f"F{HEAD} layer_factory.hpp:81] Check failed: registry.count(type) == 1 (0 vs. 1) Unknown layer type: X"
    assert log.fatal(line) == (
        "Check failed: registry.count(type) == 1 (0 vs. 1) Unknown layer type: X (layer_factory.hpp:81)"
    )
    assert log.fatal(f"I{HEAD} solver.cpp:10] all is well") is None
