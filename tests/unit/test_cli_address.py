"""Where commands look for the server: flag, the variable for gRPC, the variable that agents send by, this machine."""

import pytest
from typer.testing import CliRunner

from agent_tracer.server.cli.connection import server_address
from agent_tracer.server.cli.errors import WrongUsageError
from agent_tracer.server.cli.root import build

URL = "AGENT_TRACER_URL"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("", "127.0.0.1:50051"),
        ("localhost", "localhost:50051"),
        ("http://observability", "observability:50051"),
        ("http://observability:3007", "observability:50051"),
        ("http://observability:3009/", "observability:50051"),
        ("http://10.0.0.1:4318/v1/traces", "10.0.0.1:50051"),
        ("grpc://10.0.0.1:4317", "10.0.0.1:50051"),
        ("http://me:secret@10.0.0.1:3007", "10.0.0.1:50051"),
        ("http://[::1]:3007", "[::1]:50051"),
        ("localhost:50052", "localhost:50052"),
    ],
)
def test_the_server_of_the_agents_is_asked_on_its_port_for_grpc(
    monkeypatch: pytest.MonkeyPatch, url: str, address: str
) -> None:
    monkeypatch.setenv(URL, url)
    assert server_address(None) == address


def test_what_is_given_goes_before_the_server_of_the_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "http://observability:3007")
    assert server_address("localhost:1") == "localhost:1"


@pytest.mark.parametrize(
    "url", ["https://me:secret@observability", "http://:3007", "http://me:secret@h:port", "ftp://h"]
)
def test_a_server_of_the_agents_that_cannot_be_called_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(URL, url)
    with pytest.raises(WrongUsageError) as refused:
        server_address(None)
    assert URL in str(refused.value)
    assert "AGENT_TRACER_GRPC_URL" in refused.value.hints[0]
    assert "secret" not in f"{refused.value} {refused.value.hints}"


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({URL: "http://127.0.0.1:3"}, "127.0.0.1:3"),
        ({URL: "http://127.0.0.1:3", "AGENT_TRACER_GRPC_URL": "127.0.0.1:2"}, "127.0.0.1:2"),
    ],
)
def test_a_command_asks_where_its_environment_says(environment: dict[str, str], asked: str) -> None:
    result = CliRunner().invoke(build(), ["traces", "list"], env={"AGENT_TRACER_GRPC_URL": "", **environment})
    assert result.exit_code == 3
    assert f"the server at {asked} does not answer" in result.stderr
