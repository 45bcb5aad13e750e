"""The oldest releases that CI installs the wheel with are those that pyproject.toml admits."""

from __future__ import annotations

import re
import tomllib

from tables import ROOT


def test_the_oldest_releases_admitted_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"]
    needed = [*project["dependencies"], *groups["data"], *groups["database"], *groups["plots"]]
    admitted = dict(re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", text).groups() for text in needed)  # type: ignore[union-attr]
    lines = (ROOT / "tests" / "oldest.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert tested.keys() == admitted.keys()
    assert [name for name in tested if not f"{tested[name]}.".startswith(f"{admitted[name]}.")] == []
