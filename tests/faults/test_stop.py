"""Ends of the started server, asked for and not, and starts that cannot be: always clear, and nothing is lost."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent_tracer.server.limits import HTTP_BODY_SECONDS_MAX, HTTP_DRAIN_SECONDS
from tests.fixtures.load import Load
from tests.fixtures.program import Program, running_program
from tests.fixtures.stored import assert_all_there_once

STOP_SECONDS_MAX = 60
"""On a busy machine; it is some five seconds of its own."""
WAIT_SECONDS = 120

PORTS = {
    "rest": "tracer.port",
    "ace": "tracer.ace_port",
    "atlas": "tracer.atlas_port",
    "grpc": "tracer.grpc_port",
    "otlp_grpc": "otlp.grpc_port",
    "otlp_http": "otlp.http_port",
    "metrics": "metrics.prometheus.port",
}


def stopped(program: Program) -> float:
    """Ask the server to stop, which must go well; how long it took."""
    started = time.monotonic()
    assert program.stop() == 0, program.log[-2000:]
    return time.monotonic() - started


@contextmanager
def slow_upload(port: int, path: str = "/v1/traces") -> Iterator[socket.socket]:
    """A request whose body never ends."""
    with closing(socket.create_connection(("127.0.0.1", port))) as sender:
        head = (
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 1000\r\n\r\n"
        )
        sender.sendall(head.encode() + b"\n")
        yield sender


@contextmanager
def live_tail(program: Program, file: Path) -> Iterator[Callable[[], bool]]:
    """A command that follows the server's traces; whether it has shown one."""
    command = [sys.executable, "-u", "-m", "agent_tracer.server.cli.main", "traces", "tail"]
    command += ["--endpoint", program.target]
    with file.open("wb") as shown, subprocess.Popen(command, stdout=shown, stderr=subprocess.DEVNULL) as tail:
        try:
            yield lambda: file.stat().st_size > 0
        finally:
            tail.kill()


def readiness(program: Program) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{program.metrics}/readyz", timeout=WAIT_SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            assert error.code == 503
            found = json.load(error)
    return found


def is_stopping(program: Program) -> bool:
    """Whether it has heard that it should: it says so, or nothing any more."""
    try:
        return not readiness(program)["components"]["server"]["ok"]
    except OSError:
        return True


def failed_start(program: Program) -> str:
    """Start a server that cannot; what it says. It must end with 1, leave nothing behind, and say no more than that."""
    before = len(program.log) if (program.folder / "log").exists() else 0
    program.launch()
    code = program.ended(WAIT_SECONDS)
    said = program.log[before:]
    assert code == 1, said
    assert "Traceback" not in said, said
    return said


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_stopping_under_load_loses_nothing_and_ends_in_time(tmp_path: Path) -> None:
    with running_program(tmp_path) as program:
        with Load(program.target, senders=4) as load:
            load.wait_for_more(3_000)
            assert stopped(program) < STOP_SECONDS_MAX
        assert_all_there_once(load, program.folder / "data")
        assert "Traceback" not in program.log
        assert all(is_free(getattr(program, port)) for port in PORTS)


def test_stopping_waits_neither_for_slow_senders_nor_for_live_tails_for_long(tmp_path: Path) -> None:
    with running_program(tmp_path) as program:
        with live_tail(program, tmp_path / "tail") as has_begun, Load(program.target) as load:
            wait_until(has_begun)
            with slow_upload(program.otlp_http), slow_upload(program.rest):
                load.wait_for_more(100)
                assert stopped(program) < HTTP_BODY_SECONDS_MAX, "for so long the senders would have kept it"
        assert_all_there_once(load, program.folder / "data")


