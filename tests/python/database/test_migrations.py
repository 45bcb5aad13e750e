"""The schema grows from every version that ever was, under any number of starters, and never shrinks."""

from __future__ import annotations

import psycopg
import pytest
from database_samples import TASK, python, spec
from psycopg.conninfo import conninfo_to_dict

from lrpolicy import database
from lrpolicy.database.driver import open_connection
from lrpolicy.database.schema import migrate, migrations
from lrpolicy.errors import InputError, RunError

OBJECTS = """
    SELECT c.oid::regclass::text, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = 'lrpolicy'::regnamespace ORDER BY 1, a.attnum"""
APPLIED = "SELECT version FROM lrpolicy.schema_version ORDER BY version"


def test_migrations_are_numbered_without_gaps() -> None:
    assert list(migrations()) == list(range(1, len(migrations()) + 1))


@pytest.mark.parametrize("version", range(len(migrations()) + 1))
def test_every_version_grows_into_the_newest(dsn: str, shared_dsn: str, version: int) -> None:
    connection = open_connection(conninfo_to_dict(dsn), "here", "wait")
    migrate(connection, "here", target=version)
    with database.connect(dsn) as results:
        results.plan_trial(results.start_run(TASK, {}), spec())
    database.connect(shared_dsn).close()
    with psycopg.connect(shared_dsn, options="-c search_path=pg_catalog") as made_at_once:
        assert connection.execute(OBJECTS).fetchall() == made_at_once.execute(OBJECTS).fetchall()
    assert connection.execute(APPLIED).fetchall() == [(number,) for number in migrations()]
    connection.close()


def test_a_newer_schema_is_refused_and_left_alone(dsn: str) -> None:
    database.connect(dsn).close()
    newest = max(migrations())
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO lrpolicy.schema_version (version, name) VALUES (%s, 'later')", [newest + 4])
        with pytest.raises(InputError) as caught:
            database.connect(dsn)
        assert connection.execute(APPLIED).fetchall()[-1] == (newest + 4,)
    assert f"has schema version {newest + 4}, this lrpolicy knows versions up to {newest}" in str(caught.value)
    assert "upgrade lrpolicy" in str(caught.value)


def test_a_migration_that_fails_leaves_nothing(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA lrpolicy; CREATE TABLE lrpolicy.measurement (theirs int)")
        with pytest.raises(RunError, match='relation "measurement" already exists'):
            database.connect(dsn)
        tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'lrpolicy'::regnamespace AND relkind = 'r'"
        assert connection.execute(tables).fetchone() == (1,)


def test_four_starters_migrate_once(dsn: str) -> None:
    program = "import sys; from lrpolicy import database; database.connect(sys.argv[1]).close()"
    starters = [python(program, dsn) for _ in range(4)]
    for starter in starters:
        assert starter.communicate()[0] == "" and starter.returncode == 0
    with psycopg.connect(dsn) as connection:
        assert connection.execute(APPLIED).fetchall() == [(number,) for number in migrations()]


def test_missing_rights_are_said(dsn: str) -> None:
    guest = "lrpolicy_test_guest"
    address = conninfo_to_dict(dsn) | {"user": guest, "password": "hidden-7"}
    guest_dsn = psycopg.conninfo.make_conninfo(**address)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {guest} LOGIN PASSWORD 'hidden-7'")
        try:
            with pytest.raises(RunError, match=r"permission denied for database.*; this user may not do that; ask its"):
                database.connect(guest_dsn)
            database.connect(dsn).close()
            with pytest.raises(RunError, match="permission denied for schema lrpolicy; this user may not do that"):
                database.connect(guest_dsn)
            connection.execute(f"GRANT USAGE ON SCHEMA lrpolicy TO {guest}")
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA lrpolicy TO {guest}")
            with database.connect(guest_dsn) as results:
                assert results.runs() == []
                with pytest.raises(RunError, match="permission denied for table framework"):
                    results.start_run(TASK, {})
        finally:
            connection.execute(f"DROP OWNED BY {guest}; DROP ROLE {guest}")
