"""Smith's test, the FIX scan and the confirmation, on a quadratic whose stability limit is known."""

import math
import random

import numpy as np
import pytest
import sklearn.datasets  # noqa: F401  (its first import draws from Python's generator, which is not ours to restore)
import torch

from lrpolicy import zoo
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.errors import InputError, RunError
from lrpolicy.executors.base import Finished, Progressed
from lrpolicy.executors.local import LocalExecutor
from lrpolicy.range_test import FixTest, SmithTest, confirm
from lrpolicy.range_test.fix import _medians
from lrpolicy.range_test.result import drained
from lrpolicy.range_test.sweeping import SweepEngine, SweepJob
from lrpolicy.range_test.trainings import Stage
from lrpolicy.records import TrialStatus
from lrpolicy.search import RateRange
from lrpolicy.solver import Solver, read
from lrpolicy.sweeps import Sweep
from support.quadratic_engine import STABLE_BELOW

ENGINE = "support.quadratic_engine:QuadraticEngine"
SOLVER = 'net: "none" base_lr: 0.01 lr_policy: "fixed" max_iter: 9 test_iter: 1 test_interval: 9 snapshot: 2 momentum: '
JOB = TrainingJob(Solver.parse(SOLVER + "0"))


@pytest.fixture(scope="module")
def executor():
    with LocalExecutor(2) as executor:
        yield executor


def smith(executor, engine=ENGINE, sweep=None, **options):
    return SmithTest(options.pop("job", JOB), sweep or Sweep(1e-5, 10.0, 200), executor, engine=engine, **options)


@pytest.fixture(scope="module")
def found(executor):
    return smith(executor).run()


def test_the_interval_ends_below_the_stability_limit(found):
    assert STABLE_BELOW / 10 < found.high.value < STABLE_BELOW
    assert found.low.value <= found.high.value / 10
    assert found.range == RateRange(found.low.value, found.suggestion.value, found.high.value)
    for estimate in (found.low, found.suggestion, found.high, found.valley):
        assert 0 < estimate.low <= estimate.value <= estimate.high


def test_a_rate_at_which_half_of_the_seeds_diverged_has_no_accuracy():
    nan = math.nan
    values = {0.001: [1.0, 0.5], 0.01: [1.0, nan], 0.1: [0.5, nan, nan], 1.0: [0.25, 1.0, nan]}
    assert repr(_medians(values)) == repr({0.001: 0.75, 0.01: nan, 0.1: nan, 1.0: 0.25})


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_momentum_moves_the_limit_and_the_interval_follows(executor, momentum):
    # Heavy-ball: stable below 2 (1 + m) / L. The sweep is long: what is late must not be mistaken for stable.
    job = TrainingJob(Solver.parse(SOLVER + str(momentum)))
    result = smith(executor, job=job, sweep=Sweep(1e-5, 10.0, 600), seeds=(1, 2, 3)).run()
    assert STABLE_BELOW / 20 < result.high.value < STABLE_BELOW * (1 + momentum)


def test_linear_and_logarithmic_sweeps_agree(executor, found):
    linear = smith(executor, sweep=Sweep(1e-4, 1.0, 400, "linear")).run()
    assert linear.suggestion.value == pytest.approx(found.suggestion.value, rel=1.0)
    assert linear.high.value < STABLE_BELOW


def test_accuracy_and_loss_agree(executor, found):
    by_accuracy = smith(executor, by="accuracy").run()
    assert by_accuracy.judged_by == "accuracy"
    assert by_accuracy.suggestion.value == pytest.approx(found.suggestion.value, rel=1.0)
    assert all(0 <= v <= 1 or math.isnan(v) for curve in by_accuracy.curves for v in curve.values)


def test_the_curves_are_what_the_trainings_showed(found):
    assert [curve.seed for curve in found.curves] == [1, 2, 3, 4, 5]
    assert found.median.rates == tuple(Sweep(1e-5, 10.0, 200).rates(range(200)).tolist())
    first = np.array([curve.values[0] for curve in found.curves])
    assert len(set(first)) == 5  # every seed has weights of its own
    # Every training was stopped soon after it passed the limit, and the counts say so.
    alive = [sum(math.isfinite(v) for v in curve.values) for curve in found.curves]
    assert all(STABLE_BELOW < found.median.rates[n - 1] < 10 for n in alive)
    assert sum(alive) <= found.iterations <= sum(alive) + 5
    assert found.notes == ()


