"""Adaptive policies in the monitor's hands: how far ahead the rates are known, and what is heard when."""

from __future__ import annotations

import numpy as np
import pytest

from lrpolicy.errors import InputError
from lrpolicy.live import LiveTlr, live
from lrpolicy.monitor import Block, ScheduleMonitor
from lrpolicy.stateful import AdaptivePolicy, TlrState


def tlr(**parameters: object) -> LiveTlr:
    made = live(AdaptivePolicy("tlr", base_lr=0.1, window=1.0, epoch=5, **parameters), 1, (1.0, 0.0, 2.0))  # type: ignore[arg-type]
    assert isinstance(made, LiveTlr)
    return made


def spans(blocks: list[Block]) -> list[tuple[int, int, bool]]:
    return [(block.start, block.stop, block.late) for block in blocks]


def test_displacements_end_a_block_behind_their_window_and_gradients_before_its_last_update() -> None:
    blocks = list(ScheduleMonitor(tlr(), 11, test_interval=4).blocks())
    assert spans(blocks) == [(0, 4, False), (4, 5, False), (5, 8, False), (8, 10, False), (10, 11, False)]
    assert [block.feedback for block in blocks] == [True, False, True, False, False]  # the end is no test pass
    assert [block.measure for block in blocks] == [True, False, True, False, True]
    blocks = list(ScheduleMonitor(tlr(source="gradient"), 12).blocks())
    assert spans(blocks) == [(0, 4, False), (4, 5, True), (5, 9, False), (9, 10, True), (10, 12, False)]
    resumed = list(ScheduleMonitor(tlr(source="gradient"), 12, start=7).blocks())
    assert spans(resumed) == [(7, 9, False), (9, 10, True), (10, 12, False)]


def test_the_first_measurement_is_no_feedback() -> None:
    first, *_ = ScheduleMonitor(tlr(), 8, test_interval=4, test_initialization=True).blocks()
    assert (first.count, first.measure, first.feedback, first.late) == (0, True, False, False)


def test_plateau_waits_for_a_loss_only_where_a_fall_is_possible() -> None:
    policy = AdaptivePolicy("plateau", base_lr=1.0, gamma=0.5, plateau_winsize=(3, 4))
    lively = live(policy, 1, (1.0,))
    seen, rates = [], []
    losses = [5.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]  # new minima at 0 and 1; falls at 4 and 8
    for block in ScheduleMonitor(lively, 10).blocks():
        seen.append((block.start, block.stop, block.late))
        for t in range(block.start, block.stop):
            lively.trained(t, losses[t])
        rates += lively.rates(range(block.start, block.stop)).tolist() if block.late else block.rates.tolist()
    assert seen == [(0, 3, False), (3, 4, False), (4, 5, True), (5, 8, False), (8, 9, True), (9, 10, False)]
    assert rates == [1.0] * 4 + [0.5] * 4 + [0.25] * 2


def test_aslr_gives_every_tensor_its_own_draw() -> None:
    lively = live(AdaptivePolicy("aslr", base_lr=0.5), 1, (1.0, 0.0, 2.0))
    (block,) = ScheduleMonitor(lively, 6).blocks()
    assert block.rates.shape == (6, 3) and block.rates.dtype == np.float32
    assert len(np.unique(block.rates)) == 18 and np.all(abs(block.rates - 0.5) <= 0.05)
    assert lively.shown == 0.5


def test_what_a_display_shows_of_many_rates_is_the_mean_of_those_that_learn() -> None:
    lively = tlr(per_tensor=True)
    assert lively.rates(range(2)).shape == (2, 3)
    lively.observed([1.0, 0.0, 1.0], [0.0, 0.0, 0.0])
    lively.observed([1.0, 0.0, 1.0], [-1.0, 0.0, 9.0])
    rates = lively.rates(range(1))[0]
    assert rates[0] < 0.1 < rates[2]
    assert lively.shown == pytest.approx((rates[0] + rates[2]) / 2)


def test_each_kind_of_event_is_told_once_and_counted() -> None:
    lively = tlr(max_lr=0.11)
    for _ in range(4):
        lively.observed([1.0, 0.0, 1.0], [5.0, 0.0, 5.0])
    lively.observed([float("nan"), 0.0, 1.0], [1.0, 0.0, 1.0])
    assert lively.remarks == [
        "tlr, window 2: the rate was stopped at 0.11",
        "tlr, window 5: the dot products of tensor 0 are not finite; the rate stays 0.11",
    ]
    assert lively.summary() == (
        "windows with a rate stopped at its limit: 3; windows with dot products that were not finite: 1"
    )


def test_a_state_is_taken_over_or_refused_with_its_place() -> None:
    lively, other = tlr(), tlr()
    lively.observed([1.0, 0.0, 1.0], [0.0, 0.0, 0.0])
    other.restore(lively.state.to_dict(), "here")
    assert other.state == lively.state and isinstance(other.state, TlrState)
    with pytest.raises(InputError, match="here: this tlr state lacks the field"):
        other.restore({"schedule": "tlr", "version": 1, "windows": 3}, "here")
    with pytest.raises(InputError, match="here: this is no tlr state of version 1, got version 2"):
        other.restore(lively.state.to_dict() | {"version": 2}, "here")
