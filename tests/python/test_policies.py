"""Policy's face: names, parameters, values, errors. The numbers are in test_policies_accuracy.py."""

from __future__ import annotations

import copy
import doctest
import json
import pickle
import subprocess
import sys
from typing import SupportsIndex

import numpy as np
import pytest

import lrpolicy
from lrpolicy import InputError, Policy, _core
from lrpolicy.policies import ADAPTIVE_POLICIES, PARAMETERS, POLICIES, canonical_name
from lrpolicy.schedules import Schedule

KNOWN = ", ".join(sorted([*POLICIES, *ADAPTIVE_POLICIES]))

TRI2 = Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=2000)
VALUES = {
    "base_lr": 0.01,
    "max_lr": 0.06,
    "min_lr": 0.0001,
    "gamma": 0.9994,
    "power": 0.75,
    "stepsize": 211,
    "stepvalue": (40, 1000, 1001),
    "max_iter": 3000,
    "start": 37,
}


def one_of(name: str) -> Policy:
    """A policy with every parameter that it takes."""
    info = POLICIES[name]
    return Policy(name, **{key: VALUES[key] for key in PARAMETERS if key in info.parameters + info.optional})


def test_table_is_table_i_of_the_paper() -> None:
    papers = [info for info in POLICIES.values() if info.family != "extra"]
    counts = {info.paper_name: info.parameter_count for info in papers}
    assert counts == {
        "FIX": "1", "STEP": "3", "NSTEP": "n+2", "EXP": "2", "INV": "3", "POLY": "4 (3)", "TRI": "3", "TRI2": "3",
        "TRIEXP": "4", "SIN": "3", "SIN2": "3", "SINEXP": "4", "COS": "3",
    }  # fmt: skip
    assert set(POLICIES) - {info.name for info in papers} == {"sigmoid"}
    assert "RISES" in POLICIES["sigmoid"].note
    for info in POLICIES.values():
        assert set(info.parameters + info.optional) <= set(PARAMETERS)
        assert ("min_lr" in info.optional) == (info.family == "decaying")
        assert ("start" in info.optional) == (info.family == "cyclic")


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_a_value(name: str) -> None:
    policy = one_of(name)
    twins = [
        one_of(name),
        copy.deepcopy(policy),
        pickle.loads(pickle.dumps(policy)),
        eval(repr(policy), {"Policy": Policy}),
        Policy.from_dict(json.loads(json.dumps(policy.to_dict()))),
    ]
    for twin in twins:
        assert twin == policy
        assert hash(twin) == hash(policy)
        assert twin.rate(1234) == policy.rate(1234)
    assert policy != Policy("fixed", base_lr=0.5)
    assert policy != "a text"
    assert list(policy.parameters) == [key for key in PARAMETERS if key in policy.parameters]


def test_the_parameter_count_counts_numbers() -> None:
    assert TRI2.parameter_count == 3
    assert Policy("multistep", base_lr=0.1, gamma=0.1, stepvalue=(5, 6, 7)).parameter_count == 3 + 2
    assert Policy("poly", base_lr=0.1, power=1.0, max_iter=10).parameter_count == 3


def test_a_policy_cannot_be_changed_through_what_it_hands_out() -> None:
    TRI2.parameters["stepsize"] = 1
    TRI2.to_dict()["stepsize"] = 1
    assert TRI2.parameters["stepsize"] == 2000


def test_a_policy_is_a_schedule() -> None:
    assert isinstance(TRI2, Schedule)


@pytest.mark.parametrize("name", POLICIES)
def test_many_rates_are_the_single_rates_bit_for_bit(name: str) -> None:
    policy = one_of(name)
    for ts in (range(3500), range(5, 5000, 7), range(900, -1, -30), range(37, 38), range(0, 1, 10**30), range(0)):
        assert policy.rates(ts).tolist() == [policy.rate(t) for t in ts]
    grid = np.arange(6000, dtype=np.uint16).reshape(3, 2000)[:, ::3]
    rates = policy.rates(grid)
    assert rates.shape == grid.shape
    assert rates.tolist() == [[policy.rate(t) for t in row] for row in grid]
    assert policy.rates([]).shape == (0,)
    assert policy.rates(5).shape == ()


def test_iterations_may_be_any_whole_number_type() -> None:
    for t in (2000, np.int32(2000), np.uint64(2000), np.array(2000)):
        assert TRI2.rate(t) == 0.06


def test_rate_is_a_method_of_the_policys_own_type() -> None:
    """CPython's shortest way to a method; a subclass still inherits it, or has its own."""

    class Halved(Policy):
        def rate(self, t: SupportsIndex, /) -> float:
            return super().rate(t) / 2

    assert vars(Policy)["rate"].__objclass__ is Policy
    assert Halved("tri2", base_lr=0.01, max_lr=0.06, stepsize=2000).rate(2000) == 0.03
    with pytest.raises(TypeError, match="subclass of PolicyCore"):
        _core.with_own_rate(int)  # type: ignore[type-var]


