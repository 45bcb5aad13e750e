"""The report page: complete, self-contained, and safe whatever names the user's files carry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lrpolicy.errors import InputError, RunError
from lrpolicy.plots.picture import FORMATS
from lrpolicy.records import Protocol
from lrpolicy.reports import html
from lrpolicy.reports.gather import RunResults
from lrpolicy.reports.page import page, write_report
from lrpolicy.reports.pictures import Picture, pictures, write_pictures
from lrpolicy.reports.standings import interval_text, probability_text
from lrpolicy.verdict import Verdict
from support.stored_run import MAX_ITER, MESSAGE, POLICIES, stored_run, verdict_of, without_ranges

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title><svg/onload=alert(1)>",
    "' onmouseover='alert(1)",
    "--><iframe src=https://example.com>",
    "$\\frac{ & &lt;b&gt;",
    "${title} $$",
)
VOID = {"meta", "br", "img", "link", "input"}


class Outline(HTMLParser):
    """The tags of a page with the names of their attributes, its text, its addresses; open tags must be closed."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, ...]] = []
        self.text: list[str] = []
        self.addresses: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.addresses += [value or "" for name, value in attrs if name in {"href", "src", "xlink:href", "action"}]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def written(found: RunResults, verdict: Verdict | None = None, drawn: Sequence[Picture] = (), **options: int) -> str:
    return page(found, verdict or verdict_of(found), drawn, **options)


def drawn_of(found: RunResults) -> list[Picture]:
    return pictures(found, verdict_of(found))


@pytest.fixture(scope="module")
def drawn() -> list[Picture]:
    """Pictures that are drawn once for all tests that do not look at them."""
    return drawn_of(stored_run())


@pytest.fixture(scope="module")
def plain(drawn: list[Picture]) -> str:
    return written(stored_run(), drawn=drawn)


def words(source: str) -> str:
    return " ".join("".join(Outline(source).text).split())


def test_everything_that_was_measured_is_there(plain: str) -> None:
    shown = words(plain)
    for text in (
        "Learning-rate policies for net on net",
        "sinexp base_lr 0.01 max_lr 0.1 gamma 0.995 stepsize 100",
        "This rests on 9 trials of stage final: 3 policies with 3 seeds each (2, 3, 4), measured on the validation",
        "validation split (100 examples) to choose, and once on the test split (200 examples).",
        "With 3 seeds a 95 % interval holds the true mean in about 75 % of cases, not in 95 %.",
        "900 train, 100 validation, 200 test",
        "400 iterations with batches of 32, measured every 100",
        "SGD, momentum 0.9 (caffe's form), weight decay 0.0005",
        "13 completed, 1 diverged, 1 failed",
        "6e1f2e6c-0000-4000-8000-000000000007",
        MESSAGE,
    ):
        assert text in shown, text
    assert plain.count("<svg") == 4
    for word in ("validation accuracy (Top-1)", "validation loss", "learning rate", "fixed learning rate", "iteration"):
        assert f">{word}" in plain, word


def test_both_accidents_are_listed_with_what_they_said(plain: str) -> None:
    section = plain[plain.index("Diverged and failed trials") : plain.index("How to use the winner")]
    rows = re.findall(r"<tr>(.*?)</tr>", section)[1:]
    assert [re.sub(r"<[^>]+>", " ", row).split()[:2] for row in rows] == [["range", "fixed"], ["final", "fixed"]]
    assert ["diverged" in rows[0], "failed" in rows[1]] == [True, True]


def test_a_browser_could_run_nothing_and_fetch_nothing(plain: str) -> None:
    outline = Outline(plain)
    assert not {"script", "iframe", "link", "object", "embed", "form", "img"} & {tag for tag, *_ in outline.tags}
    assert not [name for _, *names in outline.tags for name in names if name.startswith("on")]
    assert all(address.startswith("#") for address in outline.addresses)
    assert "default-src 'none'" in plain
    assert "url(" not in re.sub(r"url\(#\w+\)", "", plain)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_and_change_nothing(name: str, plain: str, drawn: list[Picture]) -> None:
    found = stored_run(name=name, message=name)
    outline = Outline(written(found, drawn=drawn))
    assert outline.tags == Outline(plain).tags
    shown = "".join(outline.text)
    assert shown.count(name) >= 12
    assert f"{name}, 12,345 weights" in shown


def test_pictures_do_not_depend_on_names(drawn: list[Picture]) -> None:
    hostile = drawn_of(stored_run(name=HOSTILE[5], message=HOSTILE[0]))
    assert [(picture.caption, picture.svg) for picture in hostile] == [(p.caption, p.svg) for p in drawn]


