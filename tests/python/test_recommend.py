"""Recommendations from stored results: what is near, what is best, and what it takes to carry a policy over."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lrpolicy import database
from lrpolicy.database import Database, RunState, Setting
from lrpolicy.database.range_tests import store_range_test
from lrpolicy.database.stored import StoredRangeTest, Uncertain
from lrpolicy.errors import InputError
from lrpolicy.goals import find_goal
from lrpolicy.policies import POLICIES, Policy
from lrpolicy.ranking import rank
from lrpolicy.recommend import recommend, stored_range
from lrpolicy.records import (
    DatasetInfo,
    Evaluation,
    Measurement,
    NetworkInfo,
    Protocol,
    Split,
    Task,
    TrialOutcome,
    TrialSpec,
    TrialStatus,
)
from lrpolicy.search import RateRange, SearchSpace, paper_functions
from lrpolicy.similarity import FARTHEST, setting_parts, task_parts
from lrpolicy.stateful import AdaptivePolicy
from lrpolicy.transfer import assumptions, rate_factor, transferred, transferred_range

LENET = NetworkInfo("lenet", "aaaa", 431_080)
MNIST = DatasetInfo("mnist", 54_000, 6_000, 10_000, 1, 28, 28, 10, "1111")
TASK = Task("torch", LENET, MNIST)
FASHION = replace(TASK, dataset=replace(MNIST, name="fashion", fingerprint="2222"))
CIFAR = Task(
    "torch", NetworkInfo("cnn3", "bbbb", 89_578), DatasetInfo("cifar10", 45_000, 5_000, 10_000, 3, 32, 32, 10, "3333")
)
IMAGENET = Task(
    "torch", NetworkInfo("alexnet", "cccc", 61 * 10**6), DatasetInfo("imagenet", 10**6, 0, 1, 3, 224, 224, 1000, "4")
)
SETTING = Setting(1000, 64, "SGD", 0.9, 5e-4)
FIXED = {"lr_policy": "fixed", "base_lr": 0.01}
TRI = {"lr_policy": "tri", "base_lr": 0.001, "max_lr": 0.01, "stepsize": 500}
STEP = {"lr_policy": "step", "base_lr": 0.1, "gamma": 0.1, "stepsize": 250}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose server runs for all tests."""
    home = tmp_path_factory.mktemp("recommend") / "home"
    with database.connect(home=home):
        yield home


@pytest.fixture
def results(home: Path) -> Iterator[Database]:
    """An empty database."""
    with database.connect(home=home) as results:
        tables = "run, task, network, dataset, framework, policy, trial, measurement"
        command = "TRUNCATE " + ", ".join(f"lrpolicy.{name}" for name in tables.split(", ")) + " CASCADE"
        results.transact(lambda connection: connection.execute(command.encode()))
        yield results


def spec(
    policy: dict[str, object],
    seed: int = 1,
    stage: str = "final",
    setting: Setting = SETTING,
    protocol: Protocol = Protocol.VALIDATION,
    test_interval: int = 100,
) -> TrialSpec:
    return TrialSpec(
        policy=policy,
        seed=seed,
        max_iter=setting.max_iter,
        batch_size=setting.batch_size,
        test_interval=test_interval,
        optimizer=setting.optimizer,
        momentum=setting.momentum,
        weight_decay=setting.weight_decay,
        protocol=protocol,
        stage=stage,
    )


def measured(top1: float, iteration: int, split: Split = Split.VALIDATION, loss: float = 0.3) -> Measurement:
    seen = Evaluation(loss, top1, 0.99, 0.9, 1 - top1, (1 - top1) / 2, 0, 5000)
    return Measurement(iteration, split, 0.01, 0.25, seen, iteration / 100)


