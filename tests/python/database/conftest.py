"""The servers that the database tests run on: the embedded one, and the one of LRPOLICY_TEST_DSN where that is set."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from exchange_samples import fill
from psycopg.conninfo import make_conninfo

from lrpolicy import database
from lrpolicy.database import Database
from lrpolicy.database.embedded import EmbeddedServer
from lrpolicy.database.exchange import Exported, export_runs

GIVEN = os.environ.get("LRPOLICY_TEST_DSN")


@pytest.fixture(scope="session", params=["embedded", *(["given"] if GIVEN else [])])
def server_dsn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A DSN of a running server whose user may make databases."""
    if request.param == "given":
        yield GIVEN
        return
    server = EmbeddedServer(tmp_path_factory.mktemp("home") / "lrpolicy")
    yield make_conninfo(**server.address())
    server.close()


@pytest.fixture
def dsn(server_dsn: str) -> Iterator[str]:
    """A DSN of an empty database."""
    yield from _new_database(server_dsn)


@pytest.fixture(scope="session")
def shared_dsn(server_dsn: str) -> Iterator[str]:
    """A DSN of one database for all tests that do not mind what else is in it."""
    yield from _new_database(server_dsn)


@pytest.fixture
def results(shared_dsn: str) -> Iterator[Database]:
    with database.connect(shared_dsn) as results:
        yield results


@pytest.fixture(scope="session")
def another_dsn(server_dsn: str) -> Iterator[str]:
    """A DSN of a second database, for what comes in."""
    yield from _new_database(server_dsn)


@pytest.fixture
def other(another_dsn: str) -> Iterator[Database]:
    with database.connect(another_dsn) as results:
        yield results


@pytest.fixture(scope="session")
def good_file(server_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one run of four trials."""
    path = tmp_path_factory.mktemp("good") / "good.gz"
    with contextlib.contextmanager(_new_database)(server_dsn) as dsn, database.connect(dsn) as results:
        fill(results)
        assert export_runs(results, path) == Exported(path, 1, 4)
    return path


def _new_database(server_dsn: str) -> Iterator[str]:
    name = f"lrpolicy_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield make_conninfo(server_dsn, dbname=name)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
