"""The database with 100,000 trials: how soon a recommendation comes, how long sharing takes.

Trials are made up, but shaped like those of `lrpolicy tune`: 13 functions, six candidates each, three seeds for the
finalists, ten measurements a trial; spread over many tasks, or all of one task (the worst case).

    python benchmarks/bench_database.py [--trials 100000] [--rounds 15] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lrpolicy import database
from lrpolicy.database import Database, RunState, Setting
from lrpolicy.database.exchange import export_runs, import_runs
from lrpolicy.engines.description import describe
from lrpolicy.goals import find_goal
from lrpolicy.recommend import recommend, stored_range
from lrpolicy.records import DatasetInfo, NetworkInfo, Task
from lrpolicy.solver import read
from lrpolicy.versions import hardware
from lrpolicy.zoo import find

SETTING = Setting(10_000, 64, "SGD", 0.9, 5e-4)
GOALS = {"accuracy": None, "iterations": 0.9, "robustness": None, "pareto": None}
TRIALS_OF_A_RUN = 100

# 100 trials a run: 10 of the range test, 51 of the search, 39 of the final.
_FILL = """
    INSERT INTO lrpolicy.policy (name, base_lr, max_lr, stepsize)
    SELECT kind, 0.001 * (1 + n % 7), 0.01 * (1 + n), 500
    FROM unnest(ARRAY['tri', 'tri2', 'sin', 'sin2', 'cos']) AS kind, generate_series(0, 19) AS n
    ON CONFLICT DO NOTHING;
    INSERT INTO lrpolicy.policy (name, base_lr)
    SELECT 'fixed', 10.0 ^ (-n / 2.0) FROM generate_series(0, 9) AS n ON CONFLICT DO NOTHING;
    INSERT INTO lrpolicy.trial (run_id, policy_id, stage, seed, max_iter, batch_size, test_interval, optimizer,
        momentum, weight_decay, momentum_convention, protocol, engine, device, status, attempt, iterations, seconds)
    SELECT run.id, policy.id, stage, seed, CASE stage WHEN 'range' THEN 2500 ELSE 10000 END, 64, 1000, 'SGD', 0.9, 5e-4,
           'caffe', 'validation', 'torch', 'cpu', 'completed', 1, 10000, 30
    FROM lrpolicy.run
    CROSS JOIN LATERAL (
        SELECT id, 'range' AS stage, 1 AS seed FROM lrpolicy.policy WHERE name = 'fixed'
        UNION ALL SELECT * FROM (SELECT id, 'search', 1 FROM lrpolicy.policy WHERE name <> 'fixed'
                                 ORDER BY id LIMIT 51) AS tried
        UNION ALL SELECT id, 'final', seed
        FROM (SELECT id FROM lrpolicy.policy WHERE name <> 'fixed' ORDER BY (id + run.id) % 100 LIMIT 13) AS best,
             generate_series(2, 4) AS seed
    ) AS policy (id, stage, seed);
    INSERT INTO lrpolicy.measurement
    SELECT id, split, iteration, 0.01, 0.3, 0.3 + noise / 10, 0.99 - noise / iteration * 500, 0.999, 0.9, 0.1, 0.02, 0,
           5000, iteration * 0.003
    FROM lrpolicy.trial, generate_series(1000, 10000, 1000) AS iteration,
         unnest(CASE WHEN iteration = 10000 THEN ARRAY['validation', 'test'] ELSE ARRAY['validation'] END) AS split,
         LATERAL (SELECT ((id * 7919 + iteration) % 1000) / 2000.0 AS noise) AS drawn;
    INSERT INTO lrpolicy.curve_piece
    SELECT id, 100, points, array_fill(0.5::real, ARRAY[100]), array_fill(0.01::double precision, ARRAY[100])
    FROM lrpolicy.trial, (SELECT array_agg(n ORDER BY n) AS points FROM generate_series(100, 10000, 100) AS n) AS made;
    UPDATE lrpolicy.trial SET best_split = 'validation', best_iteration = 10000,
                              test_split = 'test', test_iteration = 10000
