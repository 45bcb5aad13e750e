"""psycopg, wrapped once: how to reach a server, what to call it, and what its errors mean to a user."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from typing import Any

from lrpolicy.errors import InputError, LrpolicyError, NotAvailableError, RunError

try:
    import psycopg
    from psycopg import conninfo
except ImportError as missing:
    raise NotAvailableError(f"the database needs psycopg ({missing}); pip install 'lrpolicy[database]'") from None

Connection = psycopg.Connection[Any]

LEAST_SERVER_VERSION = 15  # NULLS NOT DISTINCT
_CONNECT_SECONDS = 5
_DSN_EXAMPLE = "write for example postgresql://user@host:5432/database, with the password in ~/.pgpass or PGPASSWORD"
_SESSION = "SET search_path TO pg_catalog; SET TIME ZONE 'UTC'; SET extra_float_digits = 1"

_MEANINGS = {
    "53100": "the disk is full; free some space, then resume the run",
    "25006": "it is read-only here; give a server that takes writes",
    "42501": "this user may not do that; ask its owner for the rights, or give another user",
}


@dataclass(frozen=True)
class GivenServer:
    """A server that the user named by a DSN; it is not ours to start or stop."""

    parameters: dict[str, Any]
    remedy = "check the server and the DSN (--dsn, LRPOLICY_DSN), or give none to use the embedded server"

    @property
    def where(self) -> str:
        """Host, port, database and user, never a password."""
        return describe(self.parameters)

    def address(self) -> dict[str, Any]:
        """libpq's connection parameters."""
        return self.parameters

    def close(self) -> None:
        """Nothing to let go of."""


def parse_dsn(dsn: str) -> dict[str, Any]:
    """libpq's connection parameters of a DSN, in either of its forms. The message of a wrong one never repeats it.

    Raises:
        InputError: the text is not a DSN, or no server can have such a port.
    """
    try:
        if "\0" in dsn:
            raise UnicodeError
        parameters = conninfo.conninfo_to_dict(dsn)
    except (psycopg.Error, UnicodeError):
        raise InputError("the database's DSN is not one that PostgreSQL understands", remedy=_DSN_EXAMPLE) from None
    for port in filter(None, str(parameters.get("port", "")).split(",")):  # one for each host; empty is the usual one
        _check_port(port.strip(), known="@" in dsn.partition("://")[2].partition("/")[0] or "://" not in dsn)
    if _misplaces_password(dsn):
        rule = "in the database's DSN, part of what should be the password stands where the host or database does"
        raise InputError(rule, remedy=f"write @ as %40 and / as %2F there, or {_DSN_EXAMPLE}")
    return parameters


def _check_port(port: str, *, known: bool) -> None:
    """Raise InputError for what is no port, and may be a piece of a URI's password: it is told if `known` not to be."""
    number = bool(re.fullmatch(r"[+-]?[0-9]+", port))
    if not number or not 1 <= int(port) <= 65535:
        raise InputError(
            "a port in the database's DSN is a whole number from 1 to 65535",
            got=port if number and known else None,
            remedy=f"if it is a piece of the password, write @ as %40 and / as %2F there; {_DSN_EXAMPLE}",
        )


def _misplaces_password(dsn: str) -> bool:
    """Whether libpq takes a piece of a URI's password for the host or database, which every message would then tell.

    It does where the password holds an @ or / as it is.
    """
    authority, _, path = dsn.partition("://")[2].partition("?")[0].partition("/")
    return authority.count("@") > 1 or "@" in path


def describe(parameters: dict[str, Any]) -> str:
    """Where a server is, for people: host, port, database and user, never a password."""
    host = parameters.get("host") or parameters.get("hostaddr") or parameters.get("service") or "the default host"
    text = f"PostgreSQL at {host}"
    if port := parameters.get("port"):
        text += f":{port}"
    if database := parameters.get("dbname"):
        text += f", database {database}"
    if user := parameters.get("user"):
        text += f", user {user}"
    return text


def open_connection(parameters: dict[str, Any], where: str, remedy: str) -> Connection:
    """A connection in autocommit mode, with the session's settings made. `remedy` is what to do if there is none.

    Raises:
        RunError: the server does not answer or does not let this user in.
        NotAvailableError: the server is too old.
    """
    given: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, "application_name": "lrpolicy"} | parameters
    try:
        connection = psycopg.connect(**given, autocommit=True)
        connection.execute(_SESSION)
    except psycopg.Error as error:
        reason = _redact(_connect_reason(str(error)), parameters)
        if os.strerror(errno.ENOSPC) in reason:
            remedy = _MEANINGS["53100"]
        raise RunError(f"{where}: cannot connect: {reason}; {remedy}") from None
    version = connection.info.server_version // 10_000
    if version < LEAST_SERVER_VERSION:
        connection.close()
        raise NotAvailableError(f"{where}: is PostgreSQL {version}; lrpolicy needs {LEAST_SERVER_VERSION} or newer")
    return connection


def translate(error: psycopg.Error | UnicodeError, where: str, parameters: dict[str, Any]) -> LrpolicyError:
    """The one-line error of lrpolicy that says what a psycopg error means."""
    text = _redact(_first_line(str(error)), parameters)
    state = getattr(error, "sqlstate", None) or ""
    if state in _MEANINGS:
        return RunError(f"{where}: {text}; {_MEANINGS[state]}")
    if isinstance(error, psycopg.IntegrityError) and (error.diag.message_detail or "").startswith("Key"):
        text += f": {error.diag.message_detail}"
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError | UnicodeError):
        return InputError(f"the database refuses a value: {text}", where=where)
    if is_lost(error):
        return RunError(f"{where}: the connection is lost: {text}; what was stored before is safe, resume the run")
    return RunError(f"{where}: {text}")


def is_lost(error: Exception) -> bool:
    """True when the error means that the connection is gone, not that the command was wrong."""
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, psycopg.OperationalError):
        return state == "" or state.startswith(("08", "57P"))
    return isinstance(error, psycopg.InterfaceError)


def _connect_reason(text: str) -> str:
    """What libpq found, without its preamble about the address, which `where` tells already."""
    reasons = re.findall(r"(?:failed|bad): (?!connection to server)(?:FATAL:\s*)?([^\n]+)", text)
    return str(reasons[-1]) if reasons else _first_line(text)


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0] or "no reason was given"


def _redact(text: str, parameters: dict[str, Any]) -> str:
    for field in ("password", "sslpassword"):
        if secret := parameters.get(field):
            text = text.replace(str(secret), "***")
    return text
