import threading

import pytest

from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError
from lrpolicy.executors.base import Finished, Measured, Progressed, Started
from lrpolicy.executors.sequential import SequentialExecutor
from lrpolicy.policies import Policy
from lrpolicy.records import TrialStatus
from support.fake_engine import FakeEngine


def job(seed=1, rate=0.03):
    return TrainingJob(solver=None, schedule=Policy("fixed", base_lr=rate), seed=seed, max_iter=10)


def run(*jobs):
    return list(SequentialExecutor(FakeEngine()).run("fake", enumerate(jobs)))


def test_trials_report_one_after_another():
    events = run(job(1), job(2))
    kinds = [Started, Progressed, Measured, Progressed, Measured, Measured, Finished]
    assert [(event.trial, type(event)) for event in events] == [(n, kind) for n in (0, 1) for kind in kinds]


def test_a_crash_is_an_outcome_and_divergence_a_result():
    outcomes = [event.outcome for event in run(job(667), job(rate=0.9), job()) if isinstance(event, Finished)]
    assert [outcome.status for outcome in outcomes] == [
        TrialStatus.FAILED,
        TrialStatus.DIVERGED,
        TrialStatus.COMPLETED,
    ]
    assert outcomes[0].message == "OSError: the disk caught fire"


def test_wrong_input_ends_the_run():
    with pytest.raises(InputError, match="this job cannot be trained"):
        run(job(668), job())


def test_closing_stops_the_training():
    events = SequentialExecutor(FakeEngine()).run("fake", [(1, job(669)), (2, job())])
    assert next(events) == Started(1)
    assert any(thread.name == "trial 1" for thread in threading.enumerate())
    events.close()
    assert not any(thread.name.startswith("trial") for thread in threading.enumerate())
