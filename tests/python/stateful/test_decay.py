"""The Yang-Huang sequences and strategies against their algorithms as printed, with lists that are popped."""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path

import pytest

from lrpolicy.errors import InputError
from lrpolicy.stateful import DecaySequence, convergence_epoch

DATA = Path(__file__).resolve().parents[2] / "data"
SEQUENCES = ["seq1", "seq2", "seq3", "seq4"]


def rates_after(schedule: DecaySequence, losses: list[float]) -> list[float]:
    state, rates = schedule.init(), []
    for loss in losses:
        state = schedule.update(state, loss)
        rates.append(schedule.rate(state))
    return rates


def test_rates_equal_the_answer_sheet() -> None:
    with (DATA / "sequence_known_answers.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        schedule = DecaySequence(row["sequence"], "by_epoch", float(row["base_lr"]))
        advances = int(row["advances"])
        if advances <= 101:
            assert ([schedule.base_lr, *rates_after(schedule, [1.0] * advances)])[-1] == float(row["nearest"])


def test_after_fifty_updates_they_stand_where_the_authors_did() -> None:
    finals = [rates_after(DecaySequence(name, "by_epoch", 0.01), [1.0] * 50)[-1] for name in SEQUENCES]
    assert finals == pytest.approx([0.01 / 51, 0.01 / math.sqrt(51), 0.9**50 * 0.01, 0.0002], rel=1e-15)


def test_seq4_has_no_glitch_at_ten() -> None:
    """The report prints floor(n/10) + 1, which would halve the rate one step early."""
    rates = rates_after(DecaySequence("seq4", "by_epoch", 1.0), [1.0] * 12)
    assert rates == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.5, 0.45])


def paper(strategy: str, sequence: str, r0: float, losses: list[float]) -> list[float]:
    """Algorithms 1 to 3: r0 for the first epoch, then R.pop(0) where the condition holds; the rate after each epoch."""
    terms = {
        "seq1": [r0 / n for n in range(2, 200)],
        "seq2": [r0 / math.sqrt(n) for n in range(2, 200)],
        "seq3": [0.9**n * r0 for n in range(1, 200)],
        "seq4": [(1 - ((n - 1) % 10) / 10) / ((n - 1) // 10 + 1) * r0 for n in range(1, 200)],
    }[sequence]
    lr, rates, cutoff = r0, [], losses[0] * 0.01
    for t in range(len(losses)):
        change = losses[t] - losses[t - 1] if t else None
        if strategy == "by_epoch":
            lr = terms.pop(0)
        elif strategy == "by_cutoff" and change is not None and abs(change) < cutoff:
            lr, cutoff = terms.pop(0), cutoff * 0.2
        elif strategy == "by_oscillate" and change is not None and change > 0:
            lr = terms.pop(0)
        rates.append(lr)
    return rates


@pytest.mark.parametrize("strategy", ["by_epoch", "by_cutoff", "by_oscillate"])
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_strategies_are_the_reports_algorithms(sequence: str, strategy: str) -> None:
    generator = random.Random(2)
    for _ in range(50):
        losses = [2.0 / (1 + epoch) + generator.gauss(0, 0.01) for epoch in range(40)]
        losses[30:] = [0.05] * 10
        rates = rates_after(DecaySequence(sequence, strategy, 0.01), losses)
        assert rates == pytest.approx(paper(strategy, sequence, 0.01, losses), rel=1e-14)
        assert rates[-1] < 0.01


def test_a_loss_that_is_not_finite_is_skipped() -> None:
    schedule = DecaySequence("seq1", "by_oscillate", 1.0)
    assert rates_after(schedule, [math.nan, 2.0, math.inf, 1.9, 1.95]) == [1, 1, 1, 1, 0.5]
    state = schedule.update(schedule.init(), math.nan)
    assert state.skipped
    assert not schedule.update(state, 1.0).skipped


def test_min_lr_is_a_floor() -> None:
    assert rates_after(DecaySequence("seq3", "by_epoch", 1.0, min_lr=0.85), [1.0] * 3) == [0.9, 0.85, 0.85]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("seq5", "by_epoch", 0.1), "known: seq1, seq2, seq3, seq4"),
        (("seq1", "by_cutof", 0.1), 'did you mean "by_cutoff"'),
        (("seq1", ["by_epoch"], 0.1), "strategy .* is unknown"),
        (("seq1", "by_epoch", 0), "base_lr must be a number above 0"),
        (("seq1", "by_epoch", -1), "base_lr must be a number above 0"),
        (("seq1", "by_epoch", 0.1, 0.2), "min_lr must lie between 0 and base_lr = 0.1, got 0.2"),
        (("seq1", "by_epoch", 0.1, math.nan), "min_lr must"),
    ],
)
def test_wrong_settings_are_named(arguments: tuple, says: str) -> None:
    with pytest.raises(InputError, match=says):
        DecaySequence(*arguments)


def test_convergence_is_the_first_of_four_small_changes_in_a_row() -> None:
    assert convergence_epoch([0.5, 0.9, 0.902, 0.904, 0.906, 0.908, 0.95]) == 6
    assert convergence_epoch([0.9] * 5) == 5
    assert convergence_epoch([0.9] * 4) is None
    assert convergence_epoch([0.9, 0.91] * 10) is None
    assert convergence_epoch([0.1, math.nan, *[0.9] * 5]) == 7
    assert convergence_epoch([]) is None
