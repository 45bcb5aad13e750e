"""What a table or a report needs of a run, read from the database once, and what it rests on in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lrpolicy.database import Database, StoredRun, StoredTrial
from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.ranking import RankedPolicy, Result
from lrpolicy.records import Measurement, Protocol, Split, TrialStatus

# From the stage that says most about a policy to the one that says least.
STAGES = ("final", "search", "range")
_IS_RESULT = (TrialStatus.COMPLETED, TrialStatus.DIVERGED)


@dataclass(frozen=True)
class RunResults:
    """A run, all its trials, and which stage of it is ranked.

    `measurements` holds, for the completed trials of that stage and of the range stage, by trial, what they measured on
    the split that steers, in order of iteration.
    """

    run: StoredRun
    stage: str
    trials: tuple[StoredTrial, ...]
    measurements: Mapping[int, tuple[Measurement, ...]]

    @property
    def protocol(self) -> Protocol:
        """The protocol of the run's trials."""
        return self.trials[0].spec.protocol

    @property
    def split(self) -> Split:
        """The split that steers."""
        return steering_split(self.protocol)

    def of_stage(self, stage: str) -> list[StoredTrial]:
        """The trials of a stage that are results: completed or diverged."""
        return [trial for trial in self.trials if trial.spec.stage == stage and trial.status in _IS_RESULT]

    def results(self) -> list[Result]:
        """The results of the ranked stage; of a stage with rungs those of the longest, since lengths do not compare."""
        trials = self.of_stage(self.stage)
        longest = max((trial.spec.max_iter for trial in trials), default=0)
        return [
            Result(trial.spec, trial.outcome, self.measurements.get(trial.id, ()))
            for trial in trials
            if trial.outcome and trial.spec.max_iter == longest
        ]

    def accidents(self) -> list[StoredTrial]:
        """The trials that diverged or failed, of all stages."""
        return [trial for trial in self.trials if trial.status in (TrialStatus.DIVERGED, TrialStatus.FAILED)]


def steering_split(protocol: Protocol) -> Split:
    """The split that a protocol selects on."""
    return Split.TEST if protocol is Protocol.PAPER else Split.VALIDATION


def gather(database: Database, run: StoredRun, stage: str | None = None) -> RunResults:
    """Read a run; `stage` is by default the last one that has a completed trial.

    Raises InputError where there is no such stage, or no trial of it has been completed.
    """
    if stage is not None and stage not in STAGES:
        raise InputError(f'stage "{stage}" is unknown', remedy=did_you_mean(stage, STAGES))
    trials = database.trials(run=run.id)
    completed = {trial.spec.stage for trial in trials if trial.status is TrialStatus.COMPLETED}
    chosen = stage or next((name for name in STAGES if name in completed), None)
    if chosen is None or chosen not in completed:
        of_stage = "" if stage is None else f" of stage {stage}"
        known = f"its stages with completed trials: {', '.join(sorted(completed))}" if completed else None
        remedy = known or "finish it with `lrpolicy tune --resume`"
        raise InputError(f"run {run.id} has no completed trial{of_stage}", where=database.where, remedy=remedy)
    split = steering_split(trials[0].spec.protocol)
    wanted = [t for t in trials if t.status is TrialStatus.COMPLETED and t.spec.stage in (chosen, "range")]
    measurements = {t.id: tuple(m for m in database.measurements(t.id) if m.split is split) for t in wanted}
    return RunResults(run, chosen, tuple(trials), measurements)


def basis(found: RunResults, ranking: Sequence[RankedPolicy]) -> str:
    """One sentence on what the ranking rests on: trials, seeds, splits."""
    data = found.run.task.dataset
    trials = sum(len(row.seeds) for row in ranking)
    counts = sorted({len(row.seeds) for row in ranking})
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    seeds = ", ".join(str(seed) for seed in _first(sorted({seed for row in ranking for seed in row.seeds})))
    if found.protocol is Protocol.PAPER:
        splits = f"the test split ({data.test_size} examples) while training, of which the maximum counts"
    else:
        splits = f"the validation split{_examples(data.validation_size)} to choose"
        if not all(math.isnan(row.test.top1.mean) for row in ranking):
            splits += f", and once on the test split{_examples(data.test_size)}"
    return (
        f"This rests on {_count(trials, 'trial')} of stage {found.stage}: {_count(len(ranking), 'policy', 'policies')} "
        f"with {many} seed{'s' * (many != '1')} each ({seeds}), measured on {splits}."
    )


def _examples(size: int) -> str:
    """How many a split has, where a training function of the user's own said so."""
    return f" ({size} examples)" if size else ""


def _first(seeds: Sequence[int], count: int = 10) -> Iterable[object]:
    return seeds if len(seeds) <= count else (*seeds[:count], "...")


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