def store(results: Database, run: int, wanted: TrialSpec, top1: list[float], start: int = 100) -> None:
    """A trial that measured these accuracies every 100 iterations from `start`; one that ends in NaN diverged."""
    trial = results.plan_trial(run, wanted)
    found = [measured(value, start + 100 * place) for place, value in enumerate(top1) if not math.isnan(value)]
    for one in found:
        results.add_measurement(trial, one)
    best = max(found, key=lambda one: (one.evaluation.top1, -one.iteration), default=None)
    test = None if best is None else measured(best.evaluation.top1 - 0.01, best.iteration, Split.TEST)
    status = TrialStatus.DIVERGED if math.isnan(top1[-1]) else TrialStatus.COMPLETED
    results.finish_trial(trial, TrialOutcome(status, wanted.max_iter, 1.0, best, test))


def run_of(results: Database, task: Task, policies: dict[str, list[list[float]]], **where: object) -> int:
    """A completed run: policy name -> for each seed the accuracies."""
    known = {"fixed": FIXED, "tri": TRI, "step": STEP}
    run = results.start_run(task, {})
    for name, seeds in policies.items():
        for seed, top1 in enumerate(seeds):
            store(results, run, spec(known[name], seed, **where), top1)  # type: ignore[arg-type]
    results.finish_run(run, RunState.COMPLETED)
    return run


def names(results: Database, task: Task = TASK, **options: object) -> list[str]:
    return [row.policy.name for row in recommend(results, task, **options)]  # type: ignore[arg-type]


def test_the_distance_is_zero_for_the_same_task_and_grows_in_the_order_a_person_would_say() -> None:
    resplit = replace(TASK, dataset=replace(MNIST, train_size=60_000, validation_size=0, name="MNIST"))
    assert task_parts(TASK, TASK) == task_parts(TASK, resplit) == {}
    variant = replace(TASK, network=NetworkInfo("LeNet", "dddd", 500_000))
    farther = [variant, FASHION, CIFAR, IMAGENET]
    distances = [sum(task_parts(TASK, other).values()) for other in farther]
    assert distances == sorted(distances) and distances[0] > 0
    assert distances[2] < FARTHEST < distances[3]
    assert sum(task_parts(TASK, replace(TASK, task_type="regression")).values()) > FARTHEST
    assert task_parts(TASK, replace(TASK, framework="keras")) == {"framework": pytest.approx(0.1)}


def test_the_distance_is_symmetric_and_finite_parts_are_named() -> None:
    for one in (TASK, FASHION, CIFAR, IMAGENET):
        for other in (TASK, FASHION, CIFAR, IMAGENET):
            assert task_parts(one, other) == pytest.approx(task_parts(other, one))
    assert set(task_parts(TASK, CIFAR)) == {"network", "weights", "data", "channels", "pixels", "examples"}
    assert task_parts(TASK, CIFAR)["weights"] == pytest.approx(0.3 * math.log10(431_080 / 89_578))
    assert (
        task_parts(TASK, replace(TASK, dataset=replace(MNIST, fingerprint="x", class_count=0)))["classes"] == math.inf
    )


def test_settings_are_compared_on_log_scales_and_float32_is_no_difference() -> None:
    assert setting_parts(SETTING, replace(SETTING, momentum=float(np.float32(0.9)))) == {}
    assert setting_parts(SETTING, replace(SETTING, batch_size=640)) == {"batch size": pytest.approx(0.3)}
    assert setting_parts(SETTING, replace(SETTING, momentum=0.99))["momentum"] == pytest.approx(0.3)
    assert sum(setting_parts(SETTING, replace(SETTING, optimizer="Adam")).values()) > FARTHEST


@pytest.mark.parametrize("name", paper_functions())
@pytest.mark.parametrize("longer", [3, 0.25])
def test_a_longer_training_has_the_same_curve_stretched(name: str, longer: float) -> None:
    """The rate at a share of the training is the same, for every function and candidate."""
    space = SearchSpace(RateRange(0.001, 0.01, 0.1), 12_000, 100)
    wanted = replace(SETTING, max_iter=round(12_000 * longer))
    ts = np.arange(0, 12_000, 400)
    for policy in space.candidates(name):
        moved = transferred(policy, replace(SETTING, max_iter=12_000), wanted)
        stretched = np.array([moved.rate(round(t * longer)) for t in ts])
        highest = policy.rates(range(12_000)).max()
        np.testing.assert_allclose(stretched, policy.rates(ts), atol=0.02 * highest)