def test_a_second_signal_ends_the_server_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    with running_program(tmp_path) as program, slow_upload(program.otlp_http):
        with Load(program.target) as load:
            load.wait_for_more(500)
            assert program.process is not None
            program.process.send_signal(signal.SIGTERM)
            wait_until(lambda: is_stopping(program))  # two signals at the same moment may become one
            assert program.process.poll() is None, "the slow sender keeps it"
            started = time.monotonic()
            program.process.send_signal(signal.SIGTERM)
            assert program.ended(WAIT_SECONDS) == 128 + signal.SIGTERM
            assert time.monotonic() - started < HTTP_DRAIN_SECONDS, "for so long the sender would have kept it"
        program.start()
        stopped(program)
        assert_all_there_once(load, program.folder / "data")


def test_a_signal_during_the_start_stops_the_server_in_good_order(tmp_path: Path) -> None:
    with running_program(tmp_path) as program:
        stopped(program)
        program.launch()
        assert program.process is not None
        time.sleep(2)  # somewhere in the start
        program.process.send_signal(signal.SIGTERM)
        assert program.ended(WAIT_SECONDS) in (0, -signal.SIGTERM), "-15: before Python had a handler"
        assert "Traceback" not in program.log
        program.start()


@pytest.mark.parametrize(("attribute", "setting"), PORTS.items())
def test_a_port_that_somebody_has_is_named_with_its_setting(tmp_path: Path, attribute: str, setting: str) -> None:
    program = Program(tmp_path)
    port = getattr(program, attribute)
    with socket.create_server(("127.0.0.1", port)):
        said = failed_start(program)
    assert f"port {port}" in said
    assert setting in said
    others = [getattr(program, other) for other in PORTS if other != attribute]
    assert all(map(is_free, others))


def test_a_second_server_on_the_directory_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with running_program(tmp_path / "one") as program:
        other = Program(tmp_path / "two", {"data_dir": str(program.folder / "data")})
        said = failed_start(other)
        assert f"process {program.pid}" in said
        assert "--data-dir" in said
        with Load(program.target, senders=1) as load:
            load.wait_for_more(10)


@pytest.mark.parametrize("place", ["data", "data/journal", "data/store"])
def test_a_directory_that_cannot_be_written_is_named_with_its_setting(tmp_path: Path, place: str) -> None:
    program = Program(tmp_path)
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text("in the way")
    said = failed_start(program)
    assert "data_dir" in said
    assert str(file) in said


def test_a_store_of_a_later_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with running_program(tmp_path) as program:
        stopped(program)
        later = "INSERT INTO schema_versions (version, name) VALUES (999, 'tables')"
        on_store(program, later)
        said = failed_start(program)
        assert "version 999" in said
        assert "later release" in said
        on_store(program, "ALTER TABLE schema_versions DELETE WHERE version = 999 SETTINGS mutations_sync = 1")
        program.start()


def on_store(program: Program, statement: str) -> None:
    """Run a statement on a stopped server's store."""
    script = (
        "import sys, clickhouse_connect as c; c.get_client(interface='chdb', path=sys.argv[1]).command(sys.argv[2])"
    )
    store = str(program.folder / "data" / "store")
    subprocess.run([sys.executable, "-c", script, store, statement], check=True, timeout=WAIT_SECONDS)


def test_envoy_that_ends_by_itself_is_told_and_comes_back(tmp_path: Path) -> None:
    with running_program(tmp_path) as program:
        wait_until(lambda: readiness(program)["ready"])
        kill_envoy(program)
        wait_until(lambda: not readiness(program)["components"]["envoy"]["ok"])
        with Load(program.target, senders=1) as load:
            load.wait_for_more(10)  # only REST is away
        wait_until(lambda: readiness(program)["ready"])
        with urllib.request.urlopen(f"{program.url}/api/v1/traces", timeout=WAIT_SECONDS) as answer:
            assert answer.status == 200
        kill_envoy(program)
        assert stopped(program) < STOP_SECONDS_MAX, "while it is being started again"


def kill_envoy(program: Program) -> None:
    found = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(program.pid)], capture_output=True, check=True)
    (pid,) = [int(line.split()[0]) for line in found.stdout.decode().splitlines() if "envoy" in line]
    subprocess.run(["kill", "-9", str(pid)], check=True)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
