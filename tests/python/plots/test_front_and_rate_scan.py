"""The Pareto front and the rate scan as pictures, and names that look like formulas."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from lrpolicy import InputError, Policy
from lrpolicy.plots import Candidate, Curve, front, plot_curves, plot_front, plot_rate_scan, plot_schedules

FIXED = Policy("fixed", base_lr=0.1)
SCAN = {50: {0.001: 0.2, 0.01: 0.5, 0.1: 0.6}, 100: {0.001: 0.3, 0.01: 0.8, 0.1: 0.9, 1.0: math.nan}}
FORMULA = "$\\frac{$ & <b>"


def candidate(label: str, cost: float, accuracy: float, *, on_front: bool, deviation: float = 0.01) -> Candidate:
    return Candidate(label, "cyclic", cost, accuracy, 5.0, deviation, on_front)


CANDIDATES = [
    candidate("cheap", 100, 0.9, on_front=True),
    candidate("good", 300, 0.95, on_front=True),
    candidate("neither", 300, 0.92, on_front=False, deviation=math.nan),
]


def drawn(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_front_names_everyone_and_says_what_the_axes_are(tmp_path: Path) -> None:
    plot_front(CANDIDATES, tmp_path / "f.svg", measured_on="test")
    svg = drawn(tmp_path / "f.svg")
    for word in ("cheap", "good", "neither", "test accuracy (Top-1)", "iterations to the best accuracy", "cyclic"):
        assert word in svg, word


def test_labels_of_near_policies_stand_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, name = [], front._name

    def named(axes: Axes, candidates: Sequence[Candidate]) -> None:
        name(axes, candidates)
        boxes.extend(text.get_window_extent() for text in axes.texts)

    monkeypatch.setattr(front, "_name", named)
    near = [candidate(f"policy {n}", 100 + 9 * n, 0.9, on_front=n == 0) for n in range(5)]
    plot_front([*near, candidate("far", 300, 0.95, on_front=True)], tmp_path / "f.svg")
    assert len(boxes) == 6
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_the_scan_has_a_line_for_each_length_and_a_cross_for_what_diverged(tmp_path: Path) -> None:
    plot_rate_scan(SCAN, tmp_path / "s.svg", good=(0.01, 0.1))
    svg = drawn(tmp_path / "s.svg")
    for word in ("50 iterations", "100 iterations", "good rates", "fixed learning rate", "x: diverged"):
        assert word in svg, word
    plot_rate_scan({100: {0.01: 0.8, 0.1: 0.9}}, tmp_path / "t.svg")
    assert "diverged" not in drawn(tmp_path / "t.svg")
    assert "good rates" not in drawn(tmp_path / "t.svg")


def test_a_scan_where_everything_diverged_is_still_a_picture(tmp_path: Path) -> None:
    plot_rate_scan({100: {0.1: math.nan, 1.0: math.nan}}, tmp_path / "s.svg")
    assert "x: diverged" in drawn(tmp_path / "s.svg")


def test_one_policy_is_a_front(tmp_path: Path) -> None:
    plot_front(CANDIDATES[:1], tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 5000


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for copy in ("a", "b"):
        plot_front(CANDIDATES, tmp_path / f"{copy}-front.svg")
        plot_rate_scan(SCAN, tmp_path / f"{copy}-scan.svg")
    for name in ("front", "scan"):
        assert drawn(tmp_path / f"a-{name}.svg") == drawn(tmp_path / f"b-{name}.svg")


def test_names_that_look_like_formulas_are_written_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "p.svg"
    plot_front([candidate(FORMULA, 1, 0.5, on_front=True)], path)
    assert "$\\frac{$ &amp; &lt;b&gt;" in drawn(path)
    plot_schedules({f"{FORMULA}{n}": FIXED for n in range(9)}, 10, path, title=FORMULA)
    assert drawn(path).count("$\\frac{$ &amp; &lt;b&gt;") == 10
    plot_curves([Curve(FORMULA, "fixed", FIXED, [0, 5], [0.1, 0.9], [1.0, 0.1])], 10, path, title=FORMULA)
    assert ">$\\frac{$ &amp; &lt;b&gt;</text>" in drawn(path)


@pytest.mark.parametrize("scan", [{}, {100: {}}])
def test_nothing_to_draw_is_said(scan: dict[int, dict[float, float]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rate scan to plot"):
        plot_rate_scan(scan, tmp_path / "s.svg")
    with pytest.raises(InputError, match="no policy to plot"):
        plot_front([], tmp_path / "f.svg")
    with pytest.raises(InputError, match=r"a \.png, \.svg or \.pdf file"):
        plot_front(CANDIDATES, tmp_path / "f.gif")
    assert not list(tmp_path.iterdir())