def test_rates_follow_batch_and_momentum_of_sgd_alone() -> None:
    wanted = replace(SETTING, batch_size=128, momentum=0.95)
    assert rate_factor(SETTING, wanted) == pytest.approx(1.0)
    wanted = replace(SETTING, batch_size=256)
    assert transferred(Policy.from_dict(TRI), SETTING, wanted).parameters == {
        "base_lr": 0.004, "max_lr": 0.04, "stepsize": 500
    }  # fmt: skip
    tlr = AdaptivePolicy("tlr", base_lr=0.1, epoch=400)
    batch = replace(SETTING, batch_size=4 * SETTING.batch_size)
    assert transferred(tlr, SETTING, batch).parameters == {"base_lr": 0.4, "epoch": 100}
    plateau = AdaptivePolicy("plateau", base_lr=0.1, gamma=0.5, plateau_winsize=(10, 30))
    longer = replace(SETTING, max_iter=3 * SETTING.max_iter)
    assert transferred(plateau, SETTING, longer).parameters["plateau_winsize"] == (30, 90)
    assert transferred_range(RateRange(0.001, 0.01, 0.1), SETTING, wanted) == RateRange(0.004, 0.04, 0.4)
    adam = replace(SETTING, optimizer="Adam")
    assert rate_factor(adam, replace(adam, batch_size=256)) == 1
    assert rate_factor(replace(SETTING, momentum=1.0), SETTING) == 1
    told = assumptions(SETTING, replace(wanted, max_iter=500, weight_decay=0.0))
    assert ["multiplied by 4: batch 64 -> 256" in told[0], "1000 -> 500" in told[1], "weight decay" in told[2]] == [
        True
    ] * 3
    assert assumptions(SETTING, SETTING) == []
    assert transferred(Policy.from_dict(STEP), SETTING, SETTING) == Policy.from_dict(STEP)


def test_the_order_is_that_of_the_ranking_under_every_goal(results: Database) -> None:
    """The same trials through SQL here, and as objects through `ranking.rank`."""
    rng = np.random.default_rng(11)
    space = SearchSpace(RateRange(0.001, 0.01, 0.1), 1000, 50)
    run = results.start_run(TASK, {})
    for place, policy in enumerate(space.candidates("tri", 4) + space.candidates("step", 4)):
        for seed in range(3):
            top1 = list(0.8 + 0.15 * rng.random(4))
            store(results, run, spec(policy.to_dict(), seed), [*top1, math.nan] if place == 7 and seed == 1 else top1)
    trials = [(t.spec, t.outcome, results.measurements(t.id)) for t in results.trials(run)]
    trials = [(s, o, [m for m in ms if m.split is Split.VALIDATION]) for s, o, ms in trials]
    for name, target in (
        ("accuracy", None),
        ("iterations", 0.82),
        ("seconds", 0.82),
        ("robustness", None),
        ("pareto", None),
    ):
        goal = find_goal(name, target)
        ranked = [row for row in rank(trials, goal) if row.is_sound and math.isfinite(row.score)]
        found = recommend(results, TASK, goal=goal, top=100)
        assert [row.policy for row in found] == [row.policy for row in ranked] != []
        np.testing.assert_allclose([row.score for row in found], [row.score for row in ranked])
    best = recommend(results, TASK, top=1)[0]
    reached = np.array([o.best.evaluation.top1 for s, o, _ in trials if Policy.from_dict(s.policy) == best.measured])
    assert (best.average.seeds, best.average.columns["top1"]) == (3, pytest.approx(reached.mean()))
    assert best.average.top1_deviation == pytest.approx(reached.std(ddof=1))
    assert best.average.test_top1 == pytest.approx(reached.mean() - 0.01)


