"""Sampling by Optuna's TPE and pruning by its Hyperband, by ask and tell; who trains and what is stored is our own.

Optuna's tables are for people who look at them with Optuna's tools: the truth is in ours. A study is begun anew by each
process that works on its run, and told what our tables hold. The same seed and the same results ask for the same
candidates, so a resumed run repeats nothing. Schedules shrink to each rung, as they do in `halving`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lrpolicy.database import Database
from lrpolicy.database.optuna_storage import optuna_errors, optuna_storage
from lrpolicy.evaluator.halving import Candidate, Climbed
from lrpolicy.evaluator.plan import ETA, Rung

if TYPE_CHECKING:
    from optuna import Study, Trial

# Candidates asked for a second time cost nothing: the loop must end where nothing else is asked for.
_MOST_ASKED = 4
StepT = TypeVar("StepT")


@dataclass(frozen=True)
class Asked:
    """A candidate that Optuna asks for, as its trial number `trial.number`."""

    trial: Trial
    candidate: Candidate


class OptunaStudy:
    """One run's study: asks for candidates, is told their scores (the smaller, the better), and prunes.

    Every method raises RunError when the server fails.
    """

    def __init__(self, database: Database, study: Study, candidates: Sequence[Candidate]) -> None:
        self._database, self._study = database, study
        self._places: dict[str, list[int]] = {}
        for function, place in candidates:
            self._places.setdefault(function, []).append(place)

    def ask(self, count: int) -> list[Asked]:
        """The next candidates to try; some may have been asked for before."""
        with optuna_errors(self._database):
            return [self._asked(self._study.ask()) for _ in range(count)]

    def goes_on(self, asked: Asked, iterations: int, score: float | None, *, last: bool) -> bool:
        """Tell the score after a rung (None: it diverged, or nothing was left for it); whether the next one is due."""
        from optuna.trial import TrialState

        with optuna_errors(self._database):
            if score is not None:
                asked.trial.report(score, iterations)
                if last:
                    self._study.tell(asked.trial, score)
                elif not asked.trial.should_prune():
                    return True
            if score is None or not last:
                self._study.tell(asked.trial, state=TrialState.PRUNED)
        return False

    def _asked(self, trial: Trial) -> Asked:
        function = trial.suggest_categorical("function", list(self._places))
        places = self._places[function]
        return Asked(trial, Candidate(function, places[trial.suggest_int(function, 0, len(places) - 1)]))


@contextmanager
def new_study(
    database: Database, name: str, candidates: Sequence[Candidate], rungs: Sequence[int], seed: int
) -> Iterator[OptunaStudy]:
    """A study for a `with` block, over these candidates; an older one of its name in Optuna's tables is replaced.

    `rungs` are the lengths at which scores are told, the shortest first. Raises RunError when the server fails.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with optuna_storage(database) as storage:
        with optuna_errors(database):
            if name in optuna.get_all_study_names(storage):
                optuna.delete_study(study_name=name, storage=storage)
            study = optuna.create_study(
                study_name=name,
                storage=storage,
                direction="minimize",
                sampler=optuna.samplers.TPESampler(seed=seed),
                pruner=optuna.pruners.HyperbandPruner(rungs[0], rungs[-1], ETA),
            )
        yield OptunaStudy(database, study, candidates)


def asked_and_told(
    study: OptunaStudy,
    rungs: Sequence[Rung],
    places: int,
    train: Callable[[Sequence[Candidate], int], Generator[StepT, None, None]],
    judge: Callable[[Sequence[Candidate], int], Climbed],
) -> Generator[StepT, None, list[Climbed]]:
    """Try what the study asks for, `places` candidates at a time, for at most the cost of the rungs.

    `train` trains candidates for so many iterations, `judge` ranks those of one length. A candidate that is asked for
    again is not trained again. Yields what `train` yields; the outcome has a rung for each length.
    """
    lengths = [rung.iterations for rung in rungs]
    entered: dict[int, list[Candidate]] = {length: [] for length in lengths}
    left, asked = sum(rung.cost for rung in rungs), 0
    while left >= lengths[0] and asked < _MOST_ASKED * rungs[0].candidates:
        wave = study.ask(places)
        asked += len(wave)
        for length in lengths:
            new = list(dict.fromkeys(one.candidate for one in wave if one.candidate not in entered[length]))
            if new := new[: left // length]:
                yield from train(new, length)
                left -= judge(new, length).cost
                entered[length] += new
            scores = {candidate: row.score for candidate, row in judge(entered[length], length).rows.items()}
            last = length == lengths[-1]
            wave = [one for one in wave if study.goes_on(one, length, scores.get(one.candidate), last=last)]
    return [judge(entered[length], length) for length in lengths]
