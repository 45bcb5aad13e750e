"""ASLR against decimal arithmetic, its draws against SciPy, and the bugs of earlier implementations."""

from __future__ import annotations

import csv
import math
import random
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lrpolicy.errors import InputError
from lrpolicy.stateful import Aslr, AslrState

DATA = Path(__file__).resolve().parents[2] / "data"


class PaperWalk:
    """Algorithm 1 in decimal arithmetic, with the first finite cost as the first minimum."""

    def __init__(self, start: str) -> None:
        self.c, self.min_cost, self.direction, self.range, self.steps = Decimal(start), math.inf, 1, 1, 0

    def epoch(self, cost: float) -> None:
        if self.min_cost < cost or not math.isfinite(cost):
            s = Decimal(10) ** math.floor(self.c.log10())
            moved = self.c + self.direction * s
            self.c = Decimal("0.9") * self.c if moved == 0 else moved
            self.steps += 1
            if self.steps == self.range:
                self.range, self.steps, self.direction = self.range + 1, 0, -self.direction
        else:
            self.min_cost, self.direction, self.range, self.steps = cost, 1, 1, 0


def test_ten_thousand_random_walks_are_those_of_decimal_arithmetic() -> None:
    generator = random.Random(4)
    odd = [math.nan, math.inf, -math.inf]
    for _ in range(10_000):
        start = f"{generator.randint(1, 9)}e{generator.randint(-6, 1)}"
        aslr, paper = Aslr(float(start)), PaperWalk(start)
        state = aslr.init()
        for _ in range(generator.randint(1, 14)):
            cost = generator.choice([generator.randint(0, 9) / 8 + 3 / generator.randint(1, 9), 0.5, *odd])
            state = aslr.update(state, cost)
            paper.epoch(cost)
        assert aslr.center(state) == float(paper.c)
        assert (state.search_direction, state.search_range, state.search_steps) == (
            paper.direction,
            paper.range,
            paper.steps,
        )
        assert state.min_cost == paper.min_cost


def test_five_hundred_epochs_without_improvement_end_above_zero() -> None:
    aslr = Aslr(0.1)
    state = aslr.update(aslr.init(), 1.0)
    for epoch in range(500):
        state = aslr.update(state, 2.0)
        assert 0 < aslr.rate(state, epoch) < 10
    assert aslr.center(state) in {digit * power for digit in range(1, 10) for power in (1e-3, 0.01, 0.1, 1, 10)}


@pytest.mark.parametrize("start", [0.3, 1, 9, 1e-22, 9e22, 4e-7])
@pytest.mark.parametrize("cost", [2.0, math.nan, math.inf])
def test_five_hundred_bad_epochs_keep_every_draw_positive_and_finite(start: float, cost: float) -> None:
    """In doubles Algorithm 1 goes negative from 0.3; the ends of the range of rates hold as well."""
    aslr = Aslr(start, seed=2)
    state = aslr.update(aslr.init(), 1.0)
    for epoch in range(500):
        state = aslr.update(state, cost)
        rates = aslr.rates(state, epoch, 5)
        assert np.all(rates > 0)
        assert np.all(np.isfinite(rates))
        assert np.all(np.abs(rates / aslr.center(state) - 1) <= 0.5)
    assert state.search_range > 30


