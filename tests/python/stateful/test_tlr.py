"""TLR against NumPy implementations written from the paper, against exact line search, and at its edges."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrpolicy.errors import InputError
from lrpolicy.stateful import Tlr, TlrEvent, TlrState, TlrWindow
from lrpolicy.stateful.tlr import VARIANTS

DATA = Path(__file__).resolve().parents[2] / "data"
Gradient = Callable[[np.ndarray], np.ndarray]


def quadratic(condition: float, size: int = 8) -> tuple[np.ndarray, Gradient]:
    """A start and the gradient of sum(h_i w_i^2)/2, its curvatures between 1 and `condition`."""
    curvatures = np.geomspace(1, condition, size)
    return np.linspace(1, 2, size), lambda w: curvatures * w


def logistic(seed: int = 3) -> tuple[np.ndarray, Gradient]:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((60, 5))
    y = (x @ generator.standard_normal(5) + generator.standard_normal(60) > 0).astype(float)
    return np.zeros(5), lambda w: x.T @ (1 / (1 + np.exp(-x @ w)) - y) / 60 + 0.01 * w


def paper_algorithm_2(w: np.ndarray, gradient: Gradient, alpha: float, c: float, iterations: int) -> list[float]:
    """Efficient GD-TLR, line by line: g_(-1) = 0, alpha before the weights."""
    g_before, alphas = np.zeros_like(w), []
    for _ in range(iterations):
        g = gradient(w)
        d, n = np.dot(g, g_before), np.dot(g, g)
        with np.errstate(divide="ignore"):
            ratio = np.float64(d) / max(4 * (n - d), 0.0) if d else 0.0
        alpha *= 1 + min(ratio, c)
        w = w - alpha * g
        g_before = g
        alphas.append(float(alpha))
    return alphas


def paper_equation_9(w: np.ndarray, gradient: Gradient, alpha: float, c: float, iterations: int) -> list[float]:
    """The same rule as the paper writes it first: alpha + eta_t * d."""
    g_before, alphas = np.zeros_like(w), []
    for _ in range(iterations):
        g = gradient(w)
        d = np.dot(g, g_before)
        alpha += alpha / max(4 * np.dot(g, g - g_before), d / c) * d if d else 0.0
        w = w - alpha * g
        g_before = g
        alphas.append(float(alpha))
    return alphas


def descend(tlr: Tlr, w: np.ndarray, gradient: Gradient, iterations: int) -> list[float]:
    """Gradient descent with a rate for each iteration, source gradient, a window of one update."""
    state, before, rates = tlr.init(), np.zeros_like(w), []
    for t in range(iterations):
        g = gradient(w)
        state = tlr.update(state, TlrWindow([np.dot(g, g)], [np.dot(g, before)]))
        w = w - tlr.rate(state, t) * g
        before = g
        rates.append(tlr.rate(state, t))
    return rates


@pytest.mark.parametrize("start", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("problem", [quadratic(5), quadratic(50), logistic()], ids=["round", "long", "logistic"])
def test_efficient_is_the_papers_algorithm_2_to_the_bit(problem: tuple[np.ndarray, Gradient], start: float) -> None:
    rates = descend(Tlr(start), *problem, 120)
    assert rates == paper_algorithm_2(*problem, start, 0.25, 120)
    assert len(set(rates)) > 100


def test_every_variant_gives_the_answer_sheet_to_the_bit() -> None:
    """The sheet that the C++ test reads too."""
    with (DATA / "tlr_known_answers.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["variant"] for row in rows} == set(VARIANTS)
    state = None
    for row in rows:
        numbers = {key: float(value) for key, value in (word.split("=") for word in row["settings"].split())}
        numbers |= {"lr_mult": [1, 2, 0, 0.5], "divergence": 1e300}
        tlr = Tlr(variant=row["variant"], source=row["source"], **numbers)
        state = tlr.init() if row["window"] == "0" else state
        gg, gp, rates = ([float(cell) for cell in row[name].split(",")] for name in ("gg", "gp", "rates"))
        state = tlr.update(state, TlrWindow(gg, gp, int(row["updates"])))
        assert state.rates == tuple(rates), row
        assert state.events == tuple(map(int, row["events"].split(",")))


def test_efficient_is_equation_9_as_well() -> None:
    """For as long as the difference in rounding has not grown: the iteration is chaotic at its largest rates."""
    rates = descend(Tlr(0.01), *logistic(), 60)
    np.testing.assert_allclose(rates, paper_equation_9(*logistic(), 0.01, 0.25, 60), rtol=1e-11)


def noisy_gradient(w: np.ndarray, t: int) -> np.ndarray:
    return quadratic(20)[1](w) + 0.3 * np.random.default_rng(t).standard_normal(8)


def sgd(tlr: Tlr, stop: int, resume: tuple[TlrState, dict[str, np.ndarray], int] | None = None):
    """Noisy SGD in windows, by either source; returns the rates and what a resumed run needs."""
    start = quadratic(20)[0]
    zero = np.zeros_like(start)
    kept = {"w": start, "anchor": start, "sum": zero, "before": zero}
    state, kept, t0 = resume or (tlr.init(), kept, 0)
    rates = []
    for t in range(t0, stop):
        g = noisy_gradient(kept["w"], t)
        kept = kept | {"sum": kept["sum"] + g}
        if tlr.source == "gradient" and tlr.is_due(t):
            state = tlr.update(state, dots(kept["sum"], kept["before"]))
            kept = kept | {"before": kept["sum"], "sum": zero}
        kept = kept | {"w": kept["w"] - tlr.rate(state, t) * g}
        if tlr.source == "displacement" and tlr.is_due(t):
            moved = kept["anchor"] - kept["w"]
            state = tlr.update(state, dots(moved, kept["before"]))
            kept = kept | {"before": moved, "anchor": kept["w"]}
        rates.append(tlr.rate(state, t))
    return rates, (state, kept, stop)


def dots(now: np.ndarray, before: np.ndarray) -> TlrWindow:
    return TlrWindow([np.dot(now, now)], [np.dot(now, before)])


def paper_equation_10(alpha: float, window: int, iterations: int) -> list[float]:
    """SGD-TLR, section 4: every pN updates, g = (w_(t-pN) - w_t) / alpha."""
    w = anchor = quadratic(20)[0]
    g_before, alphas = np.zeros_like(w), []
    for t in range(iterations):
        w = w - alpha * noisy_gradient(w, t)
        if (t + 1) % window == 0:
            g = (anchor - w) / alpha
            d, n = np.dot(g, g_before), np.dot(g, g)
            alpha *= 1 + min(d / (4 * (n - d)) if n > d else math.inf * np.sign(d), 0.25) if d else 1
            g_before, anchor = g, w
        alphas.append(float(alpha))
    return alphas


def test_displacements_give_equation_10() -> None:
    tlr = Tlr(0.01, source="displacement", epoch_iterations=21)
    rates, _ = sgd(tlr, 300)
    np.testing.assert_allclose(rates, paper_equation_10(0.01, 7, 300), rtol=1e-11)
    assert len(set(rates)) > 30


def test_the_first_change_comes_with_the_second_window_not_an_epoch_late() -> None:
    rates, _ = sgd(Tlr(0.01, source="displacement", epoch_iterations=9), 9)
    assert rates[:5] == [0.01] * 5
    assert rates[5] != 0.01


@pytest.mark.parametrize("source", ["gradient", "displacement"])
@pytest.mark.parametrize("cut", [1, 44, 45, 46])
def test_a_run_resumed_from_json_continues_to_the_bit(source: str, cut: int) -> None:
    whole, _ = sgd(Tlr(0.01, "newton", source, epoch_iterations=30), 200)
    first, (state, kept, t) = sgd(Tlr(0.01, "newton", source, epoch_iterations=30), cut)
    again = TlrState.from_json(state.to_json())
    rest, _ = sgd(Tlr(0.01, "newton", source, epoch_iterations=30), 200, (again, kept, t))
    assert first + rest == whole


def test_both_sources_agree_under_plain_sgd_up_to_their_timing() -> None:
    """The rates that windows of equal gradients lead to are the same whichever way the window is measured."""
    generator = np.random.default_rng(5)
    for variant in ("efficient", "newton"):
        tlr, twin = (Tlr(0.02, variant, source, lr_mult=[1.0, 3.0]) for source in ("gradient", "displacement"))
        one, other = tlr.init(), twin.init()
        gradients, moved = [np.zeros(4)] * 2, [np.zeros(4)] * 2
        for updates in (4, 4, 2, 7, 1):
            now = [updates * (1 + generator.standard_normal(4)) for _ in range(2)]
            steps = [now[i] * twin.rate(other, 0, i) * twin.lr_mult[i] for i in range(2)]
            one = tlr.update(one, pairs(now, gradients, updates))
            other = twin.update(other, pairs(steps, moved, updates))
            gradients, moved = now, steps
            assert one.rates == pytest.approx(other.rates, rel=1e-13)
        assert one.rates[0] != 0.02


def pairs(now: list[np.ndarray], before: list[np.ndarray], updates: int | None = None) -> TlrWindow:
    both = list(zip(now, before, strict=True))
    return TlrWindow([np.dot(a, a) for a, _ in both], [np.dot(a, b) for a, b in both], updates)


def test_windows_of_different_lengths_compare() -> None:
    """One constant gradient, in windows of any length: d = n, no curvature, the full increase each time."""
    tlr = Tlr(0.1)
    state = tlr.update(tlr.init(), TlrWindow([9 * 4.0], [0.0], updates=3))
    for before, updates in ((3, 1), (1, 8), (8, 2)):
        rate = tlr.rate(state)
        state = tlr.update(state, TlrWindow([updates**2 * 4.0], [updates * before * 4.0], updates))
        assert tlr.rate(state) == rate * 1.25


@pytest.mark.parametrize("source", ["gradient", "displacement"])
def test_newton_lands_on_the_line_search_of_tensors_with_multipliers(source: str) -> None:
    """On a quadratic one Newton step ends at the rate that minimises the loss along M g."""
    generator = np.random.default_rng(8)
    root = generator.standard_normal((6, 6))
    hessian, multipliers, split = root @ root.T + np.eye(6), np.repeat([1.0, 0.5], 3), [slice(0, 3), slice(3, 6)]
    rate, g = 0.001, generator.standard_normal(6)
    direction = multipliers * g
    after = g - rate * hessian @ direction
    tlr = Tlr(rate, "newton", source, bound=1e6, lr_mult=[1.0, 0.5])
    first, second = (g, after) if source == "gradient" else (rate * direction, rate * multipliers * after)
    state = tlr.update(tlr.init(), pairs([first[s] for s in split], [np.zeros(3)] * 2))
    state = tlr.update(state, pairs([second[s] for s in split], [first[s] for s in split]))
    assert tlr.rate(state) == pytest.approx(g @ direction / (direction @ hessian @ direction), rel=1e-12)


def test_naive_follows_the_slope_of_the_loss_along_the_gradient() -> None:
    """Algorithm 1: the derivative of L(w - alpha g) by alpha, here by differences."""
    w, gradient = quadratic(4)
    curvatures, eta, alpha, step = np.geomspace(1, 4, 8), 1e-3, 0.05, 1e-6
    g = gradient(w)

    def loss(a: float) -> float:
        return 0.5 * float(curvatures @ (w - a * g) ** 2)

    tlr = Tlr(alpha, "naive", eta=eta)
    state = tlr.update(tlr.init(), TlrWindow([g @ g], [gradient(w - alpha * g) @ g]))
    slope = (loss(alpha + step) - loss(alpha - step)) / (2 * step)
    assert tlr.rate(state) == pytest.approx(alpha - eta * slope, rel=1e-9)


def test_fixed_eta_stops_at_zero_and_comes_back() -> None:
    tlr = Tlr(0.1, "fixed_eta", eta=0.1)
    state = tlr.update(tlr.init(), TlrWindow([1], [0]))
    state = tlr.update(state, TlrWindow([4], [-2]))
    assert tlr.rate(state) == 0
    assert state.events == (TlrEvent.AT_LIMIT,)
    assert tlr.events(state) == ("the rate was stopped at 0",)
    state = tlr.update(state, TlrWindow([4], [4]))
    assert tlr.rate(state) == 0.4


def test_hypergradient_is_due_every_update_and_fixed_eta_every_window() -> None:
    due = {v: Tlr(0.1, v, eta=1.0, epoch_iterations=12) for v in ("hypergradient", "fixed_eta")}
    assert [due["hypergradient"].is_due(t) for t in range(8)] == [True] * 8
    assert [due["fixed_eta"].is_due(t) for t in range(8)] == [False, False, False, True] * 2
    for tlr in due.values():
        assert [tlr.next_due(t) for t in range(9)] == [min(i for i in range(t, 20) if tlr.is_due(i)) for t in range(9)]
        assert [tlr.next_due(t) for t in np.arange(9, dtype=np.uint64)] == [tlr.next_due(t) for t in range(9)]
        with pytest.raises(InputError, match="an iteration is a whole number from 0 to 2\\^50, got -1"):
            tlr.next_due(-1)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["efficient", "newton"]),
    st.floats(0.01, 10),
    st.lists(st.tuples(st.floats(0, 1e150), st.floats(-1e150, 1e150)), min_size=1, max_size=20),
)
def test_a_rate_never_leaves_its_bounds(variant: str, bound: float, windows: list[tuple[float, float]]) -> None:
    tlr = Tlr(0.1, variant, bound=bound)
    state = tlr.init()
    for gg, gp in windows:
        before = tlr.rate(state)
        state = tlr.update(state, TlrWindow([gg], [gp]))
        factor = tlr.rate(state) / before
        assert factor > 0
        assert factor >= 0.75 * (1 - 1e-15) or variant == "newton"
        assert factor <= (1 + bound) * (1 + 1e-15)


def test_one_rate_for_each_tensor_is_as_many_single_runs() -> None:
    generator = np.random.default_rng(1)
    together = Tlr(0.1, lr_mult=[1, 0, 2], per_tensor=True)
    alone = Tlr(0.1)
    state, singles = together.init(), [alone.init()] * 3
    for _ in range(6):
        gg = generator.uniform(1, 2, 3)
        gp = generator.uniform(-1, 2, 3)
        state = together.update(state, TlrWindow(gg, gp))
        singles = [alone.update(s, TlrWindow([a], [b])) for s, a, b in zip(singles, gg, gp, strict=True)]
    assert [together.rate(state, 0, i) for i in (0, 2)] == [alone.rate(singles[i]) for i in (0, 2)]
    assert together.rate(state, 0, 1) == 0.1


def test_what_is_not_finite_changes_nothing_and_is_said() -> None:
    tlr = Tlr(0.1, lr_mult=[1, 1])
    state = tlr.update(tlr.init(), TlrWindow([1, 1], [0, 0]))
    state = tlr.update(state, TlrWindow([1, math.inf], [1, math.nan]))
    assert tlr.rate(state) == 0.1
    assert tlr.events(state) == ("the dot products of tensor 1 are not finite; the rate stays 0.1",)
    state = TlrState.from_json(state.to_json())
    state = tlr.update(state, TlrWindow([1, 1], [math.nan, 1]))
    assert tlr.rate(state) == 0.1
    state = tlr.update(state, TlrWindow([1, 1], [1, 1]))
    assert (tlr.rate(state), tlr.events(state)) == (0.125, ())


def test_n_or_d_of_zero_changes_nothing() -> None:
    tlr = Tlr(0.1)
    state = tlr.update(tlr.init(), TlrWindow([1], [0]))
    for gg, gp in ((0, 0), (1, 0), (0, -1), (0, 1)):
        state = tlr.update(state, TlrWindow([gg], [gp]))
        assert tlr.rate(state) == 0.1


def test_a_blow_up_is_reported_and_a_limit_prevents_it() -> None:
    start, gradient = quadratic(1000)

    def largest(tlr: Tlr) -> tuple[float, bool]:
        w, state, before, said, top = start, tlr.init(), np.zeros(8), False, 0.0
        for _ in range(200):
            g = gradient(w)
            state = tlr.update(state, TlrWindow([g @ g], [g @ before]))
            w, before = w - tlr.rate(state) * g, g
            said = said or any("over 1e+06 times" in event for event in tlr.events(state))
            top = max(top, float(g @ g))
        return top, said

    free, said = largest(Tlr(0.001))
    assert free > 1e12
    assert said
    held, said = largest(Tlr(0.001, max_lr=0.0019))
    assert held < 1e8
    assert not said


@pytest.mark.parametrize(
    ("settings_", "says"),
    [
        ({"base_lr": 0}, "base_lr must be a number above 0"),
        ({"base_lr": -0.1}, "base_lr must be a number above 0"),
        ({"base_lr": "fast"}, "base_lr must be a number"),
        ({"bound": 0}, "bound must be"),
        ({"bound": math.nan}, "bound must be"),
        ({"window": 0}, r"window, .* must lie in \(0, 1\], got 0"),
        ({"window": 1.1}, "got 1.1"),
        ({"epoch_iterations": 0}, "epoch_iterations must be"),
        ({"variant": "eficient"}, 'known: efficient, fixed_eta, .*did you mean "efficient"'),
        ({"source": "weights"}, "known: displacement, gradient"),
        ({"variant": "fixed_eta"}, "needs eta"),
        ({"eta": 0.1}, "takes no eta"),
        ({"variant": "naive", "eta": 1, "source": "displacement"}, "give min_lr above 0"),
        ({"lr_mult": [0, 0]}, "at least one tensor that learns"),
        ({"lr_mult": [1, math.nan]}, "lr_mult of tensor 1"),
        ({"lr_mult": 2}, "lr_mult must be a list"),
        ({"min_lr": 0.2}, "between min_lr and max_lr"),
        ({"max_lr": 0.05}, "between min_lr and max_lr"),
        ({"divergence": 1}, "divergence must be above 1"),
        ({"restart_below": 0.1}, "restart_below must lie between min_lr and base_lr"),
        ({"restart_below": 0.01, "min_lr": 0.01}, "restart_below must lie between min_lr and base_lr"),
        ({"restart_below": math.nan}, "restart_below must lie between min_lr and base_lr"),
    ],
)
def test_wrong_settings_are_named(settings_: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Tlr(**{"base_lr": 0.1} | settings_)  # type: ignore[arg-type]


def test_wrong_observations_and_states_are_named() -> None:
    two = Tlr(0.1, lr_mult=[1, 1], per_tensor=True)
    with pytest.raises(InputError, match="gp must hold one number for each of the 2 parameter tensors, got 3"):
        two.update(two.init(), TlrWindow([1, 1], [1, 1, 1]))
    with pytest.raises(InputError, match="gg of tensor 1 is a squared length"):
        two.update(two.init(), TlrWindow([1, -1], [1, 1]))
    with pytest.raises(InputError, match="updates"):
        two.update(two.init(), TlrWindow([1, 1], [1, 1], 0))
    with pytest.raises(InputError, match="this state has 1 rates and the schedule has 2"):
        two.update(Tlr(0.1).init(), TlrWindow([1, 1], [1, 1]))
    with pytest.raises(InputError, match="another list of tensors"):
        two.rate(Tlr(0.1).init())
    with pytest.raises(InputError, match="tensor's index"):
        two.rate(two.init(), 0, 2)
    with pytest.raises(InputError, match="observes a TlrWindow"):
        two.update(two.init(), 1.0)  # type: ignore[arg-type]
