"""Chains against PyTorch's own LinearLR, CosineAnnealingLR and SequentialLR, and against their parts."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrpolicy import InputError, Policy
from lrpolicy.compositions import (
    Chain,
    CoolDown,
    Lasting,
    Ramp,
    WarmUp,
    cool_down,
    is_chain,
    lasting,
    parse_chain,
    warm_up,
)
from lrpolicy.schedules import Schedule

COS = Policy("cos", base_lr=0.1, max_lr=0.001, stepsize=400)
FIXED = Policy("fixed", base_lr=0.1)


def pytorch_rates(schedulers: list, milestones: list[int], optimizer: torch.optim.Optimizer, count: int) -> list[float]:
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, schedulers, milestones)
        for _ in range(count):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


def test_warm_up_body_and_cool_down_are_pytorchs_sequence() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    torchs = torch.optim.lr_scheduler
    linear = torchs.LinearLR(optimizer, start_factor=0.25, end_factor=1.0, total_iters=50)
    constant = torchs.ConstantLR(optimizer, factor=1.0, total_iters=1)
    annealing = torchs.CosineAnnealingLR(optimizer, T_max=200, eta_min=0.002)
    expected = pytorch_rates([linear, constant, annealing], [50, 150], optimizer, 350)
    chain = warm_up(50, start=0.025) >> FIXED >> cool_down(200, at=150, end=0.002, shape="cosine")
    np.testing.assert_allclose(chain.rates(range(350)), expected, rtol=1e-12)


def test_a_linear_cool_down_is_pytorchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    torchs = torch.optim.lr_scheduler
    constant = torchs.ConstantLR(optimizer, factor=1.0, total_iters=1)
    linear = torchs.LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=30)
    expected = pytorch_rates([constant, linear], [20], optimizer, 80)
    np.testing.assert_allclose((FIXED >> cool_down(30, at=20, end=0.01)).rates(range(80)), expected, rtol=1e-12)


def test_each_part_counts_from_its_own_first_iteration() -> None:
    chain = warm_up(10, start=0.2) >> lasting(COS, 100) >> lasting(FIXED, 5) >> COS
    assert isinstance(chain, Schedule)
    assert chain.length is None
    assert chain.rate(0) == 0.2
    assert chain.rates(range(10, 110)).tolist() == COS.rates(range(100)).tolist()
    assert chain.rates(range(110, 115)).tolist() == [0.1] * 5
    assert chain.rate(10_115) == COS.rate(10_000)
    assert pickle.loads(pickle.dumps(chain)) == chain
    again = chain.until(120) >> FIXED
    assert (again.rate(119), again.rate(120)) == (COS.rate(4), 0.1)


def test_a_cool_down_meets_both_ends_and_may_cut_parts_off() -> None:
    chain = lasting(FIXED, 50) >> COS
    cooled = chain >> cool_down(100, at=250, end=0.0005)
    assert cooled.rate(250) == chain.rate(250)
    assert cooled.rates([350, 351, 10**6]).tolist() == [0.0005] * 3
    assert cooled.rates(range(250)).tolist() == chain.rates(range(250)).tolist()
    assert (lasting(FIXED, 7) >> cool_down(10)).rates([6, 7, 17]).tolist() == [0.1, 0.1, 0.0]
    assert [first for first, _ in (chain >> cool_down(9, at=50)).parts] == [0, 50]


@given(
    st.integers(0, 2**50),
    st.integers(1, 10**6),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(["linear", "cosine"]),
)
def test_a_ramp_stays_between_its_ends_and_single_is_many(t: int, n: int, start: float, end: float, shape: str) -> None:
    ramp = Ramp(start, end, n, shape)
    assert (ramp.rate(0), ramp.rate(n)) == (start, end)
    assert min(start, end) <= ramp.rate(t) <= max(start, end)
    assert ramp.rates([[0, t], [n, t]]).tolist() == [[start, ramp.rate(t)], [end, ramp.rate(t)]]


RAMPS = st.builds(Ramp, st.floats(0, 1), st.floats(0, 1), st.integers(1, 50), st.sampled_from(["linear", "cosine"]))


@st.composite
def chains(draw: st.DrawFn, depth: int = 1) -> Chain:
    """Of policies, ramps and, one level deep, chains."""
    inner = [chains(depth=depth - 1)] if depth else []
    schedules = draw(st.lists(st.one_of(st.sampled_from([COS, FIXED]), RAMPS, *inner), min_size=1, max_size=4))
    lengths = [draw(st.integers(1, 60)) for _ in schedules]
    firsts = [sum(lengths[:place]) for place in range(len(schedules))]
    return Chain(tuple(zip(firsts, schedules, strict=True)), draw(st.sampled_from([None, sum(lengths)])))


class Constant:
    """A schedule that lrpolicy does not know."""

    def rate(self, t: int, /) -> float:
        return 0.1

    def rates(self, ts: object) -> np.ndarray:
        return np.full(np.shape(ts), 0.1)


@given(chains())
def test_the_text_of_a_chain_is_read_as_an_equal_one(chain: Chain) -> None:
    text = chain.to_text()
    assert parse_chain(text) == chain
    assert is_chain(text) or len(chain.parts) == 1


@given(st.lists(chains(), min_size=1, max_size=3), st.lists(st.integers(0, 300), min_size=1))
def test_a_chains_single_rate_is_that_of_many_and_of_its_part(chain: list[Chain], ts: list[int]) -> None:
    """Also of chains that are parts of a chain: each holds for 70 updates, which not all of it may have begun by."""
    whole = Chain(tuple((70 * place, each) for place, each in enumerate(chain)))
    rates = [whole.rate(t) for t in ts]
    assert rates == whole.rates(ts).tolist()
    assert rates == [chain[min(t // 70, len(chain) - 1)].rates([t - 70 * min(t // 70, len(chain) - 1)])[0] for t in ts]
    assert not any(isinstance(part, Chain) for _, part in whole.parts)
    assert whole.rate(np.int32(ts[0])) == rates[0]


def test_a_chain_is_what_its_text_says() -> None:
    text = "warm_up:iterations=50,start=0.01 >> fixed:base_lr=0.1 for 200 >> cos:base_lr=0.1,max_lr=0.001,stepsize=400"
    chain = parse_chain(f"{text} >> cool_down:iterations=30,at=600,shape=cosine")
    assert chain == warm_up(50, 0.01) >> lasting(FIXED, 200) >> COS >> cool_down(30, at=600, shape="cosine")
    assert (warm_up(5) >> FIXED).to_text() == (
        "ramp:start=0.0,end=0.1,iterations=5,shape=linear for 5 >> fixed:base_lr=0.1"
    )
    assert parse_chain("fixed:base_lr=0.1 for 20") == Chain(((0, FIXED),), 20)
    texts = ["fixed:base_lr=0.1 for 20", "ramp:start=0,end=1,iterations=3", "warm_up", "cos >> fixed"]
    assert all(map(is_chain, texts))
    assert not any(map(is_chain, ["fixed", "fixed:base_lr=0.1", "for", ""]))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FIXED >> warm_up(5), "a warm-up comes first"),
        (lambda: cool_down(5, at=3) >> FIXED, "a cool-down comes last"),
        (lambda: warm_up(5) >> cool_down(5, at=3), "between a warm-up and a cool-down stands a schedule"),
        (lambda: warm_up(5) >> COS >> FIXED, "what goes on for ever is followed by nothing but a cool-down"),
        (lambda: FIXED >> cool_down(5), "needs `at`"),
        (lambda: lasting(COS, 9) >> cool_down(5, at=10), "at is from 0 to 9, got 10"),
        (lambda: lasting(COS, 9) >> FIXED >> cool_down(5, at=4), "at is 9 or more, got 4"),
        (lambda: warm_up(0), "iterations must be a whole number from 1"),
        (lambda: warm_up(5, shape="square"), 'shape "square" is unknown'),
        (lambda: warm_up(5, start=-1.0), "start must be a number from 0 to 1e100, got -1.0"),
        (lambda: cool_down(5, at=9, end=math.nan), "end must be a number from 0 to 1e100, got nan"),
        (lambda: warm_up(5) >> 3, "a chain is made of schedules"),
        (lambda: lasting("tri", 3), "a chain is made of schedules"),
        (lambda: WarmUp(0), "iterations must be a whole number from 1"),
        (lambda: WarmUp(5, math.nan), "start must be a number from 0 to 1e100, got nan"),
        (lambda: CoolDown(5, at=-1), "at must be a whole number from 0"),
        (lambda: CoolDown(5, shape="square"), 'shape "square" is unknown'),
        (lambda: Lasting(FIXED, -5), "iterations must be a whole number from 1"),
        (lambda: Lasting(0.1, 5), "a chain is made of schedules, for example a Policy, got 0.1"),
        (lambda: Chain(()), "the first part of a chain begins at 0, and each later than the one before, got []"),
        (lambda: Chain(((1, COS),)), "the first part of a chain begins at 0"),
        (lambda: Chain(((0, COS), (5, FIXED), (5, COS))), "each later than the one before, got [0, 5, 5]"),
        (lambda: Chain(((0, COS), (0.5, FIXED))), "a part's first iteration must be a whole number"),
        (lambda: Chain(((0, "fixed"),)), "a chain is made of schedules"),
        (lambda: Chain(COS), "a chain has parts, pairs of a first iteration and a schedule, got Policy("),
        (lambda: Chain(((0, COS), (5, FIXED)), 5), "length must be a whole number from 6"),
        (lambda: Ramp(0.1, 0.2, 5).rate(-1), "an iteration is a whole number from 0 to 2^50, got -1"),
        (lambda: (warm_up(5) >> COS).rate(0.5), "an iteration is a whole number from 0 to 2^50, got 0.5"),
        (lambda: (warm_up(5) >> COS).rate(-1), "an iteration is a whole number from 0 to 2^50, got -1"),
        (lambda: (warm_up(5) >> COS).rates([0.5]), "iterations are whole numbers"),
        (lambda: (warm_up(5) >> COS).until(5), "iterations must be a whole number from 6"),
        (lambda: COS >> FIXED, "followed by nothing but a cool-down; give it a length: lasting(it, 4000)"),
        (lambda: Ramp(0.1, 0.2, 5) >> COS, "give it a length: lasting(it, 4000)"),
        (lambda: COS >> 3, "a chain is made of schedules"),
        (lambda: parse_chain("warm_up:iterations=3"), "a ramp leads to or from a policy's rate, got no policy"),
        (lambda: parse_chain("ramp:start=0,iterations=3"), "ramp needs end; for example  ramp:start=0,end=0.1,"),
        (lambda: parse_chain("warm_up:iterations=3 for 4 >> fixed:base_lr=1"), "iterations must be a whole number"),
        (lambda: parse_chain("warm_up:iterations=3 >> TLR:base_lr=1"), '"TLR" observes the training'),
        ((lasting(Constant(), 3) >> COS).to_text, "the text of a chain is that of policies and ramps, got <"),
        (lambda: parse_chain("warm_up >> fixed:base_lr=1"), "warm_up: warm_up needs iterations"),
        (lambda: parse_chain("warm_up:iterations=3 >> fixd:base_lr=1"), 'fixd:base_lr=1: lr_policy "fixd" is unknown'),
        (lambda: parse_chain("fixed:base_lr=1 >> "), "something stands on either side of >>, got nothing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(make: object, says: str) -> None:
    with pytest.raises(InputError) as caught:
        make()  # type: ignore[operator]
    assert says in str(caught.value)


def test_a_length_is_known_where_the_last_part_has_one() -> None:
    assert isinstance(lasting(FIXED, 3) >> lasting(COS, 4), Chain)
    assert (lasting(FIXED, 3) >> lasting(COS, 4)).length == 7
    assert (warm_up(2) >> lasting(COS, 4)).length == 6
