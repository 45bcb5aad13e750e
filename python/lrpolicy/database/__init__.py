"""The results database: PostgreSQL, either the user's own server or an embedded one that starts by itself.

    with database.connect() as results:
        run = results.start_run(task, settings)

Importing this package raises NotAvailableError where psycopg is not installed.
"""

from __future__ import annotations

import os
from pathlib import Path

from lrpolicy.database.driver import GivenServer, parse_dsn
from lrpolicy.database.embedded import EmbeddedServer, data_home
from lrpolicy.database.store import Database
from lrpolicy.database.stored import Curve, RunState, Setting, StoredRun, StoredTrial
from lrpolicy.errors import InputError

__all__ = ["Curve", "Database", "RunState", "Setting", "StoredRun", "StoredTrial", "connect", "data_home"]


def connect(dsn: str | None = None, home: Path | None = None) -> Database:
    """Open the results database, with its schema made or brought up to date.

    A DSN (PostgreSQL's URL or key=value form) names a server; with neither `dsn` nor `home`, the variable LRPOLICY_DSN
    does. Otherwise the embedded server of `home` is used (by default the folder of `data_home`) and started if it
    does not run; it ends when its last user closes or dies.

    Raises:
        InputError: a wrong DSN, a home that cannot be written, or a schema newer than this lrpolicy.
        NotAvailableError: the embedded server cannot run here, or the given server is too old.
        RunError: the server does not answer, refuses this user, or is read-only.
    """
    if dsn:
        return Database(GivenServer(parse_dsn(dsn)))
    named = os.environ.get("LRPOLICY_DSN") if home is None else None
    if not named:
        return Database(EmbeddedServer(home))
    try:
        return Database(GivenServer(parse_dsn(named)))
    except InputError as error:
        raise (error if error.where else error.at("LRPOLICY_DSN")) from None
