"""Real Caffe on a net of one weight: its command line, and a small program of ours linked with its library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "caffe_patch"))

from linking import NotBuiltError, link

HERE = Path(__file__).resolve().parent

NET = """\
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 1 dim: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 1 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" }
"""


class Caffe:
    """A patched binary; `folder` takes what is compiled against its library."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary, self.folder = binary, folder
        self.source = binary.parents[2] / "src"

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [str(self.binary), *arguments]
        environment = {**os.environ, "GLOG_logtostderr": "1", "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    def compile(self, name: str, *sources: Path) -> Path:
        """A program linked with libcaffe, compiled as Caffe itself was."""
        program = self.folder / name
        try:
            link(self.binary, program, *sources)
        except NotBuiltError as error:
            pytest.skip(str(error))
        except subprocess.CalledProcessError as error:
            pytest.fail(error.stderr)
        return program

    def rates_program(self) -> Path:
        return self.compile("rates", HERE / "rates.cpp")


def write_solver(folder: Path, text: str, **fields: object) -> Path:
    """A solver prototxt, and its net beside it."""
    (folder / "net.prototxt").write_text(NET)
    defaults = {
        "net": '"net.prototxt"',
        "max_iter": 400,
        "display": 0,
        "snapshot_prefix": '"snap"',
        "random_seed": 1,
        "solver_mode": "CPU",
    }
    lines = [f"{name}: {value}" for name, value in {**defaults, **fields}.items()]
    path = folder / "solver.prototxt"
    path.write_text("\n".join([text, *lines, ""]))
    return path


def rates(program: Path, solver: Path, *arguments: object) -> tuple[list[int], NDArray[np.float32]]:
    """Iterations and rates that rates.cpp prints."""
    command = [str(program), solver.name, *map(str, arguments)]
    environment = {**os.environ, "GLOG_logtostderr": "1", "GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=solver.parent, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return [int(row[0]) for row in rows], np.array([int(row[1]) for row in rows], np.uint32).view(np.float32)
