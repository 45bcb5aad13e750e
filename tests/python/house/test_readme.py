"""The README files tell the truth: their tables, their Python, their command lines, and the examples."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from tables import ROOT, TABLES, command, commands, marked, summary, with_fresh_tables

from lrpolicy.cli import COMMANDS, run
from lrpolicy.solver import Solver
from lrpolicy.stateful import AdaptivePolicy

# What these commands do takes minutes or needs a machine's services; their own tests cover them.
LONG_COMMANDS = ("tune", "train", "data")
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def console_lines() -> list[str]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [line.removeprefix("$ ").split("#")[0].strip() for line in lines if line.startswith("$ lrpolicy")]


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_what_they_describe(name: str) -> None:
    path, make = TABLES[name]
    found = marked(name).search(path.read_text())
    assert found is not None
    assert found[0].splitlines()[1:-1] == make().splitlines(), f"{path.name} is stale: make readme"


def test_a_stale_table_is_noticed() -> None:
    stale = README.replace("| `tri2` | TRI2 |", "| `tri2` | TRI3 |")
    assert stale != README
    assert with_fresh_tables(ROOT / "README.md") == README


def test_floors_say_what_every_module_is_for() -> None:
    lines = (ROOT / "python" / "README.md").read_text().splitlines()
    assert not [line for line in lines if re.fullmatch(r"- `.*`:\s*", line)], "a module has no docstring"


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_of_the_readme_runs(number: int) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", blocks("python")[number]], check=True)


@pytest.mark.parametrize("line", console_lines())
def test_command_lines_of_the_readme_run(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, name, *arguments = shlex.split(line)
    assert program == "lrpolicy"
    assert name not in LONG_COMMANDS
    monkeypatch.chdir(tmp_path)
    assert run([name, *arguments]) == 0


def test_solver_of_the_readme_is_read() -> None:
    (block,) = blocks("protobuf")
    policy = Solver.parse(block).policy
    assert policy.name == "tri2"
    assert policy.rate(2000) == np.float32(0.06)


@pytest.mark.parametrize("line", "".join(blocks("text")).splitlines())
def test_adaptive_policies_of_the_readme_are_read(line: str) -> None:
    solver = Solver.parse(f'net: "net.prototxt" max_iter: 10000 {line}')
    assert isinstance(solver.policy, AdaptivePolicy)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_the_same_of_a_command_before_and_after_it_is_imported(name: str) -> None:
    assert summary(command(name)) == COMMANDS[name]


@pytest.mark.parametrize("words", commands())
def test_every_command_has_json_help_and_a_runnable_example(words: str) -> None:
    found = commands()[words]
    assert "--json" in [option for parameter in found.params for option in parameter.opts]
    assert summary(found).endswith(".")
    assert all(p.help for p in found.params if isinstance(p, click.Option)), "an option has no help"
    lines = [line.strip() for line in (found.epilog or "").splitlines() if line.strip().startswith("lrpolicy ")]
    assert lines, "the epilog shows no example"
    for line in lines:
        assert line.startswith(f"lrpolicy {words}")
        arguments = shlex.split(line.removeprefix(f"lrpolicy {words}"))
        found.make_context(words, arguments)  # parses, or raises UsageError


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(path: Path, tmp_path: Path) -> None:
    arguments = [str(tmp_path / "picture.png")] if "argv" in path.read_text() else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, path, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert all(Path(argument).stat().st_size > 10_000 for argument in arguments)


def test_links_between_the_readme_files_lead_somewhere() -> None:
    for readme in [ROOT / "README.md", *ROOT.glob("*/README.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", readme.read_text()):
            assert (readme.parent / target).exists(), f"{readme}: {target}"
