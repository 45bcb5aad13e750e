"""`lrpolicy train`: train one solver as Caffe would, with its own policy."""

from __future__ import annotations

import math
import signal
from dataclasses import asdict
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import click

from lrpolicy.caffemodel import read_state
from lrpolicy.cli.common import (
    ITERATIONS,
    SEED,
    data_folder,
    examples,
    json_option,
    note,
    note_nets,
    print_json,
    progress_bar,
    read_solver,
)
from lrpolicy.engines import load_engine
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InterruptedRun, RunError
from lrpolicy.records import Measurement, Protocol, TrialOutcome, TrialStatus


@click.command(
    epilog=examples(
        "lrpolicy train digits",
        "lrpolicy train mnist-lenet --data ~/mnist --max-iter 1000 --snapshot-prefix lenet",
        "lrpolicy train mnist-lenet --data ~/mnist --resume lenet_iter_1000.solverstate",
    )
)
@click.argument("solver")
@click.option("--data", type=click.Path(path_type=Path), help="Folder with the data: MNIST, CIFAR-10 or LMDB.")
@click.option("--max-iter", type=ITERATIONS, help="Iterations.  [default: the solver's max_iter]")
@click.option("--test-interval", type=ITERATIONS, help="Between measurements.  [default: the solver's]")
@click.option("--seed", type=SEED, help="Seed of weights and dropout.  [default: the solver's random_seed, else 1]")
@click.option(
    "--protocol",
    type=click.Choice([protocol.value for protocol in Protocol]),
    default=Protocol.VALIDATION.value,
    show_default=True,
    help="Measure on a validation split while training, or on the test set as the paper does.",
)
@click.option("--engine", default="torch", show_default=True, help="What trains: torch, or caffe.")
@click.option("--device", default="cpu", show_default=True, help="Where it trains: cpu, cuda, cuda:1.")
@click.option("--snapshot-prefix", type=click.Path(path_type=Path), help="Where snapshots go.  [default: the solver's]")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on from a .solverstate.")
@click.option("--weights", type=click.Path(path_type=Path), help="Start from the weights of a .caffemodel.")
@json_option
def train(solver: str, seed: int | None, protocol: str, engine: str, as_json: bool, **options: Any) -> None:
    """Train SOLVER, a solver prototxt or the name of a set-up that lrpolicy ships, with the policy that it names.

    Measurements go to the screen as they are made. Snapshots are written where the solver says so, at the end, and on
    Ctrl-C or SIGTERM, after which --resume goes on bit for bit. A second Ctrl-C does not wait for that.
    One that cannot be written ends the training as failed (status 1), with what was measured and neither of its files.
    They keep weights and no measurements: a resumed training's best is the best of what follows.
    """
    read = read_solver(solver)
    if options["snapshot_prefix"] is None and (read.message.snapshot or read.message.HasField("snapshot_prefix")):
        options["snapshot_prefix"] = Path(read.snapshot_prefix)
    if seed is None:
        seed = read.message.random_seed if read.message.random_seed >= 0 else 1
    options["data"] = data_folder(solver, options["data"])
    job = TrainingJob(read, seed=seed, protocol=Protocol(protocol), **options)
    note_nets(read)
    since = 0 if job.resume is None else read_state(job.resume).iter
    with _Screen(job.max_iter or read.message.max_iter, quiet=as_json) as screen:
        trainer = load_engine(engine)
        outcome = trainer.train(job, screen)
        screen.ended = True
        del trainer  # which puts its folder away
    if outcome.status is TrialStatus.INTERRUPTED:
        kept = f"go on with --resume {screen.snapshot}" if screen.snapshot else "nothing was saved"
        why = f"; {outcome.message}" if outcome.message else ""
        raise InterruptedRun(f"interrupted after {outcome.iterations} iterations{why}; {kept}", screen.stopped_by)
    if as_json:
        snapshot = None if screen.snapshot is None else str(screen.snapshot)
        measurements = [asdict(measurement) for measurement in screen.measurements]
        found = {"since": since, "outcome": asdict(outcome), "measurements": measurements, "snapshot": snapshot}
        print_json(_plain(found))
    else:
        click.echo(_summary(outcome, since, screen.snapshot))
    if outcome.status is not TrialStatus.COMPLETED:
        raise RunError(f"the training {outcome.status}: {outcome.message}")


class _Screen:
    """The observer of `lrpolicy train`: a progress bar, one line for each measurement, and signals as a polite stop."""

    def __init__(self, max_iter: int, *, quiet: bool) -> None:
        self._quiet = quiet
        self.stopped_by = 0  # the signal's number
        self.ended = False  # from then on there is nothing to hurry
        self.snapshot: Path | None = None
        self.measurements: list[Measurement] = []
        self._bar = progress_bar("{task.completed}/{task.total} iterations")
        self._task = self._bar.add_task("training", total=max_iter)
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._stop)
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def displayed(self, iteration: int, loss: float, rate: float) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=iteration, description=f"loss {loss:.4g}, lr {rate:.4g}")

    def measured(self, measurement: Measurement) -> None:
        """Keep the measurement and print a line."""
        self.measurements.append(measurement)
        if not self._quiet:
            self._bar.console.print(_line(measurement), highlight=False, soft_wrap=True)

    def saved(self, path: Path) -> None:
        """Remember the latest snapshot."""
        self.snapshot = path

    def noted(self, text: str) -> None:
        """Say it on standard error, above the bar."""
        note(text)

    def stopping(self) -> bool:
        """True after Ctrl-C or a termination signal."""
        return self.stopped_by != 0

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        in_haste = self.stopped_by and number == signal.SIGINT  # SIGTERM may come twice without anyone's will
        if in_haste and not self.ended:
            raise KeyboardInterrupt
        self.stopped_by = self.stopped_by or number


def _line(measurement: Measurement) -> str:
    of, train_loss = measurement.evaluation, measurement.train_loss
    trained = "" if math.isnan(train_loss) else f", train loss {train_loss:.4f}"
    return (
        f"Iteration {measurement.iteration}, lr = {measurement.rate:.6g}: {measurement.split} "
        f"Top-1 {100 * of.top1:.2f} %, loss {of.loss:.4f}{trained}"
    )


def _summary(outcome: TrialOutcome, since: int, snapshot: Path | None) -> str:
    """The last lines; a snapshot keeps no measurements: the best is that since the iteration where it was resumed.

    Nor does Caffe's keep the seconds: those of a resumed training may be of its last part alone.
    """
    lines = [f"{outcome.status} after {outcome.iterations} iterations"]
    if not since:
        speed = outcome.iterations / outcome.seconds if outcome.seconds else 0.0
        lines[0] += f" in {outcome.seconds:.1f} s ({speed:.0f} iter/s)"
    if outcome.best is not None and outcome.test is not None:
        best, test = outcome.best, outcome.test
        resumed = f" (of those measured since iteration {since}, where it resumed)" if since else ""
        lines.append(
            f"best {best.split} Top-1 {100 * best.evaluation.top1:.2f} % at iteration {best.iteration}{resumed}; "
            f"test Top-1 with those weights {100 * test.evaluation.top1:.2f} %"
        )
    if outcome.status is TrialStatus.COMPLETED and outcome.message:
        lines.append(outcome.message)
    if snapshot is not None:
        lines.append(f"snapshot: {snapshot}")
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Plain values for JSON: NaN and infinities become None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