def test_what_nobody_can_see_is_made_visible() -> None:
    assert html.text("a\x1b[31m\u202eb\x00\ud800\n") == "a\ufffd[31m\ufffdb\ufffd\ufffd\n"
    written(stored_run(name="\x1b[2J\u202e\ud800", message="\x00")).encode()


def test_html_is_escaped_once_and_only_once() -> None:
    assert html.element("p", "a < b", html.element("b", "&")) == "<p>a &lt; b<b>&amp;</b></p>"
    assert html.element("p", class_='"x"', aria_label="y") == '<p class="&quot;x&quot;" aria-label="y"></p>'


def test_the_papers_protocol_is_labelled() -> None:
    found = stored_run(protocol=Protocol.PAPER)
    shown = words(written(found))
    assert "the test split, of which the maximum counts (the LRBench paper's protocol: optimistic)" in shown
    assert "max test %" in shown
    assert "validation %" not in shown
    assert "measured on the test split (200 examples) while training, of which the maximum counts." in shown


@pytest.mark.parametrize(("goal", "target"), [("iterations", 0.9), ("robustness", None), ("pareto", None)])
def test_every_goal_has_its_page(goal: str, target: float | None) -> None:
    found = stored_run()
    verdict = verdict_of(found, goal, target)
    source = written(found, verdict)
    Outline(source)
    assert verdict.goal.words in words(source)
    assert f">{verdict.goal.heading}</th>" in source


def test_a_target_that_nobody_reached_has_no_number() -> None:
    found = stored_run()
    shown = words(written(found, verdict_of(found, "iterations", 1.0)))
    assert "did not reach the target with every seed" in shown
    assert "to target -" not in shown


def test_top_shortens_the_table_and_says_so() -> None:
    source = written(stored_run(), top=1)
    ranking = source[source.index("<h2>Ranking") : source.index("<h2>Pictures")]
    assert "multistep" not in ranking
    assert "2 more are not shown." in ranking


def test_one_seed_claims_nothing() -> None:
    shown = words(written(stored_run(seeds=1)))
    assert "One seed says nothing about what another would give" in shown
    assert "95 % interval 9" not in shown


def test_what_was_not_measured_on_the_test_set_is_not_mentioned() -> None:
    found = stored_run()
    trials = tuple(
        replace(trial, outcome=trial.outcome and replace(trial.outcome, test=None)) for trial in found.trials
    )
    assert "test Top-1" in words(written(found))
    assert "test Top-1" not in words(written(replace(found, trials=trials)))


def test_pictures_are_written_beside_it(tmp_path: Path) -> None:
    found = stored_run()
    paths = write_pictures(tmp_path / "new" / "folder", pictures(found, verdict_of(found)))
    names = {f"{name}.{ending}" for name in ("curves", "rates", "front", "scan") for ending in ("png", "svg")}
    assert {path.name for path in paths} == names
    assert {path.suffix[1:] for path in paths} <= set(FORMATS)
    assert all(path.stat().st_size > 5000 for path in paths)


def test_without_a_range_scan_there_is_no_such_picture() -> None:
    found = without_ranges(stored_run())
    assert [picture.name for picture in pictures(found, verdict_of(found))] == ["curves", "rates", "front"]


def test_a_report_is_whole_or_not_there(tmp_path: Path) -> None:
    found = stored_run()
    with pytest.raises(InputError, match="no such folder"):
        write_report(tmp_path / "nowhere" / "r.html", found, verdict_of(found), [])
    empty = Verdict(verdict_of(found).goal, (), (), "")
    with pytest.raises(RunError, match="run 7: no policy finished a trial"):
        write_report(tmp_path / "r.html", found, empty, [])
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be made"):
        write_pictures(tmp_path / "file" / "folder", [])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_numbers_that_resampling_cannot_tell_from_certainty_say_so() -> None:
    shown = [probability_text(value) for value in (0.0, 0.001, 0.5, 0.999, 1.0, float("nan"))]
    assert shown == ["0 %", "< 1 %", "50 %", "> 99 %", "100 %", "-"]
    assert interval_text((0.9791666, 0.99), "top1") == "97.92 .. 99.00"
    assert interval_text((120.0, float("inf")), "iterations_to_target") == "120 .. inf"


def test_the_sample_is_what_the_tests_take_it_for() -> None:
    found = stored_run()
    assert [standing.row.policy for standing in verdict_of(found).standings] == list(POLICIES)
    assert max(trial.spec.max_iter for trial in found.trials) == MAX_ITER
