"""Where Optuna keeps its tables: in a schema of its own on the server that has ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from lrpolicy.database.driver import Connection
from lrpolicy.database.store import Database
from lrpolicy.errors import RunError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

SCHEMA = "lrpolicy_optuna"


# A lost commit costs nothing here: our own tables hold the truth.
_SESSION = f"-c search_path={SCHEMA} -c synchronous_commit=off"


@contextmanager
def optuna_storage(database: Database) -> Iterator[RDBStorage]:
    """Optuna's storage on the database's server, for a `with` block; schema and tables are made unless they are there.

    SQLAlchemy gets connections, never the address: no password can reach what it prints.

    Raises RunError where the server fails or refuses this user.
    """
    from optuna.storages import RDBStorage

    def make_schema(connection: Connection) -> None:
        # "CREATE SCHEMA IF NOT EXISTS" asks for the right to make schemas even where there is one
        if connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", [SCHEMA]).fetchone() is None:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}".encode())

    def connect() -> psycopg.Connection[Any]:
        parameters = database.address()
        options = f"{parameters.get('options') or ''} {_SESSION}".strip()
        return psycopg.connect(**parameters | {"application_name": "lrpolicy, Optuna", "options": options})

    database.transact(make_schema)
    with optuna_errors(database):
        storage = RDBStorage("postgresql+psycopg://", {"creator": connect, "pool_pre_ping": True})
    try:
        yield storage
    finally:
        storage.engine.dispose()


@contextmanager
def optuna_errors(database: Database) -> Iterator[None]:
    """What fails between Optuna and the server in a `with` block, as the one-line error that our own tables give."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OptunaError, SQLAlchemyError, psycopg.Error) as error:
        cause = _server_error(error)
        if cause is None:
            raise RunError(f"{database.where}: Optuna failed: {error}") from None
        raise database.translated(cause) from None


def _server_error(error: BaseException | None) -> psycopg.Error | None:
    """The server's own error among the causes of one, if it is there."""
    while error is not None and not isinstance(error, psycopg.Error):
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
    return error
