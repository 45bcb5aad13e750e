"""What a person sees while a tuning run goes on: one bar, the stage, the best so far."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lrpolicy.evaluator import Plan, StageStarted
from lrpolicy.executors.base import Event, Finished, Measured, Progressed
from lrpolicy.records import TrialStatus


class TuneProgress:
    """A progress bar over the iterations of a plan; on anything but a terminal, one line for each stage instead."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan, self._console = plan, console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[best]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=plan.iterations, best="")
        self._stage, self._trials, self._done = "", 0, 0
        self._best = 0.0
        self._iterations: dict[int, int] = {}

    def __enter__(self) -> TuneProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, event: StageStarted | Event) -> None:
        """Bring the display up to date with what has just happened."""
        match event:
            case StageStarted(name, trials, done):
                self._stage, self._trials, self._done = name, trials, done
                self._advance_to_stage(name, done)
                if not self._console.is_terminal:
                    self._console.print(f"{name}: {trials} trials" + (f", {done} done before" if done else ""))
            case Progressed(trial, iteration, _, _):
                self._bar.advance(self._task, iteration - self._iterations.get(trial, 0))
                self._iterations[trial] = iteration
            case Measured(_, measurement):
                self._best = max(self._best, measurement.evaluation.top1)
            case Finished(trial, outcome):
                self._done += 1
                self._bar.advance(self._task, self._length - self._iterations.pop(trial, 0))
                if outcome.status is TrialStatus.FAILED:
                    self._console.print(f"trial {trial} failed: {outcome.message}", highlight=False, soft_wrap=True)
        self._bar.update(
            self._task,
            description=f"{self._stage} {self._done}/{self._trials}",
            best=f"best Top-1 {100 * self._best:.2f} %" if self._best else "",
        )

    @property
    def _length(self) -> int:
        return self._plan.scan_iter if self._stage == "range" else self._plan.max_iter

    def _advance_to_stage(self, name: str, done: int) -> None:
        """Trials of an earlier run count as done; the plan guesses the number of range trials, so mend it here."""
        self._bar.advance(self._task, done * self._length)
        if name == "search":
            rest = len(self._plan.functions) * (self._plan.candidates + self._plan.seeds) * self._plan.max_iter
            finished = self._bar.tasks[0].completed - done * self._length
            self._bar.update(self._task, total=finished + rest)
