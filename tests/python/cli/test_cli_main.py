"""How the command line ends: one message, the right status, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest

from lrpolicy import cli
from lrpolicy.cli.interruption import Terminated, held, termination
from lrpolicy.errors import InputError, InterruptedRun, RunError


def install(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `lrpolicy policies` raise."""

    @click.command()
    def fails() -> None:
        raise error

    monkeypatch.setattr(cli._Commands, "get_command", lambda *_: fails)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("rule", where="file:3", got=1, remedy="do this"), 2, "file:3: rule, got 1; do this"),
        (RunError("the disk is full"), 1, "the disk is full"),
        (InterruptedRun("stored"), 130, "stored"),
        (InterruptedRun("stored", signal.SIGTERM), 143, "stored"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 130, "interrupted"),
        (
            MemoryError("Unable to allocate 134. GiB"),
            1,
            "not enough memory: Unable to allocate 134. GiB; a",
        ),
        (MemoryError(), 1, "not enough memory: no more was given; a smaller net"),
        (ZeroDivisionError("x"), 1, "ZeroDivisionError: x; this is a bug in lrpolicy"),
    ],
)
def test_every_error_is_one_line_with_its_status(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LRPOLICY_DEBUG", raising=False)
    install(monkeypatch, error)
    assert cli.run(["policies"]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert len(shown.err.strip().splitlines()) == 1


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LRPOLICY_DEBUG", "1")
    install(monkeypatch, ZeroDivisionError("x"))
    assert cli.run(["policies"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["polices"], ['command "polices" is unknown', 'did you mean "policies"?', "see lrpolicy --help"]),
        (["zzzz"], ["known: data, db, doctor, explain"]),
        (["policies", "--jsno"], ["lrpolicy policies:", "--json", "see lrpolicy policies --help"]),
        (["rate"], ["Missing argument 'SOLVER'"]),
        (["plot", "tri", "--max-iter", "0"], ["--max-iter", "1<=x<="]),
    ],
)
def test_usage_errors(arguments: Sequence[str], parts: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    shown = capsys.readouterr().err
    assert all(part in shown for part in parts), shown


def lrpolicy(*arguments: str, code: str = "from lrpolicy.cli import main; main()") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from lrpolicy.cli import run; run(['--help']);"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = lrpolicy(code=code)
    assert all(f"  {name} " in done.stdout for name in cli.COMMANDS)
    assert not {"torch", "matplotlib", "plotext", "psycopg", "google", "rich"} & set(done.stderr.split())


def test_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert lrpolicy("--version").stdout == f"lrpolicy {version('lrpolicy')}\n"


def run_in_bash(command: str) -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -c 'from lrpolicy.cli import main; main()'"
    return subprocess.run(
        ["bash", "-c", command.replace("lrpolicy", program)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("arguments", ["policies --json", "explain tri2", "plot tri", "--help", "tune --help"])
def test_a_reader_that_leaves_early_gets_no_message(arguments: str) -> None:
    """128 + SIGPIPE, as of cat and grep: neither done nor a failed run."""
    done = run_in_bash(f"lrpolicy {arguments} | true; exit ${{PIPESTATUS[0]}}")
    told = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert (done.returncode, told) == (141, [])


def test_a_reader_that_left_does_not_hide_that_the_input_was_wrong() -> None:
    assert run_in_bash("lrpolicy polices 2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}").returncode == 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_take_everything(closed: str) -> None:
    assert run_in_bash(f"lrpolicy policies {closed}").returncode == 0
    assert run_in_bash(f"lrpolicy polices {closed}").returncode == 2


def test_a_full_disk_is_one_line() -> None:
    done = run_in_bash("lrpolicy policies --json > /dev/full")
    assert (done.returncode, done.stderr) == (1, "standard output: No space left on device\n")


class Terminates(click.Command):
    """A command that gets signals from outside, and puts things away in the end."""

    put_away = False

    def invoke(self, ctx: click.Context) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # timeout sends it to the process, then to the group
            self.put_away = True


def test_sigterm_is_one_line_and_its_own_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, handler = Terminates("terminates"), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli._Commands, "get_command", lambda *_: command)
    assert cli.run(["policies"]) == 143
    assert capsys.readouterr() == ("", "interrupted\n")
    assert command.put_away
    assert signal.getsignal(signal.SIGTERM) is handler


# A module found before the real one: it sends a signal in the midst of its import, then gives way to the real one.
SENDS = """
import os, sys
sys.path.remove(os.path.dirname(__file__))
del sys.modules[__name__]
os.kill(os.getpid(), {number})
for _ in range(1000):  # where Python hears it
    pass
import {module}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["click", "numpy", "torch"])  # of the command line, of the command, of the engine
@pytest.mark.parametrize("arguments", [["tune", "digits"], ["train", "digits", "--max-iter", "1000000"]])
def test_a_signal_while_modules_are_loaded_is_one_line(
    arguments: list[str], module: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if module == "torch":
        pytest.importorskip("torch")
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / f"{module}.py").write_text(SENDS.format(module=module, number=int(number)))
    monkeypatch.setenv("LRPOLICY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LRPOLICY_DSN", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "first"))
    command = [sys.executable, "-m", "lrpolicy", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if not line.startswith("Iteration 0, ")]
    assert (done.returncode, done.stdout, len(told)) == (128 + number, "", 1), done.stderr
    assert told[0].startswith("interrupted")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_options_are_read_keeps_its_status(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli._Commands, "parse_args", lambda *_: os.kill(os.getpid(), number))
    assert cli.run(["policies"]) == 128 + number
    assert capsys.readouterr().err == "interrupted\n"


def test_signals_wait_while_modules_are_loaded() -> None:
    done = False
    with pytest.raises(Terminated), termination(), held():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        done = True
    assert done


def test_a_second_signal_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), held():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        pytest.fail("it waited")


def test_commands_run_in_other_threads_too(capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(1) as pool:  # where no signal can be listened to
        assert pool.submit(cli.run, ["policies"]).result() == 0