def test_the_same_seeds_give_the_same_result(executor, found):
    assert repr(smith(executor).run()) == repr(found)


def test_one_seed_has_no_uncertainty(executor):
    result = smith(executor, seeds=(7,)).run()
    assert math.isnan(result.high.low)
    assert 0 < result.low.value < result.high.value < STABLE_BELOW


def test_a_sweep_that_ends_too_early_says_so(executor):
    result = smith(executor, sweep=Sweep(1e-4, 0.05, 200)).run()
    assert "still works at 0.05, the highest rate tried" in result.notes[0]
    assert result.high.value < 0.05


def test_nothing_learns(executor):
    tried = r"tried rates from 1e-05 to 10 \(log\) in 200 iterations: seed 1 reached the end, seed 2"
    with pytest.raises(RunError, match=f"nothing learns: .*{tried}"):
        smith(executor, "support.quadratic_engine:FlatEngine").run()


def test_everything_diverges(executor):
    with pytest.raises(RunError, match=r"everything diverges: .*seed 5 diverged at rate 1e-05; try other rates"):
        smith(executor, "support.quadratic_engine:CliffEngine").run()
    with pytest.raises(RunError, match="everything diverges"):
        smith(executor, sweep=Sweep(5.0, 50.0, 200)).run()


def test_a_failed_training_fails_the_test(executor):
    with pytest.raises(RunError, match="the sweep training with seed 3 failed: OSError: the disk caught fire"):
        smith(executor, "support.quadratic_engine:BrokenEngine").run()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"sweep": Sweep(1e-5, 10.0, 29)}, "30 iterations or more, got 29"),
        ({"seeds": ()}, "seeds that differ, got none"),
        ({"seeds": (1, 1)}, r"seeds that differ, got \(1, 1\)"),
        ({"job": TrainingJob(JOB.solver, resume="x.solverstate")}, "x.solverstate: a range test cannot resume"),
    ],
)
def test_bad_tests_are_refused_before_they_start(options, rule):
    with pytest.raises(InputError, match=rule):
        smith(None, **options)


@pytest.mark.parametrize("momentum", [1.0, 1.5])
def test_momentum_that_forgets_nothing_is_refused_before_anything_trains(momentum):
    # Caffe trains with it; log(0.5) / log(1) is no lag.
    job = TrainingJob(Solver.parse(SOLVER.replace("momentum", "\nmomentum") + str(momentum), "s.prototxt"))
    rule = rf"s.prototxt:2: a range test needs momentum in \[0, 1\), got {momentum}; set it to 0.9"
    with pytest.raises(InputError, match=rule):
        smith(None, job=job)
    with pytest.raises(InputError, match=rule):
        FixTest(job, 20, 10, None)


def test_what_happens_is_told_as_it_happens(executor):
    events = list(smith(executor, seeds=(1, 2)).steps())
    assert events[0] == Stage("sweep", 2, 200)
    losses = [e for e in events if isinstance(e, Progressed) and e.trial == 1]
    assert [e.iteration for e in losses] == list(range(1, len(losses) + 1))
    ends = [e.outcome for e in events if isinstance(e, Finished)]
    assert {end.status for end in ends} == {TrialStatus.DIVERGED}
    assert "the loss exploded" in ends[0].message


def test_the_scan_finds_the_same_region(executor, found):
    scan = FixTest(JOB, 20, 10, executor, seeds=(1, 2), engine=ENGINE).run()
    assert scan.method == "fix"
    assert scan.high.value < STABLE_BELOW
    assert scan.low.value <= scan.suggestion.value <= scan.high.value
    assert scan.suggestion.value == pytest.approx(found.suggestion.value, rel=2.0)
    # Five powers of ten and the finer ones, twice each; shorter budgets need no training of their own.
    assert len(scan.median.rates) <= 8
    assert scan.median.values[-1] == pytest.approx(0.1)  # rate 1 is at chance


