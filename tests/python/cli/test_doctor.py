"""doctor: says what is there, what is missing with its remedy, and fails only when something is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lrpolicy import cli
from lrpolicy.cli import doctor
from lrpolicy.errors import NotAvailableError, RunError


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Only one test starts the embedded server."""
    if "really_started" not in request.node.name:
        monkeypatch.setattr(doctor, "_database_checks", list)


def checks(capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, dict[str, str]]:
    assert cli.run(["doctor", "--json"]) == status
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)}


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    def hidden(name: str) -> str:
        if name == package:
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", hidden)


def test_versions_are_those_installed(capsys: pytest.CaptureFixture[str]) -> None:
    found = checks(capsys)
    assert found["numpy"]["found"].startswith(np.__version__)
    assert found["lrpolicy"]["found"].startswith(version("lrpolicy"))
    assert found["core"]["status"] == "ok"


def test_a_missing_extra_has_its_remedy_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide(monkeypatch, "plotext")
    plotext = checks(capsys)["plotext"]
    assert (plotext["status"], plotext["remedy"]) == ("missing", "pip install 'lrpolicy[plots]'")


def test_a_missing_requirement_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide(monkeypatch, "protobuf")
    assert checks(capsys, status=1)["protobuf"]["status"] == "broken"


def test_an_engine_that_cannot_run_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str) -> None:
        raise NotAvailableError("it needs a thing; install the thing")

    monkeypatch.setattr("lrpolicy.engines.load_engine", refuse)
    engine = checks(capsys)["engine torch"]
    assert (engine["status"], engine["remedy"]) == ("missing", "it needs a thing; install the thing")


@pytest.mark.parametrize(
    ("error", "found", "remedy"),
    [
        (
            RunError("CUDA refused: CUDA driver version is insufficient for CUDA runtime version"),
            "in this build, and no GPU to run on: CUDA refused: CUDA driver version is insufficient",
            "with an NVIDIA GPU: its latest driver, until nvidia-smi lists the GPU",
        ),
        (
            NotAvailableError("no libcudart; install it"),
            "in this build, and not to be loaded",
            "no libcudart; install it",
        ),
    ],
)
def test_what_cuda_refuses_has_a_remedy_for_a_person(
    error: RunError, found: str, remedy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CUDA's own text stood where the remedy belongs."""

    def refuse() -> list[str]:
        raise error

    for name, content in {"lrpolicy._cuda": {}, "lrpolicy.cuda": {"devices": refuse}}.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    check = checks(capsys)["CUDA kernels"]
    assert check["status"] == "missing"
    assert check["found"].startswith(found)
    assert check["remedy"].startswith(remedy)


def test_data_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("LRPOLICY_DATA", raising=False)
    assert checks(capsys)["data"]["status"] == "missing"
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").touch()
    (tmp_path / "cifar10").mkdir()
    monkeypatch.setenv("LRPOLICY_DATA", str(tmp_path))
    found = checks(capsys)
    assert [found[f"data {name}"]["status"] for name in ("mnist", "cifar10")] == ["ok", "missing"]


def test_the_table_shows_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    names = list(checks(capsys))
    assert cli.run(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)


def test_the_database_is_really_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LRPOLICY_DSN", raising=False)
    monkeypatch.setenv("LRPOLICY_HOME", str(tmp_path / "home"))
    database = checks(capsys)["database"]
    assert database["status"] == "ok"
    assert str(tmp_path / "home") in database["found"]
    monkeypatch.setenv("LRPOLICY_DSN", "postgresql://127.0.0.1:1/none")
    database = checks(capsys)["database"]
    assert database["status"] == "missing"
    assert "127.0.0.1" in database["remedy"]


def test_without_pytorch_everything_else_is_still_told() -> None:
    program = "import sys; sys.modules['torch'] = None; from lrpolicy.cli import main; main(['doctor', '--json'])"
    environment = {**os.environ, "LRPOLICY_DSN": "postgresql://127.0.0.1:1/none"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert "pip install 'lrpolicy[torch]'" in found["engine torch"]["remedy"]
    assert "GPU" not in found
