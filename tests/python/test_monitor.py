import numpy as np
import pytest

from lrpolicy.errors import InputError
from lrpolicy.monitor import ScheduleMonitor
from lrpolicy.policies import Policy

TRI = Policy("tri", base_lr=0.1, max_lr=0.5, stepsize=10)


def test_blocks_cover_every_iteration_once_with_its_own_rate():
    monitor = ScheduleMonitor(TRI, 103, test_interval=25, display=10, snapshot=40)
    blocks = list(monitor.blocks())
    assert [block.start for block in blocks[1:]] == [block.stop for block in blocks[:-1]]
    assert (blocks[0].start, blocks[-1].stop) == (0, 103)
    rates = np.concatenate([block.rates for block in blocks])
    assert rates.dtype == np.float32
    # The rate of the first update is rate(0): a schedule lagging by one is an old bug.
    assert rates.tolist() == [np.float32(TRI.rate(t)) for t in range(103)]


def test_what_is_due_falls_on_multiples_and_on_the_end():
    blocks = list(ScheduleMonitor(TRI, 103, test_interval=25, display=10, snapshot=40).blocks())
    assert [b.stop for b in blocks if b.measure] == [25, 50, 75, 100, 103]
    assert [b.stop for b in blocks if b.display] == [*range(10, 101, 10), 103]
    assert [b.stop for b in blocks if b.snapshot] == [40, 80]


def test_a_resumed_monitor_has_the_same_stops():
    whole = list(ScheduleMonitor(TRI, 100, test_interval=30, display=7).blocks())
    rest = list(ScheduleMonitor(TRI, 100, test_interval=30, display=7, start=42).blocks())
    assert [b.stop for b in rest] == [b.stop for b in whole if b.stop > 42]
    assert rest[0].start == 42


def test_test_initialization_measures_before_the_first_update():
    first, second, *_ = ScheduleMonitor(TRI, 20, test_interval=10, test_initialization=True).blocks()
    assert (first.count, first.measure, first.snapshot) == (0, True, False)
    assert second.start == 0


def test_no_interval_means_one_block_measured_at_its_end():
    (block,) = ScheduleMonitor(TRI, 7).blocks()
    assert (block.count, block.measure) == (7, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_iter": -1}, "max_iter must be 0 or more, got -1"),
        ({"max_iter": 5, "display": -2}, "display must be 0 or more, got -2"),
        ({"max_iter": 5, "start": 6}, r"start must lie in \[0, max_iter = 5\], got 6"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        ScheduleMonitor(TRI, **arguments)
