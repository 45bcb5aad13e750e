"""`lrpolicy rank`: the ranked table of a stored run under a goal, with what its seeds allow to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
import numpy as np

from lrpolicy.cli.common import console, dsn_option, examples, json_option, naming, print_json, wanted_goal
from lrpolicy.database import StoredRun, connect
from lrpolicy.goals import GOALS
from lrpolicy.ranking import RankedPolicy
from lrpolicy.ranking import rank as rank_results
from lrpolicy.reports.gather import STAGES, RunResults, basis, gather
from lrpolicy.reports.standings import standings_json, standings_table
from lrpolicy.verdict import Verdict, judge

F = TypeVar("F", bound=Callable[..., Any])

# The bootstrap's seed: the same trials give the same table.
_SEED = 0
_OPTIONS = (
    click.argument("run", default="latest"),
    click.option("--goal", type=click.Choice(list(GOALS)), help="What the best means.  [default: the run's own goal]"),
    click.option("--target", type=float, metavar="TOP-1", help="The Top-1 to reach, as in 0.97, for goals that ask."),
    click.option("--top", type=click.IntRange(1), metavar="N", help="Show the first N only."),
    click.option(
        "--stage", type=click.Choice(STAGES), help="Which trials to rank.  [default: the last stage with results]"
    ),
    dsn_option(),
)


def ranking_options(function: F) -> F:
    """RUN and the options that say what is ranked and how, which `rank` and `report` share."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(
    epilog=examples(
        "lrpolicy rank",
        "lrpolicy rank 3 --goal iterations --target 0.97 --top 5",
        "lrpolicy rank --goal pareto --json",
    )
)
@ranking_options
@json_option
def rank(
    run: str,
    goal: str | None,
    target: float | None,
    top: int | None,
    stage: str | None,
    dsn: str | None,
    as_json: bool,
) -> None:
    """Rank the policies of a stored RUN (a number, or latest) under a goal.

    The table holds the eight metrics, 95 % bootstrap intervals over seeds, and the probability of being the best; below
    it stand the ties, and what the ranking rests on.
    """
    found, verdict = judged(dsn, run, stage, goal, target)
    wanted = verdict.goal
    ranking = [standing.row for standing in verdict.standings]
    if as_json:
        print_json(_as_json(found, verdict, ranking, top))
        return
    task = found.run.task
    title = f"Run {found.run.id}, {printable(task.network.name)} on {printable(task.dataset.name)}"
    under = "" if wanted.target is None else f" ({100 * wanted.target:g} % Top-1)"
    click.echo(f"{title}: {wanted.words}{under}")
    screen = console()
    screen.print(standings_table(verdict, found.split, top, width=screen.width))
    for sentence in (basis(found, ranking), *verdict.words(top)):
        click.echo(sentence)


def judged(
    dsn: str | None, run: str, stage: str | None, goal: str | None, target: float | None
) -> tuple[RunResults, Verdict]:
    """The results of a stored run and their verdict; without a goal under the run's own.

    Raises InputError where there is nothing to rank, or goal and target do not go together.
    """
    if goal is not None:
        wanted_goal(goal, target)  # before a server is started for nothing
    with connect(dsn) as database:
        with naming("RUN"):
            stored = database.find_run(run)
        found = gather(database, stored, stage)
    own, reached = _own_goal(stored)
    wanted = wanted_goal(goal or own, reached if goal is None and target is None else target)
    return found, judge(rank_results(found.results(), wanted), wanted, np.random.default_rng(_SEED))


def _own_goal(run: StoredRun) -> tuple[str, float | None]:
    """What a run looked for, and the Top-1 to reach, as `lrpolicy tune` and `lrpolicy.tune` keep them."""
    target = run.settings.get("target" if "train_fn" in run.settings else "top1")
    return run.settings.get("goal", "accuracy"), target


def printable(text: str) -> str:
    """A stored name without what could steer a terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _as_json(found: RunResults, verdict: Verdict, ranking: list[RankedPolicy], top: int | None) -> dict[str, Any]:
    return {
        "run": found.run.id,
        "key": found.run.key,
        "stage": found.stage,
        "split": str(found.split),
        "goal": verdict.goal.name,
        "target": verdict.goal.target,
        "ranking": standings_json(verdict, top),
        "ties": [tie.words for tie in verdict.ties],
        "basis": basis(found, ranking),
        "caution": verdict.caution,
    }
