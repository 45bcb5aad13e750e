"""The made-up tree, the patch program, and real Caffe where it was built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from caffe_runs import Caffe
from made_up_caffe import PROGRAM, ROOT, TREE, Run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "made up caffe"
    for path, text in TREE.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "include/caffe/util").mkdir(parents=True)
    return root


@pytest.fixture
def patch(tree: Path) -> Run:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(PROGRAM), str(tree), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def caffe(tmp_path_factory: pytest.TempPathFactory) -> Caffe:
    """The patched Caffe named by LRPOLICY_CAFFE, or that of `make caffe`; without one the test is skipped."""
    binary = Path(os.environ.get("LRPOLICY_CAFFE") or ROOT / "build/caffe/bin/caffe")
    if not os.access(binary, os.X_OK):
        pytest.skip(f"no patched Caffe at {binary}: make caffe, or name one in LRPOLICY_CAFFE")
    return Caffe(binary.resolve(), tmp_path_factory.mktemp("caffe"))