def test_rates_go_into_memory_of_the_caller() -> None:
    out = np.full(400_000, -1.0)
    assert TRI2.rates(range(400_000), out=out) is out
    assert (
        out.tobytes() == np.concatenate([TRI2.rates(range(t, t + 50_000)) for t in range(0, 400_000, 50_000)]).tobytes()
    )
    ts = np.array([[5, 0], [7, 2000]])
    assert TRI2.rates(ts, out[:4].reshape(2, 2)).tolist() == [[TRI2.rate(int(t)) for t in row] for row in ts]
    assert TRI2.rates(range(0), np.empty(0)).size == 0


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_float32_rates_are_the_double_ones_rounded(name: str) -> None:
    values = {"base_lr": 0.01, "max_lr": 0.06, "gamma": 0.9994, "power": 0.75, "stepsize": 1700, "max_iter": 300_000}
    values["stepvalue"] = (1000, 2000, 250_000)
    policy = Policy(name, **{key: values[key] for key in POLICIES[name].parameters})
    for ts in (range(300_000), range(7, 9000, 3), range(500, -1, -7), np.array([[5, 0], [7, 2000]])):
        out = np.full(np.shape(ts), -1, np.float32)
        assert policy.rates(ts, out=out) is out
        assert out.tobytes() == policy.rates(ts).astype(np.float32).tobytes()


READ_ONLY = np.zeros(3)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("out", "got"),
    [
        (np.zeros(3, np.float16), "float16, (3,), contiguous"),
        (np.zeros(4), "float64, (4,), contiguous"),
        (np.zeros(6)[::2], "float64, (3,), not contiguous"),
        (READ_ONLY, "float64, (3,), contiguous, read-only"),
    ],
)
def test_memory_that_does_not_fit_is_refused_and_untouched(out: np.ndarray, got: str) -> None:
    with pytest.raises(InputError) as caught:
        TRI2.rates(range(3), out=out)
    rule = "out is a writeable, C-contiguous array of float64 or float32 and shape (3,)"
    assert str(caught.value) == f"{rule}, got {got}"
    assert not out.any()
    with pytest.raises(InputError, match="out is a NumPy array, got list"):
        TRI2.rates(range(3), out=[0.0, 0.0, 0.0])  # type: ignore[arg-type]


@pytest.mark.parametrize("t", [-1, 2**50 + 1, 10**40, 1.0, "1", None, np.float64(3), [1]])
def test_wrong_iterations_are_refused(t: object) -> None:
    with pytest.raises(InputError, match="an iteration is a whole number from 0 to 2\\^50, got"):
        TRI2.rate(t)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ts", [range(-1, 5), range(5, -2, -1), range(10**40), [1, -1], [0.5], ["a"], [[1], [1, 2]], [2**63], [[True]]]
)
def test_wrong_lists_of_iterations_are_refused(ts: object) -> None:
    with pytest.raises(InputError):
        TRI2.rates(ts)  # type: ignore[arg-type]


def test_names_of_other_people() -> None:
    assert canonical_name("tri2") == ("tri2", None)
    for alias, name in {"triangular": "tri", "triangular2": "tri2", "exp_range": "triexp", "NSTEP": "multistep",
                        "Fix": "fixed", "TRI2": "tri2"}.items():  # fmt: skip
        known, note = canonical_name(alias)
        assert known == name
        assert note is not None
        assert alias in note
        assert name in note
    assert Policy("triangular2", base_lr=0.01, max_lr=0.06, stepsize=2000) == TRI2


