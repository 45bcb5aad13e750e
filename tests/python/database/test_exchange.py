"""Results as a file: what comes back is what went in, once, and nothing that is private goes out."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from database_samples import TASK
from exchange_samples import content, fill, lines_of, write

from lrpolicy import database
from lrpolicy.database import Database, RunState
from lrpolicy.database.exchange import FORMAT, VERSION, Exported, Imported, export_runs, import_runs
from lrpolicy.errors import InputError, RunError


@pytest.fixture
def filled(shared_dsn: str) -> Iterator[tuple[Database, int]]:
    with database.connect(shared_dsn) as results:
        yield results, fill(results)


def test_what_comes_back_is_what_went_in(filled: tuple[Database, int], other: Database, tmp_path: Path) -> None:
    results, run = filled
    file = tmp_path / "results.gz"
    assert export_runs(results, file, [run]) == Exported(file, 1, 4)
    assert import_runs(other, file) == Imported(1, 4, 0)
    there = other.runs()[-1]
    here = results.find_run(run)
    assert (there.key, there.task, there.state) == (here.key, here.task, RunState.COMPLETED)
    assert (there.started, there.ended) == (here.started, here.ended)
    ended = [trial for trial in results.trials(run) if trial.outcome is not None]
    for sent, came in zip(ended, other.trials(there.id), strict=True):
        outcome = None if sent.outcome is None else replace(sent.outcome, message="")
        assert repr(came.spec) == repr(replace(sent.spec, engine="engine:E" if "/" in sent.spec.engine else "torch"))
        assert repr(came.outcome) == repr(outcome)
        assert (came.status, came.attempt, came.parameter_count) == (sent.status, sent.attempt, sent.parameter_count)
        assert repr(other.measurements(came.id)) == repr(results.measurements(sent.id))
        for name in ("iterations", "losses", "rates"):
            one, two = (getattr(db.curve(t.id), name) for db, t in ((results, sent), (other, came)))
            assert one.tobytes() == two.tobytes()


def test_importing_twice_changes_nothing_and_the_origin_travels_on(
    good_file: Path, other: Database, tmp_path: Path
) -> None:
    import_runs(other, good_file)
    before = content(other)
    assert import_runs(other, good_file) == Imported(0, 0, 1)
    assert content(other) == before
    header, run, *_ = lines_of(good_file)
    imported = next(found for found in other.runs() if found.key == run["key"])
    assert imported.origin == run["origin"] == header["origin"]
    export_runs(other, tmp_path / "again.gz", [imported.id])
    again = lines_of(tmp_path / "again.gz")
    assert again[0]["origin"] != header["origin"]
    assert again[1:] == [run, *lines_of(good_file)[2:]]


def test_an_imported_run_is_not_the_latest(good_file: Path, dsn: str) -> None:
    with database.connect(dsn) as results:
        import_runs(results, good_file)
        with pytest.raises(InputError, match="every run is imported, and latest means one of your own"):
            results.find_run()
        own = results.start_run(TASK, {})
        assert results.find_run("latest").id == own


def test_the_same_runs_are_the_same_bytes(filled: tuple[Database, int], tmp_path: Path) -> None:
    results, run = filled
    for name in ("one.gz", "two.gz"):
        export_runs(results, tmp_path / name, [run, run])
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.gz", "two.gz"]


def test_no_place_no_person_no_password_is_in_a_file(good_file: Path) -> None:
    text = gzip.decompress(good_file.read_bytes()).decode()
    for secret in ("secret", "/", "pa55", "example.org", "srv", "hostname", "postgresql", "message"):
        assert secret not in text
    run = lines_of(good_file)[1]
    assert run["settings"] == {"target": "digits", "seeds": 3, "policies": "tri,sin", "budget": 0.5, "device": "cuda:0"}
    assert run["versions"] == {"torch": "2.13"}
    assert run["hardware"] == {"machine": "x86_64", "processor": "Xeon(R) @ 2.30GHz", "cores": 2}


def test_the_header_says_what_follows(good_file: Path) -> None:
    header, *rest = lines_of(good_file)
    assert {name: header[name] for name in ("format", "version", "runs", "trials")} == {
        "format": FORMAT,
        "version": VERSION,
        "runs": 1,
        "trials": 4,
    }
    body = gzip.decompress(good_file.read_bytes()).split(b"\n", 1)[1]
    del header["sha256"]
    own = hashlib.sha256(body + json.dumps(header, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert lines_of(good_file)[0]["sha256"] == own
    assert [line["kind"] for line in rest] == ["run", *["trial"] * 4]


def test_only_completed_runs_are_exported(dsn: str, tmp_path: Path) -> None:
    with database.connect(dsn) as results:
        with pytest.raises(InputError, match="no completed run is stored yet; lrpolicy tune"):
            export_runs(results, tmp_path / "x.gz")
        run = results.start_run(TASK, {})
        with pytest.raises(InputError, match=f"run {run} is not completed, so it may still change, got running"):
            export_runs(results, tmp_path / "x.gz", [run])
        with pytest.raises(InputError, match="there is no run 99"):
            export_runs(results, tmp_path / "x.gz", [99])
        results.finish_run(run, RunState.COMPLETED)
        with pytest.raises(InputError, match="no such folder"):
            export_runs(results, tmp_path / "absent" / "x.gz")
        (tmp_path / "folder").mkdir()
        with pytest.raises(InputError, match="this is a folder"):
            export_runs(results, tmp_path / "folder")
        with pytest.raises(RunError, match="cannot be written"):
            export_runs(results, Path("/proc/x.gz"))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_many_batches_come_and_go_whole(dsn: str, server_dsn: str, tmp_path: Path, good_file: Path) -> None:
    """More trials than are in memory at a time, in two runs, one of them known."""
    lines = lines_of(good_file)
    run, trial = lines[1], lines[2]
    second = run | {"key": "12345678-1234-4234-8234-123456789abc"}
    trials = [trial | {"seed": seed} for seed in range(1203)]
    with database.connect(dsn) as results:
        import_runs(results, good_file)
        path = write(tmp_path / "many.gz", [lines[0], *lines[1:], second, *trials])
        assert import_runs(results, path) == Imported(1, 1203, 1)
        (_, new) = results.runs()
        assert [found.spec.seed for found in results.trials(new.id)] == list(range(1203))
        assert export_runs(results, tmp_path / "back.gz") == Exported(tmp_path / "back.gz", 2, 1207)
        counts = results.transact(
            lambda c: c.execute("SELECT count(*), sum(top1) FROM lrpolicy.measurement").fetchone()
        )
        top1 = [value for line in lines[2:] for value in line["measurements"]["top1"]]
        assert counts[0] == len(top1) + 1203 * 3
        np.testing.assert_allclose(counts[1], sum(top1) + 1203 * sum(trial["measurements"]["top1"]))
