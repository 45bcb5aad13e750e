"""What a run was made with: the versions and the machine, as the database keeps them beside its results."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("lrpolicy", "torch", "numpy", "protobuf", "psycopg")


def versions() -> dict[str, str]:
    """Package -> version, for the packages that decide a result and are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, str | int]:
    """The machine's architecture, processor and how many cores this process may use."""
    return {"machine": platform.machine(), "processor": _processor(), "cores": len(os.sched_getaffinity(0))}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
