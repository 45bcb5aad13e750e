"""What is stored comes back, once, whatever happens on the way."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import psycopg
import pytest
from database_samples import MULTISTEP, TASK, TRI, kill, measurement, python, spec

from lrpolicy import database
from lrpolicy.database import Database, RunState
from lrpolicy.database.rows import POLICY_COLUMNS
from lrpolicy.errors import InputError, RunError
from lrpolicy.policies import ADAPTIVE_PARAMETERS, PARAMETERS
from lrpolicy.records import Protocol, Split, Task, TrialOutcome, TrialStatus
from lrpolicy.stateful import AdaptivePolicy, policy_from_dict

ADAPTIVE = [
    AdaptivePolicy(
        "tlr", base_lr=0.1, min_lr=1e-6, max_lr=10.0, variant="hypergradient", source="gradient", bound=0.5, eta=0.01,
        window=0.25, per_tensor=True, divergence=1e4, epoch=77, restart_below=0.01,
    ),
    AdaptivePolicy("aslr", base_lr=0.1, seed=2**63 - 1),
    AdaptivePolicy("seq2", base_lr=0.1, strategy="by_cutoff", min_lr=0.01),
    AdaptivePolicy("plateau", base_lr=0.1, gamma=0.5, plateau_winsize=(5, 6, 7)),
]  # fmt: skip

HOSTILE = "x'; DROP SCHEMA lrpolicy CASCADE; -- \" \\ %s %(run)s {} é 🙂"


def completed(best_iteration: int = 200, **changes: object) -> TrialOutcome:
    best = measurement(best_iteration, cdac=0.02)
    test = measurement(best_iteration, Split.TEST, top1=0.89, cdac=0.03)
    return replace(TrialOutcome(TrialStatus.COMPLETED, 1000, 12.5, best, test), **changes)


def query(dsn: str, command: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(command, values).fetchall()


def test_a_run_comes_back_as_it_was_stored(results: Database) -> None:
    settings = {"budget": 3.5, "policies": ["tri", "sin"], "solver": "lenet.prototxt", "limit": None}
    number = results.start_run(TASK, settings, versions={"torch": "2.13"}, hardware={"cpus": 2})
    run = results.find_run(number)
    assert (run.task, run.settings, run.versions, run.hardware) == (TASK, settings, {"torch": "2.13"}, {"cpus": 2})
    assert (run.state, run.ended) == (RunState.RUNNING, None)
    results.finish_run(number, RunState.INTERRUPTED)
    ended = results.find_run("latest")
    assert (ended.id, ended.state) == (number, RunState.INTERRUPTED)
    assert ended.ended is not None and ended.ended >= ended.started
    assert results.find_run(str(number)) == ended == results.runs()[-1]


def test_settings_that_json_cannot_say_become_text(results: Database) -> None:
    run = results.start_run(TASK, {"budget": math.inf, "zero": "a\0b", "path": "caf\udce9", "pair": (1, 2)})
    assert results.find_run(run).settings == {"budget": "inf", "zero": "a\ufffdb", "path": "caf\ufffd", "pair": [1, 2]}


@pytest.mark.parametrize("policy", [TRI, MULTISTEP, {"lr_policy": "fixed", "base_lr": 5e-324}])
def test_a_trial_comes_back_as_it_was_stored(results: Database, policy: dict[str, object]) -> None:
    run = results.start_run(TASK, {})
    wanted = spec(policy, seed=-(2**63), protocol=Protocol.PAPER, stage="final", device="cuda:0", momentum=0.1 + 0.2)
    trial = results.plan_trial(run, wanted)
    (stored,) = results.trials(run)
    assert (stored.id, stored.run, stored.spec) == (trial, run, wanted)
    assert (stored.status, stored.attempt, stored.outcome) == (TrialStatus.PLANNED, 0, None)
    results.start_trial(trial, worker=4711)
    outcome = completed(best_iteration=300, message="as planned")
    outcome = replace(outcome, best=measurement(300, cdac=0.5), test=measurement(300, Split.TEST, cdac=0.25))
    results.finish_trial(trial, outcome)
    (stored,) = results.trials(run)
    assert (stored.outcome, stored.status, stored.attempt) == (outcome, TrialStatus.COMPLETED, 1)


def test_planning_twice_is_planning_once(results: Database) -> None:
    run = results.start_run(TASK, {})
    trial = results.plan_trial(run, spec(MULTISTEP))
    results.start_trial(trial)
    assert results.plan_trial(run, spec(MULTISTEP)) == trial
    others = [spec(MULTISTEP, seed=2), spec(MULTISTEP, max_iter=500), spec(MULTISTEP, stage="final"), spec(TRI)]
    assert len({trial, *(results.plan_trial(run, other) for other in others)}) == 5
    assert [stored.status for stored in results.trials(run)] == ["running", *["planned"] * 4]
    with pytest.raises(InputError, match=rf"trial {trial} of run {run} was planned with batch_size = 64, got 128"):
        results.plan_trial(run, spec(MULTISTEP, batch_size=128))


def test_measurements_are_stored_bit_for_bit_and_once(results: Database) -> None:
    trial = results.plan_trial(results.start_run(TASK, {}), spec())
    odd = measurement(100, rate=math.nextafter(0.1, 1), train_loss=math.inf, loss=-0.0, average_confidence=1 + 2**-23)
    first = measurement(0, train_loss=math.nan, loss=math.nan, top5=math.nan)
    for one in (first, odd, odd, measurement(100, Split.TEST), first):
        results.add_measurement(trial, one)
    found = results.measurements(trial)
    assert repr(found) == repr([first, measurement(100, Split.TEST), odd])
    assert math.copysign(1, found[2].evaluation.loss) == -1


def test_a_measurement_that_is_no_ratio_is_refused(results: Database) -> None:
    trial = results.plan_trial(results.start_run(TASK, {}), spec())
    with pytest.raises(InputError, match=r"refuses a value.*ratio"):
        results.add_measurement(trial, measurement(1, top1=97.5))
    with pytest.raises(InputError, match="is not present in table"):
        results.add_measurement(10**15, measurement(1))


def test_curves_are_joined_from_their_pieces(results: Database) -> None:
    trial = results.plan_trial(results.start_run(TASK, {}), spec())
    results.add_curve(trial, range(100, 300, 100), np.array([1e40, np.nan]), [0.1, 0.1 / 3])
    results.add_curve(trial, [0], [np.float32(2.3)], [1e-3])
    results.add_curve(trial, [], [], [])
    results.add_curve(trial, [100, 200], [np.inf, np.nan], [0.1, 0.1 / 3])
    curve = results.curve(trial)
    np.testing.assert_array_equal(curve.iterations, [0, 100, 200])
    np.testing.assert_array_equal(curve.losses, np.float32([2.3, np.inf, np.nan]))
    np.testing.assert_array_equal(curve.rates, [1e-3, 0.1, 0.1 / 3])
    assert (curve.losses.dtype, curve.rates.dtype) == (np.float32, np.float64)
    with pytest.raises(InputError, match=r"three lists of one length, got \(\(2,\), \(1,\), \(2,\)\)"):
        results.add_curve(trial, [1, 2], [1.0], [1.0, 2.0])


def test_a_reset_trial_starts_clean(results: Database) -> None:
    run = results.start_run(TASK, {})
    trial = results.plan_trial(run, spec())
    results.start_trial(trial)
    results.add_measurement(trial, measurement(100))
    results.add_curve(trial, [0, 100], [2.3, 0.5], [0.1, 0.1])
    results.finish_trial(trial, completed(message="worker lost", status=TrialStatus.FAILED))
    results.reset_trial(trial)
    (stored,) = results.trials(run)
    assert (stored.status, stored.outcome, stored.attempt) == (TrialStatus.PLANNED, None, 1)
    assert results.measurements(trial) == []
    assert results.curve(trial).iterations.size == 0


def test_trials_are_found_by_everything_given(results: Database) -> None:
    other = replace(TASK, dataset=replace(TASK.dataset, validation_size=0, train_size=60_000))
    runs = [results.start_run(task, {}) for task in (TASK, other, other)]
    for run in runs:
        for stage in ("search", "final"):
            trial = results.plan_trial(run, spec(stage=stage))
        results.finish_trial(trial, TrialOutcome(TrialStatus.DIVERGED, 17, 0.5))
    assert {stored.run for stored in results.trials(task=other)} == set(runs[1:])
    assert [t.spec.stage for t in results.trials(run=runs[0], status=TrialStatus.DIVERGED)] == ["final"]
    assert len(results.trials(run=runs[1], task=other, stage="search")) == 1
    assert results.trials(run=runs[0], task=other) == []
    assert results.trials(task=Task("keras", TASK.network, TASK.dataset)) == []
    (diverged,) = results.trials(run=runs[2], stage="final")
    assert diverged.outcome == TrialOutcome(TrialStatus.DIVERGED, 17, 0.5)


def test_names_and_texts_are_never_commands(results: Database, shared_dsn: str) -> None:
    network = replace(TASK.network, name=HOSTILE, fingerprint=HOSTILE)
    task = Task(HOSTILE, network, replace(TASK.dataset, name=HOSTILE, fingerprint=HOSTILE), HOSTILE)
    run = results.start_run(task, {HOSTILE: HOSTILE}, versions={HOSTILE: HOSTILE}, hardware={HOSTILE: [HOSTILE]})
    wanted = spec({"lr_policy": HOSTILE, "base_lr": 0.1}, optimizer=HOSTILE, engine=HOSTILE, device=HOSTILE)
    trial = results.plan_trial(run, wanted)
    results.finish_trial(trial, TrialOutcome(TrialStatus.FAILED, 0, 0.0, message=HOSTILE))
    (stored,) = results.trials(task=task)
    assert (stored.spec, stored.outcome) == (wanted, TrialOutcome(TrialStatus.FAILED, 0, 0.0, message=HOSTILE))
    assert results.find_run(run).task == task
    assert results.find_run(run).settings == {HOSTILE: HOSTILE}
    for hostile in ({"stage": HOSTILE}, {"momentum_convention": HOSTILE}):
        with pytest.raises(InputError, match="refuses a value"):
            results.plan_trial(run, spec(**hostile))
    with pytest.raises(InputError, match="a run is named by its number"):
        results.find_run(HOSTILE)
    with pytest.raises(InputError, match="no column for the policy parameter"):
        results.plan_trial(run, spec(TRI | {HOSTILE: 1.0}))
    assert results.trials(stage=HOSTILE) == []
    assert query(shared_dsn, "SELECT count(*) > 0 FROM lrpolicy.trial WHERE optimizer = %s", HOSTILE) == [(True,)]


@pytest.mark.parametrize("text", ["zero\0byte", "lone\udce9surrogate"])
def test_text_that_cannot_be_stored_is_refused_in_a_name_and_replaced_in_a_message(
    results: Database, text: str
) -> None:
    with pytest.raises(InputError, match="the database refuses a value"):
        results.start_run(replace(TASK, framework=text), {})
    run = results.start_run(TASK, {})
    trial = results.plan_trial(run, spec())
    results.finish_trial(trial, TrialOutcome(TrialStatus.FAILED, 1, 1.0, message=text))
    assert "\ufffd" in results.trials(run)[0].outcome.message


def test_what_is_not_there_is_said(results: Database) -> None:
    with pytest.raises(InputError, match="there is no run 999999999999999999999"):
        results.find_run("999999999999999999999")
    with pytest.raises(InputError, match="there is no trial 123456"):
        results.start_trial(123456)
    with pytest.raises(InputError, match="there is no trial 123456"):
        results.finish_trial(123456, TrialOutcome(TrialStatus.FAILED, 1, 1.0))
    with pytest.raises(InputError, match="cannot end with this status, got running"):
        results.finish_trial(1, TrialOutcome(TrialStatus.RUNNING, 1, 1.0))
    with pytest.raises(InputError, match=r"run_id\)=\(123456\) is not present"):
        results.plan_trial(123456, spec())


def test_the_first_run_of_an_empty_database(dsn: str) -> None:
    with database.connect(dsn) as results:
        assert (results.runs(), results.trials()) == ([], [])
        with pytest.raises(InputError, match="no run is stored yet"):
            results.find_run()


def test_every_policy_parameter_has_a_column() -> None:
    assert set(POLICY_COLUMNS) == {*PARAMETERS, *ADAPTIVE_PARAMETERS}


@pytest.mark.parametrize("policy", ADAPTIVE, ids=lambda policy: policy.name)
def test_adaptive_policies_come_back_with_their_types_and_their_count(
    policy: AdaptivePolicy, results: Database
) -> None:
    run = results.start_run(TASK, {})
    trials = {results.plan_trial(run, spec(policy.to_dict(), seed=seed)) for seed in (1, 2)}
    assert len(trials) == 2
    for stored in results.trials(run):
        assert stored.spec.policy == policy.to_dict()
        assert policy_from_dict(stored.spec.policy) == policy
        assert stored.parameter_count == policy.parameter_count


def test_a_seed_beyond_the_column_is_refused(results: Database) -> None:
    policy = AdaptivePolicy("aslr", base_lr=0.1, seed=2**63)
    with pytest.raises(InputError, match="the database keeps a policy's seed up to 9223372036854775807, got 92"):
        results.plan_trial(results.start_run(TASK, {}), spec(policy.to_dict()))


def test_summary_and_ranking_equal_numpy(dsn: str) -> None:
    rng = np.random.default_rng(7)
    expected = {}
    with database.connect(dsn) as results:
        run = results.start_run(TASK, {})
        for policy in (TRI, MULTISTEP):
            accuracies = []
            for seed in range(5):
                top1, test_top1 = map(float, rng.random(2))
                trial = results.plan_trial(run, spec(policy, seed=seed))
                results.add_measurement(trial, measurement(100, top1=top1 / 2))
                best, test = measurement(200, top1=top1), measurement(200, Split.TEST, top1=test_top1)
                results.finish_trial(trial, completed(best=best, test=test))
                accuracies.append((top1, test_top1))
            expected[policy["lr_policy"]] = np.array(accuracies)
        diverged = results.plan_trial(run, spec(TRI, seed=9))
        results.finish_trial(diverged, TrialOutcome(TrialStatus.DIVERGED, 30, 1.0, measurement(10, top1=0.99)))
        counts = {stored.spec.policy["lr_policy"]: stored.parameter_count for stored in results.trials(run)}
    assert counts == {"tri": 3, "multistep": 5}
    columns = "lr_policy, trials, completed, diverged, top1_mean, top1_deviation, test_top1_mean, test_top1_deviation"
    ranked = query(dsn, f"SELECT {columns} FROM lrpolicy.ranking(of_run => %s)", run)
    assert [row[0] for row in ranked] == sorted(expected, key=lambda name: -expected[name][:, 0].mean())
    for name, *numbers in ranked:
        mean, deviation = expected[name].mean(axis=0), expected[name].std(axis=0, ddof=1)
        count = [6, 5, 1] if name == "tri" else [5, 5, 0]
        np.testing.assert_allclose(numbers, [*count, mean[0], deviation[0], mean[1], deviation[1]], rtol=1e-14)
    summary = query(dsn, "SELECT iterations_at_best, loss_difference, top1, test_top1 FROM lrpolicy.trial_summary")
    assert summary[0][:2] == (200, pytest.approx(0.3 - 0.25))
    assert len(summary) == 11 and summary[-1] == (10, pytest.approx(0.05), 0.99, None)


WRITER = """
import sys
from database_samples import MULTISTEP, TASK, TRI, measurement, spec
from lrpolicy import database
dsn, run = sys.argv[1], int(sys.argv[2])
with database.connect(dsn) as results:
    for seed in range(8):
        for policy in (TRI, MULTISTEP):
            trial = results.plan_trial(run, spec(policy, seed=seed))
            for iteration in range(5):
                results.add_measurement(trial, measurement(iteration))
    results.start_run(TASK, {})
