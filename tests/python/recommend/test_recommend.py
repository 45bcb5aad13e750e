"""Recommendations from stored results: what is near, what is best, and what it takes to carry a policy over."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lrpolicy.database import Database
from lrpolicy.errors import InputError
from lrpolicy.goals import find_goal
from lrpolicy.policies import POLICIES, Policy
from lrpolicy.ranking import rank
from lrpolicy.recommend import recommend
from lrpolicy.records import (
    NetworkInfo,
    Split,
    Task,
)
from lrpolicy.search import RateRange, SearchSpace, paper_functions
from lrpolicy.similarity import FARTHEST, setting_parts, task_parts
from lrpolicy.stateful import AdaptivePolicy
from lrpolicy.transfer import assumptions, rate_factor, transferred, transferred_range
from support.stored_trials import (
    CIFAR,
    FASHION,
    IMAGENET,
    MNIST,
    SETTING,
    STEP,
    TASK,
    TRI,
    run_of,
    spec,
    store,
)


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


def test_every_policy_with_a_gamma_has_been_thought_of() -> None:
    """A new policy with gamma must say whether it acts in each iteration."""
    with_gamma = {name for name, info in POLICIES.items() if "gamma" in info.parameters}
    assert with_gamma == {"step", "multistep", "exp", "inv", "triexp", "sinexp", "sigmoid"}
