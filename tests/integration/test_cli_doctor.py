"""`doctor` against a real gRPC server: which one it asks, and what of this machine it looks at."""

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_tracer.server.cli.root import build
from tests.integration.cli_server import Server, run, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGENT_TRACER_GRPC_URL", "AGENT_TRACER_URL"):
        monkeypatch.delenv(name, raising=False)


def config_of(server: Server, folder: Path) -> str:
    file = folder / "tracer.yaml"
    file.write_text(json.dumps({"data_dir": str(folder), "tracer": {"grpc_port": port_of(server)}}))
    return str(file)


def port_of(server: Server) -> int:
    return int(server.endpoint.rpartition(":")[2])


def test_doctor_without_a_server_says_so_and_exits_3(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(build(), ["doctor", "--endpoint", endpoint, "--data-dir", str(tmp_path)])
    assert result.exit_code == 3
    assert "FAIL  server" in result.stdout
    assert "OK    data directory" in result.stdout


def test_doctor_names_who_holds_a_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = tmp_path / "tracer.yaml"
        file.write_text(f"tracer: {{port: {port}, grpc_port: 1}}\n")
        result = CliRunner().invoke(build(), ["doctor", "--config", str(file)])
    assert f"port {port}" in result.stdout
    assert f"(pid {os.getpid()})" in result.stdout
    assert "set tracer.port to another port" in result.stdout


class NotReady(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        components = {
            "journal": {"ok": True, "detail": ""},
            "store": {"ok": False, "detail": "starts\x1b[2J"},
        }
        self.send_response(503)
        self.end_headers()
        self.wfile.write(json.dumps({"ready": False, "components": components}).encode())

    def log_message(self, *_arguments: object) -> None:
        """Nothing: pytest's output is not the server's."""


def test_doctor_tells_each_component_that_is_not_ready(server: Server, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), NotReady) as front:
        thread = threading.Thread(target=front.serve_forever)
        thread.start()
        try:
            file = tmp_path / "tracer.yaml"
            ports = {"port": front.server_address[1], "grpc_port": port_of(server)}
            file.write_text(json.dumps({"tracer": ports}))
            result = run(server, "doctor", "--config", str(file))
        finally:
            front.shutdown()
            thread.join()
    assert "not ready (503)" in result.stdout
    assert re.search(r"OK +journal +ready", result.stdout)
    assert re.search(r"WARN +store +starts\\x1b\[2J", result.stdout)


@pytest.mark.parametrize("environment", [{}, {"AGENT_TRACER_GRPC_URL": "h:1"}, {"AGENT_TRACER_URL": "http://h:1"}])
def test_doctor_asks_the_server_that_its_configuration_is_of(
    server: Server, tmp_path: Path, environment: dict[str, str]
) -> None:
    result = CliRunner().invoke(build(), ["doctor", "--config", config_of(server, tmp_path)], env=environment)
    assert result.exit_code == 0, result.output
    assert re.search("server +answers", result.stdout)
    assert f"OK    port {port_of(server)}" in result.stdout
    assert "OK    data directory" in result.stdout
    assert "FAIL" not in result.stdout


@pytest.mark.parametrize("where", ["--endpoint", "AGENT_TRACER_GRPC_URL", "AGENT_TRACER_URL"])
def test_doctor_looks_at_no_ports_of_a_configuration_that_is_not_the_servers(server: Server, where: str) -> None:
    flags, environment = ([where, server.endpoint], {}) if where == "--endpoint" else ([], {where: server.endpoint})
    result = CliRunner().invoke(build(), ["doctor", *flags], env=environment)
    assert result.exit_code == 0, result.output
    assert re.search("server +answers", result.stdout)
    assert "not looked at: this configuration is of a server with gRPC at 127.0.0.1:50051" in result.stdout
    assert not re.search("(?m)^WARN  (port|http)", result.stdout)


def test_doctor_asks_a_server_that_listens_everywhere_on_this_machine(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "tracer.yaml"
    file.write_text(json.dumps({"tracer": {"host": "0.0.0.0", "grpc_port": port_of(server)}}))  # noqa: S104
    result = CliRunner().invoke(build(), ["doctor", "--config", str(file), "--data-dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert re.search("server +answers", result.stdout)