def test_the_nearest_comes_first_and_says_what_it_rests_on(results: Database) -> None:
    run_of(results, CIFAR, {"fixed": [[0.99]]})
    run_of(results, FASHION, {"step": [[0.98]], "tri": [[0.2]]})
    run_of(results, TASK, {"tri": [[0.9]]})
    found = recommend(results, TASK, top=3)
    assert [(row.policy.name, row.basis.task) for row in found] == [("tri", TASK), ("step", FASHION), ("fixed", CIFAR)]
    assert [row.basis.distance for row in found] == sorted(row.basis.distance for row in found)
    assert (found[0].basis.distance, found[0].basis.parts) == (0, {})
    assert found[1].basis.parts == {"data": pytest.approx(0.4)}
    assert (found[0].basis.runs, found[0].basis.imported_runs, found[0].basis.stage) == (1, 0, "final")
    assert names(results, top=1) == ["tri"]


def test_finalists_come_before_search_trials_and_near_settings_before_far_ones(results: Database) -> None:
    run_of(results, TASK, {"step": [[0.99]]}, stage="search")
    run_of(results, TASK, {"tri": [[0.9]]}, stage="final")
    run_of(results, TASK, {"fixed": [[0.95]]}, setting=replace(SETTING, max_iter=100_000))
    assert names(results, setting=SETTING) == ["tri", "step", "fixed"]
    assert names(results, setting=replace(SETTING, max_iter=90_000)) == ["fixed", "tri", "step"]
    moved = recommend(results, TASK, replace(SETTING, max_iter=3000), top=1)[0]
    assert (moved.policy.parameters["stepsize"], moved.measured.parameters["stepsize"]) == (1500, 500)
    assert "1000 -> 3000 iterations" in moved.assumed[0]


def test_what_diverged_or_never_arrived_is_not_recommended(results: Database) -> None:
    run_of(results, TASK, {"tri": [[0.5, 0.9]], "step": [[0.99], [0.99, math.nan]], "fixed": [[0.7]]})
    assert names(results) == ["tri", "fixed"]
    assert names(results, goal=find_goal("iterations", 0.8)) == ["tri"]
    with pytest.raises(InputError, match="near enough, but all policies in them did not reach the target"):
        recommend(results, TASK, goal=find_goal("iterations", 0.999))


def test_a_training_that_was_repeated_counts_once(results: Database) -> None:
    """Runs that repeat others' seeds are no evidence of their own, in this database or from another one."""
    run_of(results, TASK, {"tri": [[0.90], [0.94]]})
    run_of(results, TASK, {"tri": [[0.90], [0.94]]})
    imported = run_of(results, TASK, {"tri": [[0.90], [0.94], [0.98]]})
    origin = "UPDATE lrpolicy.run SET origin = gen_random_uuid(), imported = now() WHERE id = %s"
    results.transact(lambda connection: connection.execute(origin, [imported]))
    (found,) = recommend(results, TASK)
    assert (found.average.seeds, found.basis.runs, found.basis.imported_runs) == (3, 3, 1)
    assert found.average.columns["top1"] == pytest.approx(np.mean([0.90, 0.94, 0.98]))
    assert found.average.top1_deviation == pytest.approx(np.std([0.90, 0.94, 0.98], ddof=1))
    run_of(results, TASK, {"tri": [[0.92]]})  # the same seed on another machine, say: the mean of its trials counts
    (found,) = recommend(results, TASK)
    first = np.mean([0.90, 0.90, 0.90, 0.92])
    assert found.average.top1_deviation == pytest.approx(np.std([first, 0.94, 0.98], ddof=1))


def test_the_best_of_more_measurements_is_not_compared_with_that_of_few(results: Database) -> None:
    run_of(results, TASK, {"tri": [[0.95], [0.96]], "step": [[0.94], [0.95]]})
    run_of(results, TASK, {"tri": [[0.98], [0.99]], "fixed": [[0.97]]}, test_interval=2)
    found = recommend(results, TASK)
    assert [(row.policy.name, row.basis.test_interval, row.average.seeds) for row in found] == [
        ("tri", 100, 2),
        ("step", 100, 2),
        ("fixed", 2, 1),
    ]
    assert found[0].average.columns["top1"] == pytest.approx(0.955)


