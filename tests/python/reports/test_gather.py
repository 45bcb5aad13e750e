"""What is taken from a stored run."""

from __future__ import annotations

import dataclasses

from lrpolicy.records import TrialStatus
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
