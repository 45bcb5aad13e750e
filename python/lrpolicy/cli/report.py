"""`lrpolicy report`: a stored run as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from lrpolicy.cli.common import examples, json_option, print_json, waiting
from lrpolicy.cli.rank import judged, ranking_options
from lrpolicy.reports.page import write_report
from lrpolicy.reports.pictures import pictures, write_pictures


@click.command(
    epilog=examples(
        "lrpolicy report",
        "lrpolicy report 3 -o report.html --pictures pictures",
        "lrpolicy report --goal iterations --target 0.97",
    )
)
@ranking_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file.  [default: lrpolicy-report-RUN.html]")
@click.option(
    "--pictures", "folder", type=click.Path(path_type=Path), help="Write the pictures here too, as PNG and SVG."
)
@json_option
def report(
    run: str,
    goal: str | None,
    target: float | None,
    top: int | None,
    stage: str | None,
    dsn: str | None,
    output: Path | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Write a stored RUN (a number, or latest) as one HTML file that needs nothing else.

    It holds the recommendation and what that rests on, the ranked table, pictures, how everything was measured, and
    how to use the winner in Caffe, PyTorch, JAX and Keras. It has no script and fetches nothing.
    """
    found, verdict = judged(dsn, run, stage, goal, target)
    output = output or Path(f"lrpolicy-report-{found.run.id}.html")
    with waiting("drawing the pictures"):
        drawn = pictures(found, verdict)
        written = write_pictures(folder, drawn) if folder is not None else []
        write_report(output, found, verdict, drawn, top=top)
    if as_json:
        print_json({"run": found.run.id, "report": str(output), "pictures": [str(path) for path in written]})
        return
    click.echo(f"{output}: run {found.run.id}, {len(verdict.standings)} policies, {len(drawn)} pictures")
    for path in written:
        click.echo(str(path))
