"""What the tests of shared files share: a run with everything in it, and files made by hand."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from database_samples import MULTISTEP, TASK, TRI, measurement, spec

from lrpolicy.database import Database, RunState
from lrpolicy.records import Split, TrialOutcome, TrialStatus

HOSTILE = "x'); DROP SCHEMA lrpolicy CASCADE; -- \" \\ %s %(run)s {} $1 é 🙂"
CONTENT = """
    SELECT (SELECT array_agg(r::text ORDER BY id) FROM lrpolicy.run r),
           (SELECT array_agg(t::text ORDER BY id) FROM lrpolicy.trial t),
           (SELECT array_agg(m::text ORDER BY m::text) FROM lrpolicy.measurement m),
           (SELECT array_agg(p::text ORDER BY id) FROM lrpolicy.policy p),
           (SELECT array_agg(n::text ORDER BY id) FROM lrpolicy.network n)"""


def fill(results: Database) -> int:
    """A completed run with every kind of trial and number; returns its id."""
    settings = {"target": "digits", "seeds": 3, "data": "/secret/place", "policies": "tri,sin", "budget": 0.5}
    settings |= {"dsn": "postgresql://me:pa55@box.example.org/x", "device": "cuda:0", "engine": "/srv/me/mine.py:E"}
    hardware = {"machine": "x86_64", "cores": 2, "hostname": "box.example.org", "processor": "Xeon(R) @ 2.30GHz"}
    run = results.start_run(TASK, settings, versions={"torch": "2.13", "path": "/opt/x"}, hardware=hardware)
    for seed, policy in enumerate((TRI, MULTISTEP, {"lr_policy": "fixed", "base_lr": 5e-324})):
        trial = results.plan_trial(run, spec(policy, seed=seed - 2**63, stage="final", engine="/opt/my/engine:E"))
        results.start_trial(trial)
        results.add_measurement(trial, measurement(0, train_loss=math.nan, loss=math.inf, top5=math.nan))
        results.add_curve(trial, [0, 10], [2.3, math.nan], [0.1, 0.1 / 3])
        results.add_curve(trial, [20], [math.inf], [1e-300])
        best = measurement(100, rate=math.nextafter(0.1, 1), average_confidence=1 + 2**-23, cdac=0.02)
        test = measurement(100, Split.TEST, top1=0.1 + 0.2)
        results.finish_trial(trial, TrialOutcome(TrialStatus.COMPLETED, 1000, 12.5, best, test, "see /secret/place"))
    learned = {"lr_policy": "tlr", "base_lr": 0.1, "source": "gradient", "window": 0.5, "per_tensor": False, "epoch": 9}
    learned |= {"restart_below": 0.01}
    diverged = results.plan_trial(run, spec(learned, stage="range"))
    results.finish_trial(diverged, TrialOutcome(TrialStatus.DIVERGED, 17, 0.25))
    results.plan_trial(run, spec(TRI, seed=77))
    results.finish_run(run, RunState.COMPLETED)
    return run


def content(results: Database) -> Any:
    return results.transact(lambda connection: connection.execute(CONTENT).fetchone())


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def write(path: Path, lines: list[Any], *, honest: bool = True) -> Path:
    """The lines as a file; an honest one has the hash and the counts of its content."""
    header, body = dict(lines[0]), [json.dumps(line).encode() + b"\n" for line in lines[1:]]
    if honest:
        header["runs"] = sum(isinstance(line, dict) and line.get("kind") == "run" for line in lines[1:])
        header["trials"] = len(body) - header["runs"]
        rest = {name: value for name, value in header.items() if name != "sha256"}
        signed = b"".join(body) + json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
        header["sha256"] = hashlib.sha256(signed).hexdigest()
    path.write_bytes(gzip.compress(json.dumps(header).encode() + b"\n" + b"".join(body)))
    return path