def test_nothing_near_is_said_with_what_is_nearest(results: Database) -> None:
    with pytest.raises(InputError, match="no trials are stored yet; measure it: lrpolicy tune"):
        recommend(results, TASK)
    results.plan_trial(results.start_run(TASK, {}), spec(TRI))
    with pytest.raises(InputError, match="no completed trial is stored for lenet on mnist"):
        recommend(results, TASK)
    with pytest.raises(InputError, match=r"near enough to alexnet on imagenet: the nearest is lenet.*pixels"):
        recommend(results, IMAGENET)
    run_of(results, TASK, {"tri": [[0.9]]})
    with pytest.raises(InputError, match=r"lenet on mnist, at 10.00 \(optimizer 10.00\); the limit is 2"):
        recommend(results, TASK, replace(SETTING, optimizer="Adam"))
    with pytest.raises(InputError, match="at least one policy"):
        recommend(results, TASK, top=0)


def scan(
    results: Database,
    task: Task,
    good: dict[float, float],
    setting: Setting,
    protocol: Protocol = Protocol.VALIDATION,
) -> int:
    run = results.start_run(task, {})
    for rate, top1 in good.items():
        store(results, run, spec({"lr_policy": "fixed", "base_lr": rate}, 1, "range", setting, protocol), [top1])
    return run


def test_the_stored_range_is_the_fix_scans_of_the_newest_run_of_the_nearest_task(results: Database) -> None:
    assert stored_range(results, TASK, SETTING) is None
    short = replace(SETTING, max_iter=100)
    scan(results, CIFAR, {0.1: 0.6, 0.01: 0.1}, short)
    assert stored_range(results, TASK).task == CIFAR  # type: ignore[union-attr]
    scan(results, TASK, {1.0: 0.1, 0.1: 0.5, 0.01: 0.1}, short)
    newest = scan(results, TASK, {1.0: math.nan, 0.1: 0.95, 0.01: 0.98, 0.001: 0.94, 0.0001: 0.3}, short)
    scan(results, TASK, {1.0: 0.1, 0.1: 0.1, 0.01: 0.1}, short)  # nothing learned
    found = stored_range(results, TASK, SETTING)
    assert found is not None
    assert (found.range, found.distance, found.assumed) == (RateRange(0.001, 0.01, 0.1), 0, ())
    assert (found.source, found.test) == (f"run {newest}", None)
    doubled = stored_range(results, TASK, replace(SETTING, batch_size=128))
    assert doubled is not None
    assert (doubled.range, doubled.measured) == (RateRange(0.002, 0.02, 0.2), found.range)
    assert (
        doubled.parts == {"batch size": pytest.approx(0.3 * math.log10(2))} and "batch 64 -> 128" in doubled.assumed[0]
    )
    assert stored_range(results, FASHION, SETTING).source == f"run {newest}"  # type: ignore[union-attr]
    assert stored_range(results, TASK, replace(SETTING, optimizer="Adam")) is None
    assert stored_range(results, IMAGENET) is None


def test_a_short_try_does_not_spoil_the_range_of_a_long_run(results: Database) -> None:
    """A trial for 1000 iterations takes 250: what took fewer than 84 does not serve, the longest serves first."""
    good, spoilt = {0.1: 0.95, 0.01: 0.98, 0.001: 0.3}, {1.0: 0.98, 0.1: 0.3, 0.01: 0.3}
    shortest = scan(results, TASK, spoilt, replace(SETTING, max_iter=83))
    assert stored_range(results, TASK, SETTING) is None
    long = scan(results, TASK, good, replace(SETTING, max_iter=250))
    short = scan(results, TASK, spoilt, replace(SETTING, max_iter=84))
    found = stored_range(results, TASK, SETTING)
    assert found is not None
    assert (found.range, found.origin) == (RateRange(0.01, 0.01, 0.1), f"run {long}, trainings of 250 iterations")
    scan(results, TASK, spoilt, replace(SETTING, max_iter=500, batch_size=640))  # longer, but of another setting
    assert stored_range(results, TASK, SETTING) == found
    results.transact(lambda c: c.execute("DELETE FROM lrpolicy.trial WHERE run_id = %s", [long]))
    assert stored_range(results, TASK, SETTING).source == f"run {short}"  # type: ignore[union-attr]
    # whoever scans with short trials on purpose gets no worse from the store
    results.transact(lambda c: c.execute("DELETE FROM lrpolicy.trial WHERE run_id <> %s", [shortest]))
    assert stored_range(results, TASK, SETTING, trial_iter=200).source == f"run {shortest}"  # type: ignore[union-attr]


