"""The SQL function `lrpolicy.ranking`, over the runs of a task."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from database_samples import MULTISTEP, TASK, TRI, measurement, spec

from lrpolicy import database
from lrpolicy.records import Split, TrialOutcome, TrialStatus


def completed(top1: float) -> TrialOutcome:
    best, test = measurement(200, top1=top1), measurement(200, Split.TEST)
    return TrialOutcome(TrialStatus.COMPLETED, 1000, 12.5, best, test)


def test_ranking_counts_a_repeated_training_once_and_keeps_settings_apart(dsn: str) -> None:
    seen = {1: [0.90, 0.92], 2: [0.96], 3: [0.98]}
    with database.connect(dsn) as results:
        for repeat in range(2):
            run = results.start_run(TASK, {})
            for seed, accuracies in seen.items():
                for top1 in accuracies[repeat : repeat + 1]:
                    trial = results.plan_trial(run, spec(TRI, seed=seed))
                    results.add_measurement(trial, measurement(200, top1=top1))
                    results.finish_trial(trial, completed(top1))
        for changes in ({"test_interval": 10}, {"batch_size": 8}, {"weight_decay": 0.0}):
            run = results.start_run(TASK, {})
            trial = results.plan_trial(run, spec(MULTISTEP, **changes))
            results.add_measurement(trial, measurement(200, top1=0.99))
            results.finish_trial(trial, completed(0.99))
    columns = '"position", lr_policy, test_interval, batch_size, seeds, trials, top1_mean, top1_deviation'
    command = f"SELECT {columns} FROM lrpolicy.ranking(of_task => 1) ORDER BY lr_policy DESC"
    with psycopg.connect(dsn) as connection:
        ranked = connection.execute(command).fetchall()
    over_seeds = [0.91, 0.96, 0.98]
    expected = (np.mean(over_seeds), np.std(over_seeds, ddof=1))
    assert ranked[0] == (1, "tri", 100, 64, 3, 4, pytest.approx(expected[0]), pytest.approx(expected[1]))
    assert [row[0] for row in ranked] == [1, 1, 1, 1]
