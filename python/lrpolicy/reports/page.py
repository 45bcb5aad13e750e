"""The report of a run as one HTML file: no script, no network, nothing beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC
from importlib import resources
from pathlib import Path

from lrpolicy.errors import RunError
from lrpolicy.prototxt.files import write_bytes
from lrpolicy.records import Protocol
from lrpolicy.reports.gather import RunResults, basis
from lrpolicy.reports.html import Html, code, element, facts, figure, joined, table
from lrpolicy.reports.pictures import Picture
from lrpolicy.reports.results import parameters_text, percent
from lrpolicy.reports.snippets import remark, snippets
from lrpolicy.reports.standings import columns, interval_text, probability_text, setting_text
from lrpolicy.stateful import policy_from_dict
from lrpolicy.verdict import Standing, Verdict

# Even if something here escaped wrongly, a browser would run no script and fetch nothing.
_SECURITY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_METRICS = (
    "Means over seeds ± standard deviation, on the split that chose unless it says test. AC, CD and CDAC: the mean "
    "confidence of the correct answers, its deviation, and its deviation across classes. LD: this loss - that of the "
    "last 20 updates, a dash where the net trains with another loss. #Iter: iterations to the best accuracy. #Param: "
    "numbers that the policy sets. P: how often the policy wins (or stands on the front) when seeds are drawn again."
)


def write_report(
    path: Path, found: RunResults, verdict: Verdict, drawn: Sequence[Picture], *, top: int | None = None
) -> None:
    """Write the report of a run, whole or not at all; `top` shortens the ranked table.

    Raises:
        InputError: the folder does not exist.
        RunError: no policy has a result, or the file cannot be written.
    """
    if not verdict.standings or not verdict.standings[0].row.selection.top1.values:
        raise RunError(f"run {found.run.id}: no policy finished a trial: nothing to report")
    write_bytes(path, page(found, verdict, drawn, top=top).encode())


def page(found: RunResults, verdict: Verdict, drawn: Sequence[Picture], *, top: int | None = None) -> str:
    """The whole page."""
    task = found.run.task
    title = f"Learning-rate policies for {task.network.name} on {task.dataset.name}"
    style = (resources.files("lrpolicy.reports") / "report.css").read_text(encoding="utf-8")
    head = (
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_SECURITY}">'),
        element("title", title),
        element("style", Html(style)),
    )
    subtitle = f"Run {found.run.id} of {found.run.started.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {found.run.state}"
    sections = (
        element("header", element("h1", title), element("p", subtitle, class_="faint")),
        _winner(found, verdict),
        _ranking(found, verdict, top),
        _section("Pictures", *(figure(Html(picture.svg), picture.caption) for picture in drawn)),
        _method(found),
        _accidents(found),
        _use(found, verdict.standings[0]),
    )
    body = element("body", element("main", *sections))
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{joined(head)}</head>\n{body}\n</html>\n'


def _section(heading: str, *content: object) -> Html:
    return element("section", element("h2", heading), *content)


def _paragraphs(sentences: Iterable[str]) -> Html:
    return joined(element("p", sentence) for sentence in sentences if sentence)


def _items(sentences: Sequence[str]) -> Html:
    return element("ul", *(element("li", sentence) for sentence in sentences)) if sentences else Html("")


def _winner(found: RunResults, verdict: Verdict) -> Html:
    best = verdict.standings[0]
    goal = verdict.goal
    numbers = [f"{found.split} Top-1 {percent(best.row.selection.top1)} %"]
    if goal.measure != "top1" and math.isfinite(best.row.score):
        numbers.insert(0, goal.tell(best.row.score))
    if not math.isnan(best.interval[0]):
        numbers.append(f"95 % interval {interval_text(best.interval, goal.measure)}")
        numbers.append(f"{goal.probability_heading} {probability_text(best.probability)}")
    if found.protocol is Protocol.VALIDATION and best.row.test.top1.values:
        numbers.append(f"test Top-1 {percent(best.row.test.top1)} %")
    target = "" if goal.target is None else f" ({100 * goal.target:g} % Top-1)"
    rests = basis(found, [standing.row for standing in verdict.standings])
    return element(
        "div",
        element("p", element("strong", best.row.policy.name), "  ", setting_text(best.row)),
        element("p", "; ".join(numbers)),
        element("p", f"The goal: {goal.words}{target}. {rests}", class_="faint"),
        class_="winner",
    )


def _ranking(found: RunResults, verdict: Verdict, top: int | None) -> Html:
    shown = verdict.top(top)
    cells: dict[str, Sequence[object]] = {"": [s.row.rank for s in shown], "policy": [s.row.policy.name for s in shown]}
    cells |= columns(verdict, found.split, top)
    settings = {"": cells[""], "policy": cells["policy"], "set to": [setting_text(s.row) for s in shown]}
    left_out = len(verdict.standings) - len(shown)
    return _section(
        "Ranking",
        table(cells, words=("policy",)),
        _paragraphs([f"{left_out} more are not shown." if left_out else ""]),
        _items(verdict.words(top)),
        element("p", _METRICS, class_="faint"),
        table(settings, words=("policy", "set to")),
    )


def _method(found: RunResults) -> Html:
    run, task, data = found.run, found.run.task, found.run.task.dataset
    spec = found.of_stage(found.stage)[0].spec
    if found.protocol is Protocol.PAPER:
        steered = "the test split, of which the maximum counts (the LRBench paper's protocol: optimistic)"
    else:
        steered = "the validation split"
        if data.test_size:  # a training function of the user's own need not have one
            steered += "; the test split was measured once, with the weights of the best Top-1"
    statuses = [trial.status for trial in found.trials]
    pairs: dict[str, object] = {
        "task": f"{task.task_type} with {task.framework}",
        "network": f"{task.network.name}, {task.network.weight_count:,} weights",
        "network fingerprint": task.network.fingerprint,
        "data": f"{data.name}: {data.channels} x {data.height} x {data.width}, {data.class_count} classes",
        "split": f"{data.train_size:,} train, {data.validation_size:,} validation, {data.test_size:,} test",
        "data fingerprint": data.fingerprint,
        "steered by": steered,
        "a trial": f"{spec.max_iter} iterations with batches of {spec.batch_size}, measured every {spec.test_interval}",
        "optimizer": f"{spec.optimizer}, momentum {spec.momentum:g} ({spec.momentum_convention}'s form), "
        f"weight decay {spec.weight_decay:g}",
        "seeds": ", ".join(map(str, sorted({t.spec.seed for t in found.of_stage(found.stage)}))),
        "trials": ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)),
        "engine": f"{spec.engine} on {spec.device}",
        "versions": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        "hardware": ", ".join(f"{name} {value}" for name, value in run.hardware.items()),
        "run key": run.key,
    }
    return _section("How it was measured", facts(pairs))


def _accidents(found: RunResults) -> Html:
    trials = found.accidents()
    if not trials:
        return _section("Diverged and failed trials", element("p", "None."))
    cells: dict[str, Sequence[object]] = {
        "stage": [t.spec.stage for t in trials],
        "policy": [t.spec.policy["lr_policy"] for t in trials],
        "set to": [parameters_text(policy_from_dict(t.spec.policy)) for t in trials],
        "seed": [t.spec.seed for t in trials],
        "ended": [str(t.status) for t in trials],
        "after": [t.outcome.iterations if t.outcome else 0 for t in trials],
        "message": [t.outcome.message if t.outcome else "" for t in trials],
    }
    return _section("Diverged and failed trials", table(cells, words=("stage", "policy", "set to", "ended", "message")))


def _use(found: RunResults, best: Standing) -> Html:
    spec = found.of_stage(found.stage)[0].spec
    written = snippets(best.row.policy, spec)
    examples = [joined((element("h3", name), code(text))) for name, text in written.items()]
    return _section("How to use the winner", element("p", remark(spec)), *examples)