def test_untrained_nets_and_what_diverged_give_no_range(results: Database) -> None:
    run = results.start_run(TASK, {})
    for rate, top1 in {0.1: [0.3, 0.28], 0.01: [0.3, 0.2], 0.001: [0.3, 0.97, math.nan]}.items():
        store(results, run, spec({"lr_policy": "fixed", "base_lr": rate}, 1, "range"), top1, start=0)
    assert stored_range(results, TASK, SETTING) is None
    store(results, run, spec({"lr_policy": "fixed", "base_lr": 0.02}, 1, "range"), [0.3, 0.35], start=0)
    found = stored_range(results, TASK, SETTING)
    assert found is not None and found.range == RateRange(0.02, 0.02, 0.02)


def test_a_range_steered_on_the_test_set_serves_its_own_protocol_only(results: Database) -> None:
    run = scan(results, TASK, {0.1: 0.95, 0.01: 0.98}, replace(SETTING, max_iter=250), Protocol.PAPER)
    assert stored_range(results, TASK, SETTING, protocol=Protocol.VALIDATION) is None
    found = stored_range(results, TASK, SETTING, protocol=Protocol.PAPER)
    assert found is not None and found.source == f"run {run} (steered on the test set)"
    assert stored_range(results, TASK, SETTING) == found  # recommend says which split it was


def test_range_tests_are_asked_before_the_range_stages_of_runs(results: Database) -> None:
    scan(results, TASK, {0.1: 0.95, 0.01: 0.98, 0.001: 0.94, 0.0001: 0.3}, replace(SETTING, max_iter=100))
    test = StoredRangeTest(
        setting=replace(SETTING, max_iter=200),
        method="smith",
        judged_by="loss",
        low=Uncertain(0.002, 0.001, 0.004),
        suggestion=Uncertain(0.02, 0.01, 0.04),
        high=Uncertain(0.05, math.nan, math.nan),
        held=True,
        seeds=(1, 2, 3),
        iterations=600,
    )
    first = store_range_test(results, TASK, test)
    newer = store_range_test(results, TASK, replace(test, held=None, low=Uncertain(0.004, math.nan, math.nan)))
    store_range_test(results, TASK, replace(test, held=False))  # newest, and not to be trusted
    found = stored_range(results, TASK, SETTING)
    assert found is not None and found.test is not None
    assert (found.source, found.range) == (f"range test {newer}", RateRange(0.004, 0.02, 0.05))
    assert repr(found.test.low) == "Uncertain(value=0.004, low=nan, high=nan)"
    carried = stored_range(results, FASHION, replace(SETTING, batch_size=128))
    assert carried is not None
    assert (carried.range, carried.source) == (RateRange(0.008, 0.04, 0.1), f"range test {newer}")
    assert newer == first + 1


def test_an_interval_that_is_none_is_refused(results: Database) -> None:
    nothing = Uncertain(math.nan, math.nan, math.nan)
    test = StoredRangeTest(SETTING, "fix", "accuracy", nothing, nothing, nothing, None, (1,), 5)
    with pytest.raises(InputError, match="the database refuses a value"):
        store_range_test(results, TASK, test)


def test_every_policy_with_a_gamma_has_been_thought_of() -> None:
    """A new policy with gamma must say whether it acts in each iteration."""
    with_gamma = {name for name, info in POLICIES.items() if "gamma" in info.parameters}
    assert with_gamma == {"step", "multistep", "exp", "inv", "triexp", "sinexp", "sigmoid"}
