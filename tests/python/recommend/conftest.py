"""A database for each test, on one server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lrpolicy import database
from lrpolicy.database import Database


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose server runs for all tests."""
    home = tmp_path_factory.mktemp("recommend") / "home"
    with database.connect(home=home):
        yield home


@pytest.fixture
def results(home: Path) -> Iterator[Database]:
    """An empty database."""
    with database.connect(home=home) as results:
        tables = "run, task, network, dataset, framework, policy, trial, measurement"
        command = "TRUNCATE " + ", ".join(f"lrpolicy.{name}" for name in tables.split(", ")) + " CASCADE"
        results.transact(lambda connection: connection.execute(command.encode()))
        yield results
