"""Pictures: complete, reproducible, honest about peaks, and without effect on what they show."""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from lrpolicy import InputError, Policy, RunError
from lrpolicy.plots import Curve, plot_curves, plot_schedules, terminal_plot
from lrpolicy.plots.picture import spread
from lrpolicy.plots.sampling import MOST_READ, envelope, read_rates, wants_log

TRI2 = Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=200)
EXP = Policy("exp", base_lr=0.01, gamma=0.99)
SCHEDULES = {"tri2": TRI2, "exp": EXP}


def curve(label: str, policy: Policy, accuracy: float) -> Curve:
    iterations = range(100, 1001, 100)
    return Curve(
        label,
        policy.info.family,
        policy,
        iterations,
        [accuracy * (1 - math.exp(-t / 200)) for t in iterations],
        [1 - accuracy + math.exp(-t / 200) for t in iterations],
    )


CURVES = [curve("tri2", TRI2, 0.98), curve("exp", EXP, 0.9)]

DRAWINGS: dict[str, Callable[[Path], None]] = {
    "schedules": lambda path: plot_schedules(SCHEDULES, 1000, path),
    "curves": lambda path: plot_curves(CURVES, 1000, path, title="two"),
}


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize("name", DRAWINGS)
def test_same_input_gives_the_same_bytes(name: str, ending: str, tmp_path: Path) -> None:
    for copy in ("a", "b"):
        DRAWINGS[name](tmp_path / f"{copy}.{ending}")
    first, second = (tmp_path / f"a.{ending}").read_bytes(), (tmp_path / f"b.{ending}").read_bytes()
    assert len(first) > 5000
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{ending}", f"b.{ending}"]


