"""What a person sees while a tuning run goes on: one bar, the stage, the best so far."""

from __future__ import annotations

from types import TracebackType

from lrpolicy.cli.common import progress_bar
from lrpolicy.evaluator import Evaluator, Planned, StageStarted, Step, expected
from lrpolicy.executors.base import Finished, Measured, Progressed
from lrpolicy.records import TrialStatus


class TuneProgress:
    """A progress bar over the iterations of a plan; on anything but a terminal, one line for each stage instead."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._bar = progress_bar("{task.percentage:3.0f} %", "{task.fields[best]}")
        self._console = self._bar.console
        scan, layout = expected(evaluator.plan, evaluator.iterations_per_epoch)
        total = None if layout is None else layout.iterations + (scan.cost if scan else 0)
        self._task = self._bar.add_task("starting", total=total, best="")
        self._stage, self._trials, self._done, self._length = "", 0, 0, 0
        self._before = 0  # the iterations of earlier stages
        self._best = 0.0
        self._iterations: dict[int, int] = {}

    def __enter__(self) -> TuneProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, event: Step) -> None:
        """Bring the display up to date with what has just happened."""
        match event:
            case Planned(layout):
                self._end_stage()
                self._bar.update(self._task, total=self._before + layout.iterations)
                self._console.print(f"plan: {layout}", highlight=False, soft_wrap=True)
            case StageStarted(name, trials, done, iterations):
                self._end_stage()
                self._stage, self._trials, self._done, self._length = name, trials, done, iterations
                planned, now = self._bar.tasks[0].total, self._before + trials * iterations
                if planned is not None and now > planned:  # what diverged early leaves more for the finals
                    self._bar.update(self._task, total=now)
                if not self._console.is_terminal:
                    earlier = f", {done} done before" if done else ""
                    text = f"{name}: {trials} trial{'s' * (trials != 1)} of {iterations} iterations{earlier}"
                    self._console.print(text, highlight=False, soft_wrap=True)
            case Progressed(trial, iteration, _, _):
                self._iterations[trial] = iteration
            case Measured(_, measurement):
                self._best = max(self._best, measurement.evaluation.top1)
            case Finished(trial, outcome):
                self._done += 1
                self._iterations.pop(trial, None)
                if outcome.status is TrialStatus.FAILED:
                    self._console.print(f"trial {trial} failed: {outcome.message}", highlight=False, soft_wrap=True)
        self._bar.update(
            self._task,
            completed=self._before + self._done * self._length + sum(self._iterations.values()),
            description=f"{self._stage} {self._done}/{self._trials}",
            best=f"best Top-1 {100 * self._best:.2f} %" if self._best else "",
        )

    def _end_stage(self) -> None:
        self._before += self._trials * self._length
        self._trials = self._done = self._length = 0
        self._iterations = {}
