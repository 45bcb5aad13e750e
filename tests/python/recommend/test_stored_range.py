"""The stored range of good fixed rates: which of those found before serves a new run."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lrpolicy.database import Database
from lrpolicy.database.range_tests import store_range_test
from lrpolicy.database.stored import StoredRangeTest, Uncertain
from lrpolicy.errors import InputError
from lrpolicy.recommend import stored_range
from lrpolicy.records import (
    Protocol,
)
from lrpolicy.search import RateRange
from support.stored_trials import (
    CIFAR,
    FASHION,
    IMAGENET,
    SETTING,
    TASK,
    scan,
    spec,
    store,
)


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
    store(results, run, spec({"lr_policy": "fixed", "base_lr": 0.0001}, 1, "range"), [math.nan])  # measured nothing
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
