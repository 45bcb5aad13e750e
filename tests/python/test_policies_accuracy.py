"""Rates against arbitrary precision (goal G8): the answer sheet that C++ reads too, and random policies."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrpolicy import Policy
from lrpolicy.policies import POLICIES

DATA = Path(__file__).parents[1] / "data"
TIGHT = {"fixed", "step", "multistep", "tri", "tri2", "sin", "sin2", "cos"}
SMALLEST = 1e-290  # below, doubles run out of bits


def allowed_error(name: str) -> float:
    return 4e-16 if name in TIGHT else 1e-15


def load_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("maker", DATA / "make_policy_known_answers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = load_maker()


def read_parameters(text: str) -> dict[str, float | int | tuple[int, ...]]:
    def value(key: str, item: str) -> float | int | tuple[int, ...]:
        if key == "stepvalue":
            return tuple(map(int, item.split(",")))
        return int(item) if key in ("stepsize", "max_iter", "start") else float(item)

    return {key: value(key, item) for key, item in (part.split("=") for part in text.split())}


def test_the_answer_sheet_is_what_its_maker_writes() -> None:
    assert (DATA / "policy_known_answers.tsv").read_text(encoding="utf-8") == MAKER.table()


def test_known_answers() -> None:
    seen = set()
    for line in (DATA / "policy_known_answers.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        name, text, t, nearest, rest = line.split("\t")
        rate = Policy(name, **read_parameters(text)).rate(int(t))
        error = abs((rate - float(nearest)) - float(rest))
        assert error <= allowed_error(name) * float(nearest), line
        seen.add(name)
    assert seen == set(POLICIES)


RATES = st.floats(1e-8, 10.0)
COUNTS = st.one_of(st.integers(1, 100), st.integers(1, 10**6), st.integers(1, 10**12))
STRATEGIES = {
    "base_lr": RATES,
    "max_lr": st.one_of(st.just(0.0), RATES),
    "gamma": st.one_of(st.floats(1e-6, 1.0), st.floats(1e-12, 1e-2).map(lambda x: 1 - x)),
    "power": st.floats(0, 8),
    "stepsize": COUNTS,
    "stepvalue": st.lists(COUNTS, min_size=1, max_size=5, unique=True).map(lambda steps: tuple(sorted(steps))),
    "max_iter": COUNTS,
}


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_policies_at_random_iterations(name: str, data: st.DataObject) -> None:
    parameters = {key: data.draw(STRATEGIES[key], key) for key in POLICIES[name].parameters}
    policy = Policy(name, **parameters)
    length = parameters.get("stepsize") or parameters.get("max_iter") or 1000
    t = data.draw(st.one_of(st.integers(0, 10**12), st.integers(0, min(4 * length, 10**12))), "t")
    with mpmath.workprec(MAKER.BITS):
        exact = MAKER.paper_rate(name, parameters, t)
        rate = policy.rate(t)
        if exact < SMALLEST:
            assert 0 <= rate <= 2 * SMALLEST
        else:
            assert abs(rate - exact) <= allowed_error(name) * exact


@pytest.mark.parametrize("name", ["tri", "sin", "cos"])
def test_a_start_shifts_the_cycle(name: str) -> None:
    plain = Policy(name, base_lr=0.01, max_lr=0.06, stepsize=100)
    late = Policy(name, base_lr=0.01, max_lr=0.06, stepsize=100, start=250)
    assert late.rates(range(250)).tolist() == [0.01] * 250
    assert late.rates(range(250, 900)).tolist() == plain.rates(range(650)).tolist()


@pytest.mark.parametrize("name", ["step", "multistep", "exp", "inv", "poly"])
def test_min_lr_is_a_floor(name: str) -> None:
    parameters = {"base_lr": 0.1, "gamma": 0.9, "power": 2.0, "stepsize": 3, "stepvalue": (3, 6, 9), "max_iter": 50}
    taken = {key: parameters[key] for key in POLICIES[name].parameters}
    free = Policy(name, **taken).rates(range(100))
    floored = Policy(name, **taken, min_lr=0.08).rates(range(100))
    assert floored.tolist() == [max(rate, 0.08) for rate in free]
    assert floored.min() == 0.08
