import contextlib
import os
import signal
import time
from multiprocessing.process import BaseProcess

import pytest

from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError
from lrpolicy.executors.base import Finished, Measured, Progressed, Started
from lrpolicy.executors.local import LocalExecutor
from lrpolicy.policies import Policy
from lrpolicy.records import TrialStatus
from support.fake_engine import FakeEngine  # noqa: F401  (the workers import it by name)

ENGINE = "support.fake_engine:FakeEngine"


def job(seed=1, rate=0.03):
    return TrainingJob(solver=None, schedule=Policy("fixed", base_lr=rate), seed=seed, max_iter=10)


@pytest.fixture(scope="module")
def executor():
    with LocalExecutor(2) as executor:
        yield executor


def outcomes(executor, jobs):
    return {e.trial: e.outcome for e in executor.run(ENGINE, jobs) if isinstance(e, Finished)}


def test_every_trial_reports_in_order(executor):
    events = list(executor.run(ENGINE, [(n, job(seed=n)) for n in range(5)]))
    for n in range(5):
        kinds = [type(e) for e in events if e.trial == n]
        assert kinds == [Started, Progressed, Measured, Progressed, Measured, Measured, Finished]
    assert {e.outcome.status for e in events if isinstance(e, Finished)} == {TrialStatus.COMPLETED}


def test_two_trials_run_at_a_time():
    others = set(_children())
    with LocalExecutor(2) as executor:
        events = executor.run(ENGINE, [(n, job(seed=669)) for n in range(3)])  # none of them ends
        assert {next(events), next(events)} == {Started(0), Started(1)}
        assert len(set(_children()) - others) == 2


def test_a_trial_that_kills_every_worker_fails_alone(executor):
    events = list(executor.run(ENGINE, [(1, job(seed=666)), (2, job()), (3, job()), (4, job())]))
    found = {e.trial: e.outcome for e in events if isinstance(e, Finished)}
    assert found[1].status is TrialStatus.FAILED
    assert "SIGKILL" in found[1].message
    assert events.count(Started(1)) == 3
    assert {found[n].status for n in (2, 3, 4)} == {TrialStatus.COMPLETED}


def test_a_trial_whose_worker_is_killed_is_begun_again():
    with LocalExecutor(1) as executor:
        events = []
        for event in executor.run(ENGINE, [(1, job(seed=669)), (2, job())]):
            events.append(event)
            if event == Started(1) and events.count(event) < 3:
                (child,) = _children()
                os.kill(child, signal.SIGKILL)
            elif event == Started(1):
                break
        assert events == [Started(1)] * 3
        assert outcomes(executor, [(3, job())])[3].status is TrialStatus.COMPLETED


@pytest.mark.parametrize("killed", [True, False])
def test_no_temporary_files_are_left(tmp_path, monkeypatch, killed):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with LocalExecutor(1) as executor:
        for event in executor.run(ENGINE, [(1, job(seed=670))]):
            (folder,) = tmp_path.iterdir()
            if killed and type(event) is Measured:
                assert [path.name for path in folder.iterdir()] == ["left behind"]
                (child,) = _children()
                os.kill(child, signal.SIGKILL)
                killed = False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.2])
def test_a_worker_that_starts_does_not_hear_ctrl_c(seconds, monkeypatch, capfd):
    """A terminal sends it to all; the worker died of it, with a traceback where it had come so far."""
    start = BaseProcess.start

    def interrupted(process):
        start(process)
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGINT)

    monkeypatch.setattr(BaseProcess, "start", interrupted)
    with LocalExecutor(1) as executor:
        events = list(executor.run(ENGINE, [(1, job())]))
    assert events.count(Started(1)) == 1
    assert events[-1].outcome.status is TrialStatus.COMPLETED
    assert capfd.readouterr().err == ""


def test_sigterm_ends_a_worker_and_not_its_trial():
    with LocalExecutor(1) as executor:
        events = executor.run(ENGINE, [(1, job(seed=669))])
        assert next(events) == Started(1)
        (child,) = _children()
        os.kill(child, signal.SIGTERM)
        assert next(events) == Started(1)
        assert child not in _children()


def test_an_idle_worker_that_is_killed_costs_nothing():
    with LocalExecutor(1) as executor:
        outcomes(executor, [(1, job())])
        (child,) = _children()
        os.kill(child, signal.SIGKILL)
        assert outcomes(executor, [(2, job())])[2].status is TrialStatus.COMPLETED


def test_a_crash_is_an_outcome_and_divergence_a_result(executor):
    found = outcomes(executor, [(1, job(seed=667)), (2, job(rate=0.9)), (3, job())])
    assert found[1].status is TrialStatus.FAILED
    assert found[1].message == "OSError: the disk caught fire"
    assert found[2].status is TrialStatus.DIVERGED
    assert found[3].status is TrialStatus.COMPLETED


def test_a_wrong_job_ends_the_run_with_its_own_message(executor):
    with pytest.raises(InputError, match=r"net.prototxt:3: this job cannot be trained"):
        list(executor.run(ENGINE, [(1, job(seed=668))]))


def test_two_wrong_jobs_end_it_with_the_message_of_the_first(capfd):
    """The second has nobody to tell: its worker ended with a traceback on the screen."""
    with LocalExecutor(2) as executor, pytest.raises(InputError, match="this job cannot be trained"):
        list(executor.run(ENGINE, [(1, job(seed=671)), (2, job(seed=673))]))
    assert capfd.readouterr().err == ""


def test_an_unknown_engine_is_named(executor):
    with pytest.raises(InputError, match='engine "tork" is unknown; known: caffe, torch; did you mean "torch"'):
        list(executor.run("tork", [(1, job())]))


def test_closing_the_iterator_stops_the_workers():
    with LocalExecutor(2) as executor:
        events = executor.run(ENGINE, [(1, job(seed=669)), (2, job(seed=669)), (3, job())])
        assert {type(next(events)), type(next(events))} == {Started}
        children = [int(pid) for pid in _children()]
        events.close()
    for pid in children:
        with contextlib.suppress(ProcessLookupError), pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_end_of_an_executor_stops_what_an_iterator_still_waits_for():
    with LocalExecutor(2) as executor:
        events = executor.run(ENGINE, [(1, job(seed=669)), (2, job(seed=669))])
        assert {type(next(events)), type(next(events))} == {Started}
        assert len(_children()) == 2
    assert not _children()
    events.close()


def _children():
    from multiprocessing import active_children

    return [child.pid for child in active_children()]


def test_workers_must_be_positive():
    with pytest.raises(InputError, match="workers must be 1 or more, got 0"):
        LocalExecutor(0)
