import math

import pytest

from lrpolicy.errors import InputError
from lrpolicy.evaluator.budget import Budget, Speed


@pytest.mark.parametrize(
    ("text", "iterations"),
    [
        ("20000", 20_000),
        ("20000 iterations", 20_000),
        ("1 iteration", 1),
        ("30 epochs", 30 * 21),
        (" 2.5 Epochs ", 52),
        ("10 minutes", 10 * 60 * 40),
        ("0.5minutes", 1200),
        ("0.5min", 1200),
        ("3 e", 3 * 21),
    ],
)
def test_units_become_iterations(text, iterations):
    assert Budget.parse(text).iterations(Speed(epoch=21, per_second=40.0)) == iterations


def test_only_time_needs_a_speed():
    assert Budget.parse("3 minutes").needs_speed
    assert not Budget.parse("3 epochs").needs_speed
    assert Budget.parse("3 epochs").iterations(Speed(7, math.nan)) == 21


@pytest.mark.parametrize("text", ["", "ten minutes", "-5", "1e3", "nan", "5 5", "10 minutes or so"])
def test_what_is_no_budget_is_said(text):
    with pytest.raises(InputError, match="a budget is a number of iterations, epochs or minutes") as error:
        Budget.parse(text)
    assert '"30 epochs"' in str(error.value)


def test_unknown_units_and_nothing():
    with pytest.raises(InputError, match=r'a budget has no unit "minuts"; known: .*did you mean "minutes"'):
        Budget.parse("5 minuts")
    with pytest.raises(InputError, match="above 0, got 0"):
        Budget.parse("0 epochs")


def test_a_budget_reads_as_it_was_written():
    assert [str(Budget.parse(text)) for text in ("1 epoch", "20000", "2.5 minutes")] == [
        "1 epoch",
        "20000 iterations",
        "2.5 minutes",
    ]