"""


def made_up_task(number: int) -> Task:
    """Task 0 is LeNet's on MNIST; the others have other nets on data of other sizes."""
    network = NetworkInfo(f"net{number % 40}", f"layers{number % 40}", 430_000 + 1000 * (number % 40))
    data = DatasetInfo(f"data{number // 40}", 54_000 + number, 6_000, 10_000, 1, 28, 28, 10, f"content{number // 40}")
    return Task("torch", network, data)


def fill(results: Database, trials: int, tasks: int, first: Task) -> None:
    for number in range(trials // TRIALS_OF_A_RUN):
        task = first if number % tasks == 0 else made_up_task(number % tasks)
        results.finish_run(results.start_run(task, {"seeds": 3}), RunState.COMPLETED)
    results.transact(lambda connection: [connection.execute(command) for command in _FILL.split(";")])
    results.transact(lambda connection: connection.execute("ANALYZE"))


def timed(work: Callable[[], object], rounds: int) -> dict[str, float]:
    """Milliseconds: the smallest and the median."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return {"min_ms": round(min(times), 1), "median_ms": round(statistics.median(times), 1)}


def lookups(results: Database, task: Task, rounds: int) -> dict[str, dict[str, float]]:
    """Every goal, and the stored range; and what a task that is only similar asks."""
    measured = {}
    for name, target in GOALS.items():
        goal = find_goal(name, target)
        measured[name] = timed(lambda goal=goal: recommend(results, task, SETTING, goal), rounds)
    similar = Task("torch", NetworkInfo("other", "other", 400_000), task.dataset)
    measured["accuracy, a similar task"] = timed(lambda: recommend(results, similar, SETTING), rounds)
    measured["stored range"] = timed(lambda: stored_range(results, task, SETTING), rounds)
    return measured


def whole_command(home: Path, rounds: int) -> dict[str, float]:
    """`lrpolicy recommend` as a user runs it, process and all, on the built-in digits (and MNIST where it is)."""
    measured = {}
    data = os.environ.get("LRPOLICY_DATA")
    for target in ["digits", *(["mnist-lenet"] if data and Path(data, "mnist").is_dir() else [])]:
        command = [sys.executable, "-m", "lrpolicy", "recommend", target, "--json"]
        environment = os.environ | {"LRPOLICY_HOME": str(home)}
        measured[target] = timed(
            partial(subprocess.run, command, env=environment, capture_output=True, check=True), rounds
        )
    return measured


def sharing(results: Database, empty: Database, folder: Path) -> dict[str, float]:
    file = folder / "results.gz"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    export_runs(results, file)
    exported = time.perf_counter()
    import_runs(empty, file)
    imported = time.perf_counter()
    import_runs(empty, file)
    return {
        "export_s": round(exported - start, 1),
        "import_s": round(imported - exported, 1),
        "second_import_s": round(time.perf_counter() - imported, 1),
        "file_mb": round(file.stat().st_size / 1e6, 1),
        "memory_growth_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    first = describe(read(find("digits")))
    result: dict[str, object] = {"trials": options.trials, **hardware()}
    with tempfile.TemporaryDirectory() as folder:
        for tasks in (100, 1):
            home = Path(folder, f"home{tasks}")
            with database.connect(home=home) as results:
                fill(results, options.trials, tasks, first)
                name = f"{tasks} task{'s' * (tasks > 1)}"
                result[name] = lookups(results, first, options.rounds)
                print(name, json.dumps(result[name], indent=2), flush=True)
                if tasks > 1:
                    result["command"] = whole_command(home, options.rounds)
                    print("command", json.dumps(result["command"], indent=2), flush=True)
                    with database.connect(home=Path(folder, "empty")) as empty:
                        result["sharing"] = sharing(results, empty, Path(folder))
                    print("sharing", json.dumps(result["sharing"], indent=2), flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
