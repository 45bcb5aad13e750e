"""`lrpolicy rank`: the database's run as a table, held against SQL and against what `tune` said."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from rich.console import Console

from lrpolicy.cli import run
from lrpolicy.database import Database, connect
from lrpolicy.database.embedded import EmbeddedServer
from lrpolicy.goals import GOALS
from lrpolicy.policies import Policy
from lrpolicy.records import DatasetInfo, NetworkInfo, Task, TrialOutcome, TrialSpec, TrialStatus
from lrpolicy.reports.standings import standings_table
from support.stored_run import stored_run, verdict_of


def ranked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["rank", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_order_and_the_means_are_those_of_sql(at_home: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    found = ranked(capsys)
    server = EmbeddedServer(at_home["home"])
    with psycopg.connect(make_conninfo(**server.address())) as connection:
        rows = connection.execute(
            """SELECT lr_policy, top1_mean, top1_deviation, test_top1_mean FROM lrpolicy.ranking(of_run => %s)
               WHERE stage = 'final' ORDER BY diverged > 0, top1_mean DESC, iterations_at_best_mean,
               loss_difference_mean""",
            [at_home["run"]],
        ).fetchall()
    server.close()
    shown = [
        (row["policy"]["lr_policy"], row["selection"]["top1"]["mean"], row["selection"]["top1"]["deviation"])
        for row in found["ranking"]
    ]
    assert [name for name, *_ in shown] == [name for name, *_ in rows]
    assert [numbers for _, *numbers in shown] == [pytest.approx(numbers[:2], rel=1e-9) for _, *numbers in rows]


@pytest.mark.parametrize(("goal", "target"), [("robustness", None), ("iterations", 0.5)])
def test_a_run_is_ranked_under_the_goal_that_it_was_made_under(
    at_home: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    goal: str,
    target: float | None,
) -> None:
    given = ["--goal", goal, *([] if target is None else ["--target", str(target)])]
    asked = ranked(capsys, *given)
    found = Database.find_run
    settings = {"goal": goal, "top1": target, "target": "digits"}
    monkeypatch.setattr(
        Database, "find_run", lambda *of: replace(run := found(*of), settings={**run.settings, **settings})
    )
    assert ranked(capsys) == asked
    assert asked["goal"] == goal
    assert ranked(capsys, "--goal", "accuracy")["goal"] == "accuracy"
    if target:
        assert ranked(capsys, "--target", "0.6")["target"] == 0.6


def test_it_repeats_what_tune_found_and_adds_how_sure_it_is(
    at_home: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found = ranked(capsys)
    assert (found["run"], found["stage"], found["split"]) == (at_home["run"], "final", "validation")
    for shown, told in zip(found["ranking"], at_home["ranking"], strict=True):
        assert {key: shown[key] for key in told} == told
    for row in found["ranking"]:
        low, high = row["interval"]
        assert low <= row["selection"]["top1"]["mean"] <= high
    assert sum(row["probability"] for row in found["ranking"]) == pytest.approx(1)
    assert found["basis"].startswith("This rests on 12 trials of stage final: 4 policies with 3 seeds each (2, 3, 4)")
    assert ranked(capsys) == found


def test_the_table_is_readable_at_a_glance(at_home: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rank", "latest", "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Run {at_home['run']}, net on toy: the highest mean Top-1"
    (heading,) = (line for line in lines if "policy" in line and "P(best)" in line)
    for word in ("validation %", "95 % interval", "test %", "Top-5 %", "AC", "CD", "CDAC", "LD", "#Iter", "#Param"):
        assert word in heading
    best = at_home["ranking"][0]["policy"]["lr_policy"]
    assert any(line.split()[:2] == ["1", best] for line in lines)
    assert not any(line.split()[:1] == ["3"] for line in lines)
    assert max(map(len, lines)) <= 200


def test_goals_with_a_target(at_home: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    found = ranked(capsys, str(at_home["run"]), "--goal", "iterations", "--target", "0.85")
    scores = [row["score"] for row in found["ranking"]]
    known = [score for score in scores if score is not None]
    assert known
    assert known == sorted(known)
    assert scores == [*known, *[None] * (len(scores) - len(known))]
    assert (found["goal"], found["target"]) == ("iterations", 0.85)
    assert run(["rank", "--goal", "seconds", "--target", "0.85"]) == 0
    out = capsys.readouterr().out
    assert "the shortest training to the target (85 % Top-1)" in out
    assert " 1   " in out or "1    " in out


def test_another_stage(at_home: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    found = ranked(capsys, "--stage", "search")
    assert {len(row["seeds"]) for row in found["ranking"]} == {1}
    assert all(row["probability"] is None for row in found["ranking"])
    assert found["caution"].startswith("One seed says nothing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["99"], "there is no run 99"),
        (["0x1"], "a run is named by its number, or latest, got '0x1'"),
        (["1; DROP TABLE lrpolicy.run"], "a run is named by its number"),
        (["--goal", "iterations"], 'goal "iterations" needs a target; give the Top-1 to reach, for example 0.97'),
        (["--goal", "seconds", "--target", "97"], "got 97.0; 97 % is 0.97"),
        (["--target", "0.9"], 'goal "accuracy" takes no target'),
        (["--goal", "best"], "Invalid value for '--goal'"),
        (["--top", "0"], "Invalid value for '--top'"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], message: str, at_home: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rank", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_run_without_results_says_how_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LRPOLICY_DSN", raising=False)
    monkeypatch.setenv("LRPOLICY_HOME", str(tmp_path / "home"))
    data = DatasetInfo("d\x1b[31m", 9, 1, 1, 1, 1, 1, 2, "d")
    with connect() as database:
        assert run(["rank"]) == 2
        assert "no run is stored yet" in capsys.readouterr().err
        number = database.start_run(Task("fake", NetworkInfo("n\x1b[31m", "n", 1), data), {})
        assert run(["rank"]) == 2
        assert "run 1 has no completed trial; finish it with `lrpolicy tune --resume`" in capsys.readouterr().err
        spec = TrialSpec(Policy("fixed", base_lr=0.1).to_dict(), 1, 10, 1, 1, "SGD", 0.9, 0.0, stage="final")
        trial = database.plan_trial(number, spec)
        database.start_trial(trial)
        database.finish_trial(trial, TrialOutcome(TrialStatus.COMPLETED, 10, 1.0))
        assert run(["rank", "--stage", "search"]) == 2
        assert "no completed trial of stage search; its stages with completed trials: final" in capsys.readouterr().err
        assert run(["rank"]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert run(["report", "-o", str(tmp_path / "r.html")]) == 1
        assert "no policy finished a trial: nothing to report" in capsys.readouterr().err
        assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("goal", list(GOALS))
@pytest.mark.parametrize(("width", "tables"), [(80, 2), (48, 3)])
def test_a_narrow_terminal_gets_several_tables_with_every_column_whole(goal: str, width: int, tables: int) -> None:
    found = stored_run()
    verdict = verdict_of(found, goal, 0.5 if GOALS[goal].takes_target == "must" else None)
    narrow, wide = (Console(width=size, record=True, file=io.StringIO()) for size in (width, 200))
    for screen in (narrow, wide):
        screen.print(standings_table(verdict, found.split, width=screen.width))
    shown = narrow.export_text()
    words, expected = ({word for word in text.split() if "─" not in word} for text in (shown, wide.export_text()))
    assert expected <= words  # nothing is cut off
    assert "…" not in shown
    assert shown.count(" policy ") >= tables
