"""What a person sees while a range test goes on: one bar for each of its stages."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import TypeVar, cast

from lrpolicy.cli.common import progress_bar
from lrpolicy.executors.base import Event, Finished, Progressed
from lrpolicy.range_test.trainings import Stage

T = TypeVar("T")


class RangeProgress:
    """A progress bar over the trainings of a range test; on anything but a terminal, one line for each stage."""

    def __init__(self) -> None:
        self._bar = progress_bar("{task.percentage:3.0f} %")
        self._console = self._bar.console
        self._task = self._bar.add_task("starting", total=None)
        self._length = 0
        self._reached: dict[int, int] = {}

    def __enter__(self) -> RangeProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def follow(self, steps: Generator[Stage | Event, None, T]) -> T:
        """Show the steps as they happen; returns what they end with."""
        while True:
            try:
                self._show(next(steps))
            except StopIteration as end:
                return cast(T, end.value)

    def _show(self, event: Stage | Event) -> None:
        match event:
            case Stage(name, trainings, iterations):
                self._length, self._reached = iterations, {}
                self._bar.reset(self._task, total=trainings * iterations, description=name)
                if not self._console.is_terminal:
                    self._console.print(f"{name}: {trainings} trainings of {iterations} iterations", soft_wrap=True)
            case Progressed(trial, iteration, _, _):
                self._reached[trial] = iteration
            case Finished(trial, _):
                self._reached[trial] = self._length
        self._bar.update(self._task, completed=sum(self._reached.values()))