def test_svg_holds_the_words_of_the_axes_and_curves(tmp_path: Path) -> None:
    DRAWINGS["curves"](tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    for word in ("iteration", "learning rate", "validation accuracy (Top-1)", "validation loss", "1  tri2", "2  exp"):
        assert f">{word}</text>" in text, word
    assert ">cyclic</text>" in text


def test_png_has_the_size_of_the_figure(tmp_path: Path) -> None:
    DRAWINGS["schedules"](tmp_path / "p.png")
    assert struct.unpack(">II", (tmp_path / "p.png").read_bytes()[16:24]) == (1296, 691)


class Counting:
    """A schedule that counts how often it is read, and would show it if reading advanced it."""

    def __init__(self) -> None:
        self.policy = Policy("multistep", base_lr=0.1, gamma=0.1, stepvalue=(10, 20))
        self.calls = 0

    def rate(self, t: int) -> float:
        return self.policy.rate(t)

    def rates(self, ts: range | ArrayLike) -> NDArray[np.float64]:
        self.calls += 1
        return self.policy.rates(ts)


def test_plotting_reads_a_schedule_once_and_changes_nothing(tmp_path: Path) -> None:
    schedule = Counting()
    before = pickle.dumps(schedule.policy)
    plot_schedules({"multistep": schedule}, 40, tmp_path / "p.png")
    assert schedule.calls == 1
    terminal_plot({"multistep": schedule}, 40)
    assert schedule.calls == 2
    assert pickle.dumps(schedule.policy) == before
    assert schedule.rate(0) == 0.1


def test_plotting_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    DRAWINGS["schedules"](tmp_path / "p.png")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", ["p.jpg", "p", "p.png.txt"])
def test_a_file_that_is_no_picture(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a picture is a \.png, \.svg or \.pdf file"):
        plot_schedules(SCHEDULES, 100, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        plot_schedules(SCHEDULES, 100, tmp_path / "no" / "p.png")


def test_a_failure_leaves_the_old_picture_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    target = tmp_path / "p.png"
    target.write_bytes(b"old")

    def full(self: Figure, file: object, **_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        plot_schedules(SCHEDULES, 100, target)
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    assert target.read_bytes() == b"old"


def test_nothing_to_plot(tmp_path: Path) -> None:
    for draw in (
        lambda: plot_schedules({}, 100, tmp_path / "p.png"),
        lambda: plot_curves([], 100, tmp_path / "p.png"),
        lambda: terminal_plot({}, 100),
        lambda: plot_schedules(SCHEDULES, 0, tmp_path / "p.png"),
    ):
        with pytest.raises(InputError):
            draw()


def test_trials_that_diverged_or_measured_nothing_are_drawn_as_far_as_they_got(tmp_path: Path) -> None:
    nan = math.nan
    broken = Curve("sin", "cyclic", TRI2, [100, 200], [0.5, nan], [1.0, math.inf])
    silent = Curve("cos", "cyclic", TRI2, [], [], [])
    plot_curves([*CURVES, broken, silent], 1000, tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    assert ">3  sin</text>" in text
    assert "4  cos" not in text
    plot_curves([silent], 1000, tmp_path / "q.png")


def test_zero_rates_are_drawn() -> None:
    assert "0┤" in terminal_plot({"zero": Policy("fixed", base_lr=0)}, 10).replace(" ", "")
    assert terminal_plot({"one": Policy("fixed", base_lr=0.5)}, 1, scale="log")


def test_the_envelope_keeps_every_peak_of_a_cycle_shorter_than_a_bin() -> None:
    x, y = envelope(read_rates(Policy("tri", base_lr=0.0, max_lr=1.0, stepsize=7), 100_000), 300)
    assert len(x) <= 602
    assert np.all(np.diff(x) > 0)
    for start in range(0, 100_000, 10_000):
        part = y[(x >= start) & (x < start + 10_000)]
        assert part.min() == 0.0
        assert part.max() == 1.0


def test_the_envelope_takes_only_true_points() -> None:
    rng = np.random.default_rng(7)
    x, y = np.arange(5000.0), rng.integers(0, 5, 5000).astype(np.float64)
    kept_x, kept_y = envelope((x, y), 100)
    assert np.array_equal(y[kept_x.astype(int)], kept_y)
    assert (kept_x[0], kept_x[-1]) == (0, 4999)


def test_long_schedules_are_read_at_spaced_iterations() -> None:
    x, y = read_rates(EXP, 10**9)
    assert len(x) == MOST_READ
    assert x[-1] == 10**9 - 1
    assert y[1] == EXP.rate(int(x[1]))


def test_log_scale_is_for_rates_that_span_decades() -> None:
    assert not wants_log([TRI2.rates(range(5000))])
    assert wants_log([Policy("step", base_lr=0.1, gamma=0.1, stepsize=100).rates(range(1000))])
    assert wants_log([np.full(5, 1e-4), np.full(5, 0.1)])
    assert not wants_log([np.zeros(5)])


@pytest.mark.parametrize("seed", range(20))
def test_labels_are_spread_as_little_as_possible(seed: int) -> None:
    """Against SciPy's general optimiser: least squares under the same gaps."""
    from scipy.optimize import LinearConstraint, minimize

    rng = np.random.default_rng(seed)
    wanted = rng.uniform(0, 1, 6)
    moved = np.array(spread(wanted.tolist(), 0.15))
    order = np.argsort(wanted)
    assert np.all(np.diff(moved[order]) >= 0.15 - 1e-12)
    gaps = np.diff(np.eye(6)[order], axis=0)
    best = minimize(
        lambda p: float(np.sum((p - wanted) ** 2)), wanted, method="SLSQP", constraints=LinearConstraint(gaps, 0.15)
    )
    assert np.sum((moved - wanted) ** 2) <= best.fun + 1e-6


def test_terminal_plot_shows_the_shape() -> None:
    lines = terminal_plot({"exp": EXP}, 500, width=60, height=12).splitlines()
    assert lines[0] == "exp"
    assert max(map(len, lines)) <= 60
    assert lines[2].strip().startswith("┌")
    assert lines[3].strip().startswith("0.01┤")
    assert "iteration" in lines[-1]
    drawn = [[column for column, sign in enumerate(line) if 0x2800 < ord(sign) < 0x2900] for line in lines]
    centres = [np.mean(columns) for columns in drawn if columns]
    assert centres == sorted(centres), "a decaying rate goes from top left to bottom right"


def test_terminal_plot_tells_curves_apart_with_and_without_colour() -> None:
    plain = terminal_plot(SCHEDULES, 500)
    assert "\x1b" not in plain
    assert plain.splitlines()[0] == "o tri2   x exp"
    assert plain.count("o") > 10
    assert "\x1b[34m━━ tri2\x1b[0m" in terminal_plot(SCHEDULES, 500, color=True)
