"""`lrpolicy report`: from the database to a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lrpolicy.cli import run


def test_the_report_of_the_latest_run(at_home: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report"]) == 0
    path = Path(f"lrpolicy-report-{at_home['run']}.html")
    assert capsys.readouterr().out == f"{path}: run {at_home['run']}, 4 policies, 4 pictures\n"
    page = path.read_text(encoding="utf-8")
    best = at_home["ranking"][0]["policy"]["lr_policy"]
    assert f"<strong>{best}</strong>" in page
    assert "loss is nan at iteration 3" in page  # what the engine said of the rates that diverge
    assert str(at_home["home"]) not in page
    assert list(Path().iterdir()) == [path]


def test_a_named_file_with_its_pictures_and_a_goal(at_home: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["latest", "-o", "r.html", "--pictures", "pictures", "--goal", "pareto", "--top", "2", "--json"]
    assert run(["report", *arguments]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["run"], said["report"]) == (at_home["run"], "r.html")
    assert sorted(map(Path, said["pictures"])) == sorted(Path("pictures").iterdir())
    assert len(said["pictures"]) == 8
    assert "nobody is as accurate for fewer iterations" in Path("r.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("at_home")
def test_a_terminal_shows_what_takes_a_moment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes what is captured for a terminal
    assert run(["report"]) == 0
    assert "drawing the pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["-o", "nowhere/r.html"], 2, "nowhere: no such folder; it is needed to write r.html"),
        (["-o", "."], 2, "this is a folder; a file name is needed"),
        (["99"], 2, "there is no run 99"),
        (
            ["--pictures", "taken/pictures"],
            1,
            "taken/pictures: the folder cannot be made: Not a directory; give another place",
        ),
    ],
)
def test_wrong_input_is_one_line_and_leaves_no_file(
    arguments: list[str], status: int, message: str, at_home: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("taken").touch()
    assert run(["report", *arguments]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["taken"]