def test_draws_equal_the_answer_sheet() -> None:
    with (DATA / "aslr_draw_known_answers.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            aslr = Aslr(float(row["base_lr"]), int(row["seed"]))
            rate = aslr.rate(aslr.init(), int(row["iteration"]), int(row["tensor"]))
            assert rate == float(row["rate"])


def test_draws_are_uniform_around_the_centre() -> None:
    aslr = Aslr(0.05, seed=11)
    drawn = np.concatenate([aslr.rates(aslr.init(), t, 10) for t in range(2000)])
    assert stats.kstest(drawn, stats.uniform(0.045, 0.01).cdf).pvalue > 0.01
    tensors = drawn.reshape(-1, 10)
    correlations = np.corrcoef(tensors.T) - np.eye(10)
    assert np.abs(correlations).max() < 0.1
    assert abs(stats.pearsonr(tensors[1:, 0], tensors[:-1, 0]).statistic) < 0.1


def test_draws_are_a_function_of_seed_iteration_and_tensor_alone() -> None:
    aslr, state = Aslr(0.1, 7), Aslr(0.1, 7).init()
    global_state = np.random.get_state()[1].tolist()
    rates = aslr.rates(state, 1000, 7)
    assert [aslr.rate(state, 1000, i) for i in range(6, -1, -1)] == rates[::-1].tolist()
    assert len({*rates, aslr.rate(state, 1001), Aslr(0.1, 8).rate(state, 1000)}) == 9
    assert np.random.get_state()[1].tolist() == global_state
    assert aslr.rates(state, 0, 0).shape == (0,)


def test_a_start_is_rounded_to_one_digit_and_said() -> None:
    """Earlier implementations truncated 0.25 to 0.2 and 0.0003 to 0.0002."""
    assert Aslr(0.25).center(Aslr(0.25).init()) == 0.3
    assert Aslr(0.25).note == "base_lr 0.25 is read as 0.3: ASLR walks along rates of one digit"
    assert Aslr(0.0003).center(Aslr(0.0003).init()) == 0.0003
    assert Aslr(0.0003).note is None
    assert Aslr(np.float32(0.1)).center(Aslr(np.float32(0.1)).init()) == 0.1


def test_a_nan_first_of_all_does_not_end_the_search_for_ever() -> None:
    aslr = Aslr(0.1)
    state = aslr.update(aslr.update(aslr.init(), math.nan), 5.0)
    assert (state.min_cost, aslr.center(state)) == (5.0, 0.2)
    assert aslr.update(state, 5.0).min_cost == 5.0
    assert aslr.center(aslr.update(state, 5.1)) == 0.3


def test_a_run_resumed_from_json_goes_on_as_if_never_cut() -> None:
    aslr, costs = Aslr(0.3, 5), [2.0, 2.1, 2.2, 1.9, 2.5, 2.4, 2.3, 1.8, math.nan, 3.0]
    state, states = aslr.init(), []
    for cost in costs:
        state = aslr.update(state, cost)
        states.append(state)
    for cut, resumed in enumerate(states):
        state = AslrState.from_json(resumed.to_json())
        for cost in costs[cut + 1 :]:
            state = Aslr(0.3, 5).update(state, cost)
        assert state == states[-1]
        assert Aslr(0.3, 5).rate(state, 17, 3) == aslr.rate(states[-1], 17, 3)


@pytest.mark.parametrize("base_lr", [0, -0.1, math.nan, math.inf, "0,1", None])
def test_a_rate_that_is_none_is_refused_and_does_not_hang(base_lr: object) -> None:
    with pytest.raises(InputError, match="base_lr must be a number"):
        Aslr(base_lr)  # type: ignore[arg-type]


def test_wrong_seeds_costs_and_places_are_named() -> None:
    aslr = Aslr(0.1)
    for seed in (-1, 2**64, 0.5):
        with pytest.raises(InputError, match="seed must be a whole number"):
            Aslr(0.1, seed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cost must be a number"):
        aslr.update(aslr.init(), "low")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="iteration is a whole number"):
        aslr.rate(aslr.init(), -1)
    with pytest.raises(InputError, match="tensor's index"):
        aslr.rate(aslr.init(), 0, -1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("digit", 0), ("digit", 10), ("exponent", 2_000_000_000), ("search_direction", 0), ("search_steps", 5)],
)
def test_a_state_that_no_walk_reaches_is_refused(field: str, value: int) -> None:
    state = AslrState.from_dict(Aslr(0.1).init().to_dict() | {field: value})
    with pytest.raises(InputError, match="must"):
        Aslr(0.1).update(state, 1.0)
