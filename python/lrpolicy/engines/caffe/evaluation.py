"""All metrics of one split, from every probability that `caffe test` prints."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.caffe.process import CaffeProcess
from lrpolicy.engines.caffe.prototxts import PROBABILITIES, TestNet, write
from lrpolicy.engines.caffe.served import Part
from lrpolicy.errors import RunError
from lrpolicy.metrics import evaluate
from lrpolicy.records import Evaluation

_OUTPUT = re.compile(rf"\] Batch \d+, {PROBABILITIES} = (\S+)$")


def measure(binary: Path, job: TrainingJob, net: TestNet, part: Part, weights: Path) -> Evaluation:
    """Run the weights over a split, each example counted once; probabilities come in six digits.

    The net's file goes beside the weights. Raises RunError where Caffe fails.
    """
    model = write(weights.with_name("probabilities.prototxt"), net.with_probabilities())
    arguments = ["test", f"--model={model}", f"--weights={weights}", f"--iterations={net.batches}"]
    if job.device != "cpu":
        arguments.append(f"--gpu={job.device.partition(':')[2] or 0}")
    with CaffeProcess(binary, arguments, job.threads) as process:
        values = [float(found[1]) for line in process.lines() if (found := _OUTPUT.search(line))]
        if failure := process.failure():
            raise RunError(f"measuring {weights.name}: {failure}")
    table = np.array(values, np.float32).reshape(-1, net.classes)
    return evaluate(table[: len(part.labels)], part.labels)
