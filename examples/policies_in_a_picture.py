"""Four policies in one picture: python policies_in_a_picture.py policies.png"""

from __future__ import annotations

import sys
from pathlib import Path

from lrpolicy import Policy
from lrpolicy.plots import plot_schedules

MAX_ITER = 10_000

schedules = {
    "step": Policy("step", base_lr=0.01, gamma=0.5, stepsize=1000),
    "poly": Policy("poly", base_lr=0.01, power=1.2, max_iter=MAX_ITER),
    "tri2": Policy("tri2", base_lr=0.001, max_lr=0.006, stepsize=1000),
    "sinexp": Policy("sinexp", base_lr=0.001, max_lr=0.006, stepsize=1000, gamma=0.9998),
}
path = Path(sys.argv[1])
plot_schedules(schedules, MAX_ITER, path, title="Four ways to spend 10,000 iterations")
print(path)