def test_a_scan_of_a_net_that_never_learns_finds_nothing(executor):
    with pytest.raises(RunError, match=r" 13\.0 % Top-1 \(chance is 10\.0 %, the untrained net has 16"):
        FixTest(JOB, 5, 10, executor, seeds=(1, 2), engine="support.fake_engine:FrozenEngine").run()


def test_a_scan_goes_on_beyond_the_usual_rates(executor):
    # Where everything diverges it looks two decades further down before it gives up.
    with pytest.raises(RunError, match=r"no fixed rate learns anything: 1e-06 -> .*1e-05 -> .*1 -> .*chance"):
        FixTest(JOB, 5, 10, executor, seeds=(1,), engine="support.quadratic_engine:CliffEngine").run()


@pytest.mark.parametrize(("budgets", "rule"), [((), "got none"), ((0, 1), r"1 epoch or more, got \(0, 1\)")])
def test_bad_budgets(budgets, rule):
    with pytest.raises(InputError, match=rule):
        FixTest(JOB, 20, 10, None, budgets=budgets)


def test_the_confirmation_holds_for_the_interval(executor, found):
    proof = drained(confirm(JOB, found, executor, iterations=60, seeds=(11, 12), engine=ENGINE))
    assert proof.held
    assert [control.inside for control in proof.controls] == [True, True, False, False]
    assert [control.policy.name for control in proof.controls] == ["fixed", "tri", "fixed", "fixed"]
    above = proof.controls[-1]
    assert above.policy.rate(0) > STABLE_BELOW
    assert above.loss > 1e6 or above.diverged


def test_the_confirmation_does_not_hold_for_a_wrong_interval(executor, found):
    from dataclasses import replace

    from lrpolicy.range_test import Estimate

    wrong = replace(found, low=Estimate(1e-5), suggestion=Estimate(3e-5), high=Estimate(1e-4))
    proof = drained(confirm(JOB, wrong, executor, iterations=60, seeds=(11,), engine=ENGINE))
    assert not proof.held  # ten times above the interval trains better than inside


def digits(**options):
    solver = read(zoo.find("digits"))
    return TrainingJob(solver.with_policy(solver.policy, snapshot=5), threads=1, **options)


class Silent:
    def displayed(self, iteration, loss, rate): ...
    def measured(self, measurement): ...
    def stopping(self):
        return False

    def saved(self, path):
        raise AssertionError(f"a range test wrote {path}")


def random_states():
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), kind, keys.tobytes(), rest, torch.get_rng_state().numpy().tobytes()


def test_a_sweep_leaves_files_and_random_states_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = random_states()
    test = SmithTest(digits(snapshot_prefix=tmp_path / "snap"), Sweep(1e-3, 0.1, 30), None)
    outcome = SweepEngine().train(test.sweep_job(1), Silent())
    assert outcome.status is TrialStatus.COMPLETED
    assert random_states() == before
    assert not list(tmp_path.iterdir())


def test_a_start_from_weights_leaves_them_alone(tmp_path):
    TorchEngine().train(digits(max_iter=5, snapshot_prefix=tmp_path / "snap"), Kind())
    weights = tmp_path / "snap_iter_5.caffemodel"
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with LocalExecutor(1) as own:
        SmithTest(digits(weights=weights), Sweep(1e-4, 3.0, 80), own, (1, 2)).run()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


class Kind(Silent):
    def saved(self, path): ...


def test_the_sweep_engine_passes_its_job_on():
    job = SweepJob(**vars(JOB), engine=ENGINE)
    assert SweepEngine().describe(job).framework == "quadratic"
    with pytest.raises(InputError, match='engine "torhc" is unknown'):
        SweepEngine().describe(SweepJob(**vars(JOB), engine="torhc"))


def test_a_training_that_diverges_at_once_spoils_nothing(executor, found):
    result = smith(executor, "support.quadratic_engine:UnluckyEngine").run()
    assert all(math.isnan(value) for value in result.curves[2].values)
    assert result.suggestion.value == pytest.approx(found.suggestion.value, rel=0.5)
    assert result.valley.low <= result.valley.value <= result.valley.high
