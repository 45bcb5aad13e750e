"""Files that somebody else made: damaged, foreign, newer, changed, hostile. None of them changes anything."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exchange_samples import HOSTILE, content, lines_of, write

from lrpolicy import database
from lrpolicy.database import Database
from lrpolicy.database.exchange import Imported, export_runs, import_runs
from lrpolicy.errors import InputError


def refused(other: Database, path: Path, match: str) -> None:
    before = content(other)
    with pytest.raises(InputError, match=match) as caught:
        import_runs(other, path)
    assert content(other) == before
    assert "\n" not in str(caught.value) and "nothing was imported" in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda b: b[: len(b) // 2], "cut short or damaged"),
        (lambda b: b[:-1], "cut short or damaged"),
        (lambda b: b[:-8] + bytes([b[-8] ^ 1]) + b[-7:], "cut short or damaged, got CRC check failed"),
        (lambda b: b + b"more", "cut short or damaged"),
        (lambda b: b + gzip.compress(b"{}\n"), "the header announces 5 lines, got more"),
        (lambda b: b"", "its first line is no header"),
        (lambda b: b"PK\3\4 a zip", "is no gzip file"),
        (lambda b: gzip.compress(b"\xff\xfe not JSON"), "its first line is no header"),
        (lambda b: gzip.compress(b"[" * 5000), "longer than 4096 bytes"),
        (lambda b: gzip.compress(b"[" * 4000), "its first line is no header"),
        (lambda b: gzip.compress(b'{"format": "other", "version": 1}\n'), "its first line is no header"),
        (lambda b: gzip.compress(b'{"format": "lrpolicy-results", "version": 2, "new": 1}\n'), "has version 2 of the"),
        (lambda b: gzip.compress(b'{"format": "lrpolicy-results", "version": 1}\n'), "the header is damaged"),
    ],
)
def test_a_foreign_or_damaged_file_is_refused(
    good_file: Path, other: Database, tmp_path: Path, spoil: Callable[[bytes], bytes], match: str
) -> None:
    path = tmp_path / "spoilt.gz"
    path.write_bytes(spoil(good_file.read_bytes()))
    refused(other, path, match)


def test_a_file_that_cannot_be_read_is_said(other: Database, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.gz: cannot be read: No such file"):
        import_runs(other, tmp_path / "absent.gz")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        import_runs(other, tmp_path)


def test_any_change_of_a_file_is_noticed(good_file: Path, other: Database, tmp_path: Path) -> None:
    plain = gzip.decompress(good_file.read_bytes())
    rng = random.Random(5)
    for place in rng.sample(range(len(plain)), 60):
        changed = bytearray(plain)
        changed[place] ^= 1 << rng.randrange(8)
        path = tmp_path / "changed.gz"
        path.write_bytes(gzip.compress(bytes(changed)))
        with pytest.raises(InputError):
            import_runs(other, path)
    lines = lines_of(good_file)
    lines[2]["measurements"]["top1"][-1] = 0.99
    refused(other, write(tmp_path / "better.gz", lines, honest=False), "does not have the hash in the header")
    lines = lines_of(good_file)
    refused(other, write(tmp_path / "less.gz", lines[:-1], honest=False), "the header announces 5 lines, got 4")


def set_run(**changes: Any) -> Callable[[list[Any]], None]:
    return lambda lines: lines[1].update(changes)


def set_trial(**changes: Any) -> Callable[[list[Any]], None]:
    return lambda lines: lines[2].update(changes)


def set_column(name: str, value: Any) -> Callable[[list[Any]], None]:
    return lambda lines: lines[2]["measurements"][name].__setitem__(0, value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_run(key="1; DROP TABLE lrpolicy.run"), "line 2: key: must be a UUID"),
        (set_run(framework=""), "line 2: framework: must be a printable text of 1 to 200"),
        (set_run(framework="x" * 201), "framework: must be a printable text"),
        (set_run(framework="a\0b"), "framework: must be a printable text"),
        (set_run(framework="a\nb"), "framework: must be a printable text"),
        (set_run(framework="\ud800"), "framework: must be a printable text"),
        (set_run(framework=7), "framework: must be a printable text"),
        (
            set_run(network={"name": "n", "fingerprint": "f", "weight_count": -1}),
            "network: weight_count: must be a whole",
        ),
        (set_run(network={"name": "n"}), "network: must be an object with the fields name, fingerprint, weight_count"),
        (set_run(started="yesterday"), "line 2: started: "),
        (set_run(started="2020-01-01T00:00:00"), "started: must be a time in ISO 8601 with its offset"),
        (set_run(started="2150-01-01T00:00:00+00:00"), "ended: must not be before started"),
        (set_run(settings={"a": {"b": 1}}), "settings: a: must be a finite number"),
        (set_run(settings={"a b": 1}), "settings: must have plain names"),
        (set_run(settings={f"a{n}": n for n in range(201)}), "settings: must be an object of at most 200"),
        (set_run(extra=1), "line 2: must be an object with the fields kind, key"),
        (set_run(kind="table"), "line 2: must be an object with the fields kind, policy"),
        (set_trial(policy={"lr_policy": "tri9"}), 'line 3: policy: lr_policy "tri9" is unknown'),
        (set_trial(policy={"lr_policy": "fixed", "base_lr": "0.1"}), "policy: base_lr must be a number"),
        (set_trial(policy={"lr_policy": "fixed", HOSTILE: 1}), "has no parameter"),
        (set_trial(policy=[]), "policy: must be an object"),
        (set_trial(seed=2**63), "seed: must be a whole number"),
        (set_trial(seed=True), "seed: must be a whole number"),
        (set_trial(seed=1.0), "seed: must be a whole number"),
        (set_trial(batch_size=0), "batch_size: must be a whole number from 1"),
        (set_trial(momentum="NaN"), "momentum: must be a finite number"),
        (set_trial(stage=HOSTILE), "stage: must be one of range, search, final"),
        (set_trial(stage=["final"]), "stage: must be one of"),
        (set_trial(status="running"), "status: must be one of completed, diverged, failed, interrupted"),
        (set_trial(best={"split": "test", "iteration": 55}), "best: must be one of the measurements"),
        (set_trial(best={"split": "test"}), "best: must be an object with the fields split, iteration"),
        (set_trial(curve={"iteration": [1, 1], "loss": [1, 1], "rate": [1, 1]}), "curve: iterations must increase"),
        (set_trial(curve={"iteration": [1], "loss": [], "rate": [1]}), "curve: must have lists of one length"),
        (set_trial(curve={"iteration": 1, "loss": [], "rate": []}), "curve: iteration: must be a list"),
        (set_column("top1", 97.5), "measurements: top1: must be a finite number from 0 to 1.000001"),
        (set_column("top1", "Infinity"), "top1: must be a finite number"),
        (set_column("top1", "nan"), "top1: must be a finite number"),
        (set_column("seconds", -1), "seconds: must be a finite number from 0"),
        (set_column("iteration", 100), "one split must not be measured twice"),
        (set_column("classes_without_hit", 2**31), "classes_without_hit: must be a whole number"),
        (lambda lines: lines.__setitem__(1, 5), "line 2: must be an object"),
        (lambda lines: lines.insert(1, lines.pop(2)), "line 2: a trial must follow its run"),
        (lambda lines: lines.append(dict(lines[2])), "the database refuses a value: duplicate key"),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused_by_name(
    good_file: Path, other: Database, tmp_path: Path, change: Callable[[list[Any]], None], match: str
) -> None:
    lines = lines_of(good_file)
    lines[1]["key"] = "12345678-1234-4234-8234-123456789abc"
    change(lines)
    before = content(other)
    with pytest.raises(InputError, match=match):
        import_runs(other, write(tmp_path / "wrong.gz", lines))
    assert content(other) == before


@pytest.mark.parametrize("token", ["NaN", "Infinity", "1e999", "9" * 5000, '{"a":' * 5000])
def test_json_that_is_none_is_refused(good_file: Path, other: Database, tmp_path: Path, token: str) -> None:
    lines = lines_of(good_file)
    lines[1]["key"] = "12345678-1234-4234-8234-123456789abc"
    lines[2]["momentum"] = "@@"
    path = write(tmp_path / "token.gz", lines)
    plain = gzip.decompress(path.read_bytes()).replace(b'"@@"', token.encode())
    header, body = json.loads(plain.split(b"\n", 1)[0]), plain.split(b"\n", 1)[1]
    del header["sha256"]
    signed = body + json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    header["sha256"] = hashlib.sha256(signed).hexdigest()
    path.write_bytes(gzip.compress(json.dumps(header).encode() + b"\n" + body))
    refused(
        other, path, "line 3: must be one JSON object|line 3: a line must be one JSON object"
    ) if token != "1e999" else None
    with pytest.raises(InputError, match="line 3: "):
        import_runs(other, path)


def test_names_in_a_file_are_never_commands(good_file: Path, dsn: str, tmp_path: Path) -> None:
    lines = lines_of(good_file)
    run, trial = lines[1], lines[2]
    run |= {"framework": HOSTILE, "task_type": HOSTILE, "settings": {"policies": HOSTILE}, "versions": {"v": HOSTILE}}
    run["network"] |= {"name": HOSTILE, "fingerprint": HOSTILE}
    run["dataset"] |= {"name": HOSTILE, "fingerprint": HOSTILE}
    trial |= {"optimizer": HOSTILE, "engine": HOSTILE, "device": HOSTILE}
    with database.connect(dsn) as results:
        assert import_runs(results, write(tmp_path / "hostile.gz", lines)) == Imported(1, 4, 0)
        (stored,) = results.runs()
        assert (stored.task.framework, stored.task.task_type, stored.task.network.name) == (HOSTILE,) * 3
        assert (stored.settings, stored.versions) == ({"policies": HOSTILE}, {"v": HOSTILE})
        first = results.trials(stored.id)[0].spec
        assert (first.optimizer, first.engine, first.device) == (HOSTILE,) * 3
        export_runs(results, tmp_path / "back.gz")
        assert import_runs(results, tmp_path / "back.gz") == Imported(0, 0, 1)
