"""The picture of a range test: complete, reproducible, and unmoved by values that are not finite."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lrpolicy import InputError
from lrpolicy.plots import RangePicture, plot_range

RATES = np.geomspace(1e-4, 1.0, 40).tolist()
FALL = np.linspace(2.3, 0.4, 40).tolist()
FOUND = RangePicture(RATES, [FALL, FALL[:30] + [math.nan] * 10], FALL, "loss", 0.01, 0.05, 0.1, 0.03)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_same_test_gives_the_same_bytes(tmp_path, ending):
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    plot_range(FOUND, first)
    plot_range(FOUND, second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(tmp_path.iterdir()) == [first, second]


def texts(found, tmp_path):
    path = tmp_path / "x.svg"
    plot_range(found, path, title="Range test of a net")
    return path.read_text()


def test_everything_found_is_named_with_its_rate(tmp_path):
    svg = texts(FOUND, tmp_path)
    for text in ("2 seeds", "median", "interval 0.01 to 0.1", "suggestion 0.05", "valley 0.03", "training loss"):
        assert f">{text}<" in svg


def test_what_there_is_not_is_not_named(tmp_path):
    svg = texts(replace(FOUND, valley=math.nan, measure="accuracy"), tmp_path)
    assert "valley" not in svg
    assert "validation accuracy" in svg


@pytest.mark.parametrize("measure", ["loss", "accuracy"])
@pytest.mark.parametrize("gone", [math.nan, math.inf])
def test_curves_without_a_finite_value_are_left_out(tmp_path, measure, gone):
    found = replace(FOUND, seeds=[FALL, [gone] * 40], median=[gone] * 40, measure=measure)
    assert "interval" in texts(found, tmp_path)


def test_an_explosion_does_not_flatten_the_curves_before_it(tmp_path):
    calm = replace(FOUND, seeds=[FALL], median=FALL)
    wild = replace(calm, seeds=[[*FALL[:38], 1000000.0, 1000000000.0]], median=[*FALL[:38], 1000000.0, 1000000000.0])
    ticks = [{line for line in texts(found, tmp_path).splitlines() if ">2.0<" in line} for found in (calm, wild)]
    assert ticks[0]
    assert ticks[1]


def test_nothing_to_draw(tmp_path):
    with pytest.raises(InputError, match="there is no range test to plot"):
        plot_range(replace(FOUND, seeds=[]), tmp_path / "x.png")
    with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf"):
        plot_range(FOUND, tmp_path / "x.gif")