WRONG = [
    ("tri2", {"base_lr": 0.01, "stepsize": 5},
     'policy "tri2" needs max_lr (k1, the other end of the range); add for example  max_lr: 0.06'),
    ("tri22", {}, f'lr_policy "tri22" is unknown; known: {KNOWN}; did you mean "tri2"?'),
    ("tri", {"base_lr": 0.01, "max_lr": 0.1, "stepsize": 0}, "stepsize must be a whole number from 1 to 2^50, got 0"),
    ("tri", {"base_lr": 0.01, "max_lr": 0.1, "stepsize": 2.5}, "stepsize must be a whole number, got 2.5"),
    ("tri", {"base_lr": 0.01, "max_lr": 0.1, "stepsize": 10**30}, f"stepsize must be a whole number, got {10**30}"),
    ("tri", {"base_lr": 0.01, "max_lr": 0.1, "stepsize": 5, "start": -1},
     "start must be a whole number from 0 to 2^50, got -1"),
    ("exp", {"base_lr": 0.01, "gamma": -0.1}, "gamma must be a number from 0 to 1e100, got -0.1"),
    ("exp", {"base_lr": float("nan"), "gamma": 0.1}, "base_lr must be a number from 0 to 1e100, got nan"),
    ("exp", {"base_lr": float("inf"), "gamma": 0.1}, "base_lr must be a number from 0 to 1e100, got inf"),
    ("exp", {"base_lr": "0.1", "gamma": 0.1}, "base_lr must be a number, got '0.1'"),
    ("exp", {"base_lr": 0.1, "gama": 0.1},
     'policy "exp" has no parameter "gama"; known: base_lr, gamma, min_lr; did you mean "gamma"?'),
    ("exp", {"base_lr": 0.1, "gamma": 0.9, "min_lr": 0.2}, "min_lr must not be above base_lr, got 0.2 > 0.1"),
    ("fixed", {"base_lr": 0.1, "gamma": 0.1}, 'policy "fixed" takes no gamma; it takes base_lr'),
    ("multistep", {"base_lr": 0.1, "gamma": 0.1, "stepvalue": (5, 5)},
     "stepvalue must be strictly increasing, got 5 after 5"),
    ("multistep", {"base_lr": 0.1, "gamma": 0.1, "stepvalue": ()},
     "stepvalue must name at least one iteration, got none"),
    ("multistep", {"base_lr": 0.1, "gamma": 0.1, "stepvalue": "10"},
     "stepvalue must be a list of whole numbers, got '10'"),
    ("poly", {"base_lr": 0.1, "power": -1, "max_iter": 10}, "power must be a number from 0 to 1e100, got -1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "parameters", "message"), WRONG)
def test_wrong_input_says_rule_got_and_remedy(name: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Policy(name, **parameters)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_a_policy_is_read_from_a_text() -> None:
    assert Policy.parse("tri2:base_lr=0.01,max_lr=0.06,stepsize=2000") == TRI2
    assert Policy.parse(" TRI2 : base_lr=1e-2, max_lr = .06,,stepsize=2000, ") == TRI2
    assert TRI2.to_text() == "tri2:base_lr=0.01,max_lr=0.06,stepsize=2000"


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("base_lr", [1 / 3, 1e17, 0.1 + 0.2])
def test_the_text_of_a_policy_reads_as_the_policy(name: str, base_lr: float) -> None:
    policy = Policy.from_dict(one_of(name).to_dict() | {"base_lr": base_lr})
    assert Policy.parse(policy.to_text()) == policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trii:base_lr=1", f'lr_policy "trii" is unknown; known: {KNOWN}; did you mean "tri"?'),
        ("", f'lr_policy "" is unknown; known: {KNOWN}'),
        ("tri2:base_lr=1", 'tri2:base_lr=1: policy "tri2" needs max_lr'),
        ("fixed:base_lr", 'fixed:base_lr: a setting reads key=value, got "base_lr"; for example stepsize=2000'),
        ("fixed:base_lr=x", 'fixed:base_lr=x: base_lr must be a number, got "x"'),
        ("fixed:base_lr=-1", "fixed:base_lr=-1: base_lr must be a number from 0 to 1e100, got -1"),
        ("fixed:base_lr=1,base_lr=2", "fixed:base_lr=1,base_lr=2: base_lr is given twice, got 1.0 and 2"),
        ("fixed:base_lr=1,power=2", 'fixed:base_lr=1,power=2: policy "fixed" takes no power'),
        ("step:base_lr=1,gamma=1,stepsize=1.5", 'stepsize must be a whole number, got "1.5"'),
        ("seq1:base_lr=1", 'seq1:base_lr=1: "seq1" observes the training'),
        (TRI2, "a policy's text reads name:key=value,..., got Policy('tri2'"),
    ],
)
def test_wrong_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Policy.parse(text)
    assert message in str(caught.value)


def test_from_dict_needs_the_name() -> None:
    with pytest.raises(InputError, match="needs lr_policy"):
        Policy.from_dict({"base_lr": 0.1})


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(InputError, match="a policy's name is a text, got 3"):
        Policy(3)  # type: ignore[arg-type]


def test_an_uninitialised_policy_does_not_crash() -> None:
    class Lazy(Policy):
        def __init__(self) -> None:
            pass

    with pytest.raises((RuntimeError, TypeError)):
        Lazy().rate(0)


def test_importing_lrpolicy_loads_numpy_at_most() -> None:
    heavy = "torch psycopg matplotlib google.protobuf rich click sklearn lmdb h5py"
    code = f"import lrpolicy, sys; print([m for m in {heavy.split()!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_examples_in_the_docstrings() -> None:
    for module in (lrpolicy, lrpolicy.policies):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0
