"""The schema's versions: numbered SQL files, applied in order, each exactly once."""

from __future__ import annotations

import re
from importlib import resources
from typing import LiteralString

from lrpolicy.database.driver import Connection
from lrpolicy.errors import InputError

_LOCK = 0x6C72706F  # any constant of ours: "lrpo"
_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_VERSION_TABLE = """
CREATE TABLE IF NOT EXISTS lrpolicy.schema_version (
    version integer PRIMARY KEY,
    name    text NOT NULL,
    applied timestamptz NOT NULL DEFAULT now()
)"""


def migrations() -> dict[int, tuple[str, str]]:
    """Version -> (name, SQL), from the package's files, in ascending order."""
    folder = resources.files("lrpolicy.database") / "migrations"
    found = {}
    for file in folder.iterdir():
        if match := _FILE_NAME.fullmatch(file.name):
            found[int(match[1])] = (match[2], file.read_text(encoding="utf-8"))
    return dict(sorted(found.items()))


def migrate(connection: Connection, where: str, target: int | None = None) -> None:
    """Bring the schema to version `target` (the newest one known), in one transaction; a current one is only read.

    Raises:
        InputError: the schema is newer than this lrpolicy.
        psycopg.Error: the server refuses, for lack of rights or because it is read-only.
    """
    known = migrations()
    target = max(known) if target is None else target
    version = _version(connection)
    if version < target:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            version = _version(connection)  # another process may have been faster
            _apply(connection, [(number, *known[number]) for number in known if version < number <= target])
    if version > max(known):
        raise InputError(
            f"the database has schema version {version}, this lrpolicy knows versions up to {max(known)}",
            where=where,
            remedy="upgrade lrpolicy, or use another database (--dsn, LRPOLICY_DSN, LRPOLICY_HOME)",
        )


def _version(connection: Connection) -> int:
    """The schema's version, 0 where there is none."""
    # not to_regclass: within a transaction it may answer from before the lock was granted
    if not _exists(connection, "SELECT FROM pg_tables WHERE (schemaname, tablename) = ('lrpolicy', 'schema_version')"):
        return 0
    row = connection.execute("SELECT COALESCE(max(version), 0) FROM lrpolicy.schema_version").fetchone()
    return int(row[0]) if row else 0


def _exists(connection: Connection, query: LiteralString) -> bool:
    return connection.execute(query).fetchone() is not None


def _apply(connection: Connection, steps: list[tuple[int, str, str]]) -> None:
    # "CREATE SCHEMA IF NOT EXISTS" asks for the right to make schemas even where there is one
    if not _exists(connection, "SELECT FROM pg_namespace WHERE nspname = 'lrpolicy'"):
        connection.execute("CREATE SCHEMA lrpolicy")
    connection.execute(_VERSION_TABLE)
    for number, name, commands in steps:
        connection.execute(commands.encode())
        connection.execute("INSERT INTO lrpolicy.schema_version (version, name) VALUES (%s, %s)", [number, name])
