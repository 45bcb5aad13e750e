"""Databases that the tests of commands share: one with a stored run, one to begin with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lrpolicy.database import connect


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A tuning run of the engine that pretends: what `tune --json` printed, and its `home`, whose server runs on."""
    home = tmp_path_factory.mktemp("tuned") / "home"
    options = ["--policies", "fixed,tri2,step,exp", "--max-iter", "40", "--candidates", "2", "--seeds", "3", "--json"]
    command = [sys.executable, "-m", "lrpolicy", "tune", "digits", "--engine", "support.fake_engine:FakeEngine"]
    environment = {**os.environ, "LRPOLICY_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("LRPOLICY_DSN", None)
    with connect(home=home):
        done = subprocess.run(
            [*command, *options, "--out", str(home.parent / "out")],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        yield {**json.loads(done.stdout), "home": home}


@pytest.fixture
def at_home(tuned: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The run, with LRPOLICY_HOME set to where it is stored and an empty folder to work in."""
    monkeypatch.delenv("LRPOLICY_DSN", raising=False)
    monkeypatch.setenv("LRPOLICY_HOME", str(tuned["home"]))
    monkeypatch.chdir(tmp_path)
    return tuned


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database home that the whole module shares, its server kept running."""
    home = tmp_path_factory.mktemp("tune") / "home"
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("LRPOLICY_DSN", raising=False)
        environment.setenv("LRPOLICY_HOME", str(home))
        with connect():
            yield home


@pytest.fixture
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, beside that home."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
