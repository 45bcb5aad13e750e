"""The LR schedule monitor (LRBench paper, section IV): counts iterations, applies the rate, says what is due.

A training loop asks the monitor for blocks: runs of iterations in which nothing but updates happens. The engine is
free to do a block as fast as it can; between blocks it measures, displays and saves what the block says is due. A live
schedule, which hears what the training shows, shortens the blocks to what it can foresee.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpolicy.errors import InputError
from lrpolicy.live import LiveSchedule
from lrpolicy.schedules import Schedule


@dataclass(frozen=True)
class Block:
    """Iterations start .. stop-1 with their rates, and what is due once `stop` updates are done.

    `rates` has a row for each iteration where every tensor has a rate of its own. `late` says that the block's only
    update has a rate that its own gradient or loss decides; `rates` holds the one before. `feedback` says that the
    measurement is a test pass of the interval, which a live schedule hears.
    """

    start: int
    stop: int
    rates: NDArray[np.floating[Any]]
    measure: bool
    display: bool
    snapshot: bool
    late: bool = False
    feedback: bool = False

    @property
    def count(self) -> int:
        """How many updates the block does (0 only for the measurement before training)."""
        return self.stop - self.start


class ScheduleMonitor:
    """Walks a schedule from `start` to `max_iter`, stopping wherever something is due.

    Intervals count iterations; 0 means never. The last iteration is always measured and displayed. Rates are rounded to
    `precision`: float32, as Caffe computes with, unless the training is in float64. The monitor never changes the
    schedule: reading ahead is free of effects. `live` is the schedule itself where it hears what the training shows,
    else None. `untested` says that a test pass that is due at `start` has not been made yet: Caffe saves before it
    tests.

    Raises:
        InputError: max_iter, start or an interval is negative, or start lies beyond max_iter.
    """

    def __init__(
        self,
        schedule: Schedule | LiveSchedule[Any],
        max_iter: int,
        *,
        test_interval: int = 0,
        display: int = 0,
        snapshot: int = 0,
        start: int = 0,
        test_initialization: bool = False,
        untested: bool = False,
        precision: type[np.floating[Any]] = np.float32,
    ) -> None:
        fields = {"max_iter": max_iter, "test_interval": test_interval, "display": display, "snapshot": snapshot}
        for field, value in fields.items():
            if value < 0:
                raise InputError(f"{field} must be 0 or more", got=value)
        if not 0 <= start <= max_iter:
            raise InputError(f"start must lie in [0, max_iter = {max_iter}]", got=start)
        self.schedule = schedule
        self.live = schedule if isinstance(schedule, LiveSchedule) else None
        self.max_iter = max_iter
        self.precision = precision
        self.iteration = start
        self._intervals = {"measure": test_interval, "display": display, "snapshot": snapshot}
        due = untested and test_interval > 0 and start > 0 and start % test_interval == 0
        self._test_first = due or (test_initialization and start == 0)

    def rates(self, iterations: range) -> NDArray[np.floating[Any]]:
        """The rates of these iterations as the schedule knows them now."""
        return self.schedule.rates(iterations).astype(self.precision, copy=False)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks in order; `iteration` has moved to a block's stop when the next one is asked for."""
        if self._test_first:
            yield self._block(self.iteration, self.iteration)
        while self.iteration < self.max_iter:
            block = self._block(self.iteration, self._next_stop())
            yield block
            self.iteration = block.stop

    def _next_stop(self) -> int:
        stops = [self.iteration - self.iteration % every + every for every in self._intervals.values() if every]
        if self.live is not None:
            stops.append(max(self.iteration + 1, self.live.horizon(self.iteration)))
        return min([self.max_iter, *stops])

    def _block(self, start: int, stop: int) -> Block:
        at_end = stop == self.max_iter
        due = {name: bool(every) and stop % every == 0 for name, every in self._intervals.items()}
        return Block(
            start,
            stop,
            self.rates(range(start, stop)),
            measure=due["measure"] or at_end or stop == start,
            display=due["display"] or at_end,
            snapshot=due["snapshot"] and stop > start,
            late=self.live is not None and stop > start and self.live.horizon(start) == start,
            feedback=due["measure"] and stop > 0,
        )
