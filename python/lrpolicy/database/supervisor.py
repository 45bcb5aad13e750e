"""The process that stands between lrpolicy and its embedded PostgreSQL; run as a script, never imported for its work.

It makes the data directory if there is none, starts the server, and stops it when the last user is gone. All of
that rests on two `flock`ed files, whose locks the kernel releases whatever kills a process:

- every user holds a shared lock on the users file, so an exclusive lock on it means that nobody is left;
- the exclusive lock on the server file is handed down to every process of the server, so whoever gets it next knows
  that the server before is gone to its last process.

A supervisor that is killed takes the server with it (Linux: the parent-death signal). Only the standard library is
used, so that it starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

OWNER = "lrpolicy"
PREFIX = "lrpolicy: "  # of our own lines in the server's log
PORT = 5432  # names the socket file; nothing listens on a network
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class CannotServeError(Exception):
    """The server cannot run here; the message says why and what to do."""


def main(programs: str, folder: str, sockets: str, users_file: str, server_lock: str) -> None:
    """Serve `folder`/data through a socket in the directory `sockets` until the users file is free.

    `server_lock` is the descriptor of the locked server file. Returns at once in the caller's process; the
    supervisor goes on in a session of its own, so that Ctrl-C in the caller's terminal does not reach it.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    users = os.open(users_file, os.O_RDWR)
    try:
        _become_ordinary(Path(programs), Path(folder))
        _make_private(Path(sockets))
        data = Path(folder, "data")
        if not data.exists():
            _create(programs, data)
        server = _start(programs, data, sockets, int(server_lock))
    except (CannotServeError, OSError) as error:
        print(f"{PREFIX}{error}", file=sys.stderr, flush=True)
        sys.exit(1)
    ending = threading.Thread(target=_end_with, args=(server, Path(sockets)))
    ending.start()
    fcntl.flock(users, fcntl.LOCK_EX)  # granted when the last user is gone
    server.send_signal(signal.SIGINT)  # fast shutdown
    ending.join()


def _become_ordinary(programs: Path, folder: Path) -> None:
    """Take on a user under which PostgreSQL agrees to run: not number 0, and one that has a name.

    Root becomes the owner of `folder`. Where that is root itself, or a user without a name, another number is shown
    in a user namespace: the files stay the user's own. Where namespaces are not permitted, root gives a new folder
    to an existing account.
    """
    found = folder.stat()
    if os.geteuid() == 0 and found.st_uid != 0:
        _change_to(found.st_uid, found.st_gid, programs, folder)
    user = os.geteuid()
    if user != 0 and _has_name(user):
        return
    try:
        enter_user_namespace()
    except OSError as error:
        if user != 0:
            raise CannotServeError(f"user {user} has no account, and no user namespace is permitted: {error}") from None
        if (folder / "data").exists():
            raise CannotServeError(f"{folder} is root's, and no user namespace is permitted: {error}") from None
        account = _unprivileged_account()
        _change_to(account.pw_uid, account.pw_gid, programs, folder)
    else:
        _check_reach(programs, folder)


def enter_user_namespace() -> None:
    """Give this process another user number, seen by itself only: its files still belong to the calling user.

    Raises:
        OSError: user namespaces are not permitted here.
    """
    inner = _unprivileged_account().pw_uid
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"unshare: {os.strerror(code)}")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inner} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inner} {gid} 1")


def _has_name(user: int) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwuid(user).pw_name)
    return False


def _unprivileged_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise CannotServeError("this system has neither an account postgres nor an account nobody")


def _change_to(user: int, group: int, programs: Path, folder: Path) -> None:
    """Drop root's rights for good, once it is sure that the user can do the work; `folder` becomes the user's."""
    before = folder.stat()
    os.chown(folder, user, group)
    os.setgroups([])
    os.setegid(group)
    os.seteuid(user)
    try:
        _check_reach(programs, folder)
    except CannotServeError:
        os.seteuid(0)
        os.chown(folder, before.st_uid, before.st_gid)
        raise
    os.seteuid(0)
    os.setgid(group)
    os.setuid(user)


def _check_reach(programs: Path, folder: Path) -> None:
    for path, mode in ((programs / "postgres", os.R_OK | os.X_OK), (folder, os.R_OK | os.W_OK | os.X_OK)):
        if not os.access(path, mode, effective_ids=True):
            user = os.geteuid()
            name = pwd.getpwuid(user).pw_name if _has_name(user) else f"user {user}"
            remedy = f"run as an ordinary user, or keep it where {name} can go (mkdir -m 711 /var/lib/lrpolicy)"
            raise CannotServeError(f"PostgreSQL refuses to run as root, and {name} cannot reach {path}; {remedy}")


def _make_private(sockets: Path) -> None:
    """Make the socket's directory, anew if a killed server left one with its lock file."""
    if os.path.lexists(sockets):
        found = sockets.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise CannotServeError(f"{sockets} is there, and it is not a private directory of this user; remove it")
        shutil.rmtree(sockets)
    sockets.mkdir(mode=0o700)


def _create(programs: str, data: Path) -> None:
    """Run initdb beside the final place, then rename: the data directory is there whole or not at all."""
    unfinished = data.with_name(data.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    options = ["--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject", "--no-instructions"]
    options.append("--wal-segsize=1")  # MB; the results are small
    command = [f"{programs}/initdb", f"--pgdata={unfinished}", f"--username={OWNER}", *options]
    done = subprocess.run(command, env=_environment(), stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise CannotServeError(f"initdb ended with status {done.returncode}")
    unfinished.rename(data)


def _start(programs: str, data: Path, sockets: str, server_lock: int) -> subprocess.Popen[bytes]:
    _forget_dead_server(data)
    quoted = sockets.replace('"', '""')
    settings = _SERVER_SETTINGS | {"unix_socket_directories": f'"{quoted}"'}
    arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
    return subprocess.Popen(
        [f"{programs}/postgres", "-D", str(data), *arguments],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        pass_fds=(server_lock,),
        preexec_fn=_die_with_parent,  # noqa: PLW1509  (no thread runs yet)
    )


def _forget_dead_server(data: Path) -> None:
    """Remove the note of a server that was killed, unless a process with its number works in `data`.

    PostgreSQL itself would take a zombie, or another program that got the number since, for that server; both are
    common in containers. Our own servers are gone for sure: this process has the server lock.
    """
    note = data / "postmaster.pid"
    if not note.exists() or not Path("/proc/self").exists():
        return
    number = note.read_text().split("\n", 1)[0]
    with contextlib.suppress(OSError):
        if Path("/proc", number, "cwd").samefile(data):
            return
    note.unlink()


def _environment() -> dict[str, str]:
    """This environment less PostgreSQL's own variables, which could redirect the server; messages in English."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _end_with(server: subprocess.Popen[bytes], sockets: Path) -> None:
    """End this process when the server ends, by itself or stopped, so that the next user starts another."""
    status = server.wait()
    with contextlib.suppress(OSError):
        sockets.rmdir()
    os._exit(min(abs(status), 255))


if __name__ == "__main__":
    main(*sys.argv[1:])
