"""A build's command runs once, whatever becomes of its signals and of what is told about it."""

import argparse
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_tracer.client.buildkit import cli
from agent_tracer.client.buildkit.job import Stage
from agent_tracer.client.buildkit.options import command_line
from agent_tracer.client.buildkit.running import Command

RUNS = "import sys; open('runs', 'a').write('run '); sys.exit(7)"
WAITS = "import sys; open('runs', 'a').write('run '); print('ready', file=open('ready', 'w')); open('go').read(); sys.exit(7)"
"""Both ends are pipes with names, so that nobody waits by the clock."""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, with nowhere to send spans to."""
    for name in [name for name in os.environ if name.startswith(("OTEL_", "AGENT_TRACER", "TRACE", "PHOENIX_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENT_TRACER_URL", "no address")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def options() -> argparse.Namespace:
    return command_line().parse_args(["run", "--agent", "a", "--stage", "deploy"])


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Sends SIGTERM once the command runs, which is another user's, as of sudo: kill(2) answers EPERM.

    The signals that were tried.
    """
    tried: list[int] = []
    os.mkfifo("ready")
    os.mkfifo("go")

    def refuse(_: object, number: int) -> None:
        tried.append(number)
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def send() -> None:
        Path("ready").read_text()
        os.kill(os.getpid(), signal.SIGTERM)
        Path("go").write_text("")  # the signal is pending for this process before this is opened

    monkeypatch.setattr(subprocess.Popen, "send_signal", refuse)
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    yield tried
    sender.join(60)


def test_a_command_that_takes_no_signal_of_ours_runs_on_and_once(
    refused: list[int], options: argparse.Namespace
) -> None:
    assert cli._run(options, python(WAITS)) == 7
    assert refused == [signal.SIGTERM]
    assert Path("runs").read_text() == "run "


def test_a_command_starts_once_however_often_its_code_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    command = Command(python(RUNS))
    assert [command.run(os.environ) for _ in range(2)] == [7, 7]
    assert Path("runs").read_text() == "run "
    missing = Command(["no-such-program"])
    assert [missing.run(os.environ) for _ in range(2)] == [127, 127]
    assert capfd.readouterr().err.count("no-such-program") == 1


def test_a_command_whose_wait_breaks_is_waited_for_again_not_started(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = iter([True])
    wait = subprocess.Popen.wait

    def wait_later(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if next(broken, False):
            raise RuntimeError
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_later)
    assert cli._run(options, python(RUNS)) == 7
    assert Path("runs").read_text() == "run "


def test_telemetry_that_breaks_before_or_after_the_command_leaves_it_its_one_run(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    options.metadata = [None]  # breaks before
    assert cli._run(options, python(RUNS)) == 7
    assert Path("runs").read_text() == "run "

    def broken(_: Stage, code: int) -> int:
        raise RuntimeError(code)

    options.metadata = []
    monkeypatch.setattr(Stage, "exit", broken)
    assert cli._run(options, python(RUNS)) == 7
    assert Path("runs").read_text() == "run run "
