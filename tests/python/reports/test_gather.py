"""What is taken from a stored run."""

from __future__ import annotations

import dataclasses

from lrpolicy.ranking import rank
from lrpolicy.records import TrialStatus
from lrpolicy.reports.gather import basis
from support.stored_run import stored_run


def test_a_stage_with_rungs_is_ranked_on_its_longest_ones() -> None:
    found = stored_run()
    whole = found.results()
    # The same trials once more as a shorter rung, all of them better: they must not be mixed in.
    rung = tuple(
        dataclasses.replace(trial, id=trial.id + 1000, spec=dataclasses.replace(trial.spec, max_iter=50))
        for trial in found.trials
        if trial.status is TrialStatus.COMPLETED
    )
    mixed = dataclasses.replace(found, trials=found.trials + rung)
    assert mixed.results() == whole
    assert {result.spec.max_iter for result in whole} == {400}


def test_a_test_split_that_nobody_measured_is_not_claimed() -> None:
    found = stored_run()
    assert basis(found, rank(found.results())).endswith(
        "validation split (100 examples) to choose, and once on the test split (200 examples)."
    )
    untested = [result._replace(outcome=dataclasses.replace(result.outcome, test=None)) for result in found.results()]
    assert basis(found, rank(untested)).endswith("measured on the validation split (100 examples) to choose.")
    task = found.run.task
    unsized = dataclasses.replace(task, dataset=dataclasses.replace(task.dataset, validation_size=0, test_size=0))
    unknown = dataclasses.replace(found, run=dataclasses.replace(found.run, task=unsized))
    assert basis(unknown, rank(untested)).endswith("measured on the validation split to choose.")