"""


def test_four_writers_at_once_lose_and_double_nothing(dsn: str, request: pytest.FixtureRequest) -> None:
    writers = []
    with database.connect(dsn) as results:
        run = results.start_run(TASK, {})
        for _ in range(4):
            writers.append(python(WRITER, dsn, run, cwd=request.path.parent))
        for writer in writers:
            assert writer.communicate()[0] == "" and writer.returncode == 0
        trials = results.trials(run)
        assert len(trials) == 16 and len({repr(stored.spec) for stored in trials}) == 16
        assert all(len(results.measurements(stored.id)) == 5 for stored in trials)
        assert len(results.runs()) == 5
    assert query(dsn, "SELECT count(*) FROM lrpolicy.task") == [(1,)]


def test_sixteen_writers_at_once_lose_and_double_nothing(dsn: str) -> None:
    """All at the same moment, on the same new task, policies and trials."""
    count = 16
    with database.connect(dsn) as results:
        run = results.start_run(TASK, {})
    ready = threading.Barrier(count)

    def work(writer: int) -> None:
        with database.connect(dsn) as results:
            ready.wait()
            own = results.start_run(TASK, {})
            for seed in range(4):
                for policy in (TRI, MULTISTEP):
                    trial = results.plan_trial(run, spec(policy, seed=seed))
                    results.add_measurement(trial, measurement(writer))
                    results.finish_trial(results.plan_trial(own, spec(policy, seed=seed)), completed())

    with ThreadPoolExecutor(count) as writers:
        list(writers.map(work, range(count)))
    with database.connect(dsn) as results:
        assert results.trial_counts() == dict.fromkeys((found.id for found in results.runs()), 8)
        assert len(results.runs()) == count + 1
        for stored in results.trials(run):
            assert [found.iteration for found in results.measurements(stored.id)] == list(range(count))
    assert query(dsn, "SELECT count(*) FROM lrpolicy.policy") == [(2,)]
    assert query(dsn, "SELECT count(*) FROM lrpolicy.task") == [(1,)]


HOLDER = """
import sys, time
from lrpolicy import database
results = database.connect(sys.argv[1])
results.resume_run(int(sys.argv[2]))
print("has it", flush=True)
time.sleep(60)
"""


def test_one_run_has_one_worker_and_a_killed_one_lets_go(dsn: str) -> None:
    with database.connect(dsn) as results:
        run = results.start_run(TASK, {})
        results.finish_run(run, RunState.INTERRUPTED)
        holder = python(HOLDER, dsn, run)
        assert holder.stdout.readline() == "has it\n"
        with pytest.raises(InputError, match=f"run {run} is being worked on by another process"):
            results.resume_run(run)
        kill(holder.pid)
        holder.communicate()
        results.resume_run(run)
        assert results.find_run(run).state is RunState.RUNNING


def test_a_start_whose_acknowledgement_is_lost_counts_once(results: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run = results.start_run(TASK, {})
    trial = results.plan_trial(run, spec())
    transaction, losses = psycopg.Connection.transaction, [1]

    @contextmanager
    def losing(connection: psycopg.Connection) -> Iterator[None]:
        with transaction(connection):
            yield
        if losses:
            losses.clear()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(psycopg.Connection, "transaction", losing)
    results.start_trial(trial, worker=7)
    assert not losses
    assert results.trials(run)[0].attempt == 1
    results.start_trial(trial, worker=7)
    assert results.trials(run)[0].attempt == 2


def test_a_lost_connection_is_made_anew(dsn: str) -> None:
    with database.connect(dsn) as results:
        run = results.start_run(TASK, {})
        trial = results.plan_trial(run, spec())
        for iteration in (1, 2):
            query(
                dsn, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'lrpolicy'"
            )
            results.add_measurement(trial, measurement(iteration))
        assert [found.iteration for found in results.measurements(trial)] == [1, 2]
        with database.connect(dsn) as second, pytest.raises(InputError, match="being worked on"):
            second.resume_run(run)


def test_a_read_only_database_is_read_and_not_written(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" SET default_transaction_read_only = on')
        with pytest.raises(RunError, match="read-only transaction; it is read-only here; give a server that takes"):
            database.connect(dsn)
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" RESET default_transaction_read_only')
        database.connect(dsn).close()
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" SET default_transaction_read_only = on')
        with database.connect(dsn) as results:
            assert results.runs() == []
            with pytest.raises(RunError, match="it is read-only here"):
                results.start_run(TASK, {})
