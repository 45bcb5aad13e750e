"""Makes losses.tsv and the first weights with a real Caffe:  make_known_answers.py PATH/TO/caffe

Each case trains one of the nets here on scikit-learn's digits (the training part, as an LMDB in the dataset's order)
from the weights in NET.caffemodel, which Caffe's own fillers drew once. losses.tsv holds what Caffe printed (six
digits) for every iteration. Made with Caffe 1.0 (Debian bullseye's 1.0.0+git20180821), CPU, OpenBLAS on one thread.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lrpolicy.caffemodel import read_weights, write_weights
from lrpolicy.datasets import open_dataset, write_lmdb

HERE = Path(__file__).parent
FIXED = 'base_lr: 0.05 lr_policy: "inv" gamma: 0.01 power: 0.75'
CASES = [
    ("smooth", f"{FIXED} momentum: 0.9 weight_decay: 0.01"),
    ("smooth", f'{FIXED} momentum: 0.9 weight_decay: 0.01 type: "Nesterov"'),
    ("smooth", 'base_lr: 0.01 lr_policy: "fixed" delta: 0.001 weight_decay: 0.01 type: "AdaGrad"'),
    ("smooth", 'base_lr: 0.002 lr_policy: "fixed" delta: 0.001 rms_decay: 0.9 weight_decay: 0.01 type: "RMSProp"'),
    ("smooth", 'base_lr: 1 lr_policy: "fixed" momentum: 0.95 delta: 0.0001 weight_decay: 0.01 type: "AdaDelta"'),
    ("smooth", 'base_lr: 0.005 lr_policy: "fixed" momentum: 0.9 momentum2: 0.99 delta: 0.001 type: "Adam"'),
    ("smooth", f"{FIXED} momentum: 0.9 weight_decay: 0.01 iter_size: 3 clip_gradients: 2"),
    ("smooth", f'{FIXED} momentum: 0.5 weight_decay: 0.01 regularization_type: "L1"'),
    ("smooth", 'base_lr: 0.1 lr_policy: "multistep" gamma: 0.3 stepvalue: 4 stepvalue: 9 momentum: 0.9'),
    ("kinked", f"{FIXED} momentum: 0.9 weight_decay: 0.01"),
]


def main(caffe: str) -> None:
    lines = ["net\tsolver\tlosses\n"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_lmdb(root / "digits_train", open_dataset("digits").train)
        for name in ("smooth", "kinked"):
            net = (HERE / f"{name}.prototxt").read_text().replace('"digits_train"', f'"{root}/digits_train"')
            (root / f"{name}.prototxt").write_text(net)
            first = f'base_lr: 0.1 lr_policy: "fixed" max_iter: 0 random_seed: 1 snapshot_prefix: "{root}/{name}"'
            run(caffe, root, name, first)
            # Weights alone: Caffe's file also holds the net with the temporary folder's name.
            write_weights(HERE / f"{name}.caffemodel", read_weights(root / f"{name}_iter_0.caffemodel"))
        for name, fields in CASES:
            log = run(caffe, root, name, f"{fields} max_iter: 20 display: 1 snapshot_after_train: false")
            losses = re.findall(r"Iteration \d+ \(.*?\), loss = (\S+)", log)
            lines.append(f"{name}\t{fields}\t{' '.join(losses)}\n")
    (HERE / "losses.tsv").write_text("".join(lines))


def run(caffe: str, root: Path, net: str, fields: str) -> str:
    solver = root / "solver.prototxt"
    solver.write_text(f'net: "{root}/{net}.prototxt" {fields} solver_mode: CPU')
    weights = [] if "max_iter: 0" in fields else ["--weights", str(HERE / f"{net}.caffemodel")]
    command = [caffe, "train", "--solver", str(solver), *weights]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stderr


if __name__ == "__main__":
    main(sys.argv[1])
