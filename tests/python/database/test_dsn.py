"""Servers named by a DSN: what a wrong one is told, and that no message tells a password."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lrpolicy import database
from lrpolicy.database.driver import parse_dsn, translate
from lrpolicy.errors import InputError, RunError

SECRET = "s3cret-Pa55"


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("dsn", [f"postgresql://me:{SECRET}@127.0.0.1:1/x", f"host=127.0.0.1 port=1 password={SECRET}"])
def test_a_server_that_is_not_there(dsn: str) -> None:
    with pytest.raises(RunError) as caught:
        database.connect(dsn)
    text = str(caught.value)
    assert text.startswith("PostgreSQL at 127.0.0.1:1")
    assert "cannot connect: Connection refused; check the server and the DSN" in text
    assert SECRET not in text and "\n" not in text


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with silent_server() as port:
        start = time.monotonic()
        with pytest.raises(RunError, match=f"127.0.0.1:{port}: cannot connect: .*timeout"):
            database.connect(f"host=127.0.0.1 port={port} password={SECRET} connect_timeout=2")
        assert 1 < time.monotonic() - start < 20


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://me:{SECRET}%zz@host/x",
        f"pasword={SECRET} host=here",
        f"host=here {SECRET}",
        f"postgresql://me:{SECRET}@host:here:5/x?y",
        f"host=here password='{SECRET}",
        f"host=he\0re password={SECRET}",
        f"host=he\udce9re password={SECRET}",
        f"host=127.0.0.1 port=x password={SECRET}",
        f"postgresql://me:start@{SECRET}@127.0.0.1:1/x",  # libpq takes the secret for the host
        f"postgresql://me:1/{SECRET}@127.0.0.1:1/x",  # for the database
        f"postgresql://me:{SECRET}/x",  # for the port
    ],
)
def test_a_wrong_dsn_is_not_repeated(dsn: str) -> None:
    with pytest.raises((InputError, RunError)) as caught:
        database.connect(dsn)
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert "DSN" in str(caught.value)


def test_a_password_of_digits_that_stands_for_the_port_is_not_repeated() -> None:
    with pytest.raises(
        InputError, match="a port in the database's DSN is a whole number from 1 to 65535; if"
    ) as caught:
        database.connect("postgresql://me:9876543210/x")
    assert "9876543210" not in str(caught.value) + repr(caught.value)


def test_a_wrong_database_and_user(server_dsn: str) -> None:
    with pytest.raises(RunError, match='database "absent" does not exist; check the server and the DSN'):
        database.connect(make_conninfo(server_dsn, dbname="absent"))
    with pytest.raises(RunError, match=r"nobody-here.*; check the server and the DSN") as caught:
        database.connect(make_conninfo(server_dsn, user="nobody-here", password=SECRET))
    assert SECRET not in str(caught.value)


def test_where_tells_the_place_and_no_password(shared_dsn: str) -> None:
    password = conninfo_to_dict(shared_dsn).get("password", SECRET)
    with database.connect(make_conninfo(shared_dsn, password=password)) as results:
        assert results.where.startswith("PostgreSQL at ") and "lrpolicy_test_" in results.where
        assert password not in results.where + repr(results)


def test_the_variable_names_the_server_unless_the_caller_does(
    shared_dsn: str, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LRPOLICY_HOME", str(tmp_path / "unused"))
    monkeypatch.setenv("LRPOLICY_DSN", shared_dsn)
    with database.connect() as by_variable, database.connect(dsn) as by_argument:
        assert by_variable.where != by_argument.where
    assert not (tmp_path / "unused").exists()


def test_importing_lrpolicy_does_not_load_psycopg() -> None:
    program = "import lrpolicy, sys; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_psycopg_the_message_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ImportError('no pq wrapper available')")
    program = (
        "import lrpolicy.errors\ntry: import lrpolicy.database\nexcept lrpolicy.errors.NotAvailableError as e: print(e)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == ("the database needs psycopg (no pq wrapper available); pip install 'lrpolicy[database]'\n")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (psycopg.errors.DiskFull, "no room for s***; the disk is full; free some space, then resume the run"),
        (psycopg.errors.ReadOnlySqlTransaction, "no room for s***; it is read-only here; give a server"),
        (psycopg.errors.InsufficientPrivilege, "no room for s***; this user may not do that"),
        (psycopg.errors.AdminShutdown, "the connection is lost: no room for s***; what was stored before is safe"),
        (psycopg.OperationalError, "the connection is lost: no room for s***"),
        (psycopg.errors.SyntaxError, "no room for s***"),
    ],
)
def test_what_a_server_says_becomes_one_line(error: type[psycopg.Error], told: str) -> None:
    translated = translate(error(f"no room for s{SECRET}\nLINE 1: ...\nHINT: none"), "here", {"password": SECRET})
    assert isinstance(translated, RunError)
    assert str(translated).startswith(f"here: {told}") and "\n" not in str(translated)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:a%40b%2Fc@h:5,g:6/x?options=a@b",
        "host=h,g port=5,6 dbname=x user=me password='a@b/c' options=a@b",
    ],
)
def test_a_password_with_an_at_and_a_slash(dsn: str) -> None:
    expected = {"user": "me", "password": "a@b/c", "host": "h,g", "port": "5,6", "dbname": "x", "options": "a@b"}
    assert parse_dsn(dsn) == expected
