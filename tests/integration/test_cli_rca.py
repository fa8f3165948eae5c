"""`rca` against a real gRPC server whose answers the test chooses."""

from collections.abc import Iterator

import pytest
from google.protobuf import json_format

from agent_tracer.v1 import correlation_pb2 as pb
from tests.integration.cli_server import START, Server, run, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    for name in ("AGENT_TRACER_GRPC_URL", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def analysis() -> pb.RootCauseAnalysis:
    cause = pb.RootCause(component="payment", issue="payment runs out of connections", confidence=0.84, change="d-7")
    found = pb.RootCauseAnalysis(
        incident_id="i-1",
        root_cause=cause,
        causal_chain=["payment: its pool filled up", "cart: alert on latency"],
        affected_services=["cart"],
        recommendations=["Raise the pool of payment."],
        candidates=[cause, pb.RootCause(component="stock", issue="stock is slow", confidence=0.1)],
        caveats=["no logs of the time were there to look at"],
    )
    for number in range(7):
        each = found.evidence.add(
            component="payment", channel="metric", description=f"pool {number}\x1b[2J", strength=9
        )
        each.time.seconds = START + 60 * (7 - number)
    found.evidence.add(component="stock", channel="latency", description="its own time rose", strength=1)
    return found


def test_the_cause_the_chain_and_what_to_do_are_shown(server: Server) -> None:
    server.correlation.put(analysis())
    result = run(server, "rca", "--incident-id", "i-1", "--time-window", "2h", "--depth", "4")
    assert result.exit_code == 0, result.stderr
    (request,) = server.correlation.requests
    assert request == pb.AnalyzeRootCauseRequest(incident_id="i-1", time_window="2h", depth=4)
    lines = result.stdout.splitlines()
    assert lines[:2] == ["i-1", "✗ payment runs out of connections"]
    assert "confidence 84.0%" in lines[2]
    assert "change d-7" in lines[2]
    for heading in ("How it came about", "What to do", "Candidates", "Evidence"):
        assert heading in lines
    assert "→ cart: alert on latency" in lines
    assert "- Raise the pool of payment." in lines
    assert lines[-1] == "! no logs of the time were there to look at"


def test_evidence_is_a_branch_a_component_in_order_of_time(server: Server) -> None:
    server.correlation.put(analysis())
    lines = run(server, "rca", "--incident-id", "i-1").stdout.splitlines()
    begin = lines.index("Evidence")
    branches = lines[begin + 1 : begin + 9]
    assert branches[0] == "payment"
    assert [line[:3] for line in branches[1:7]] == ["├─ "] * 5 + ["└─ "]
    assert [line.split()[1:3] for line in branches[1:6]] == sorted(line.split()[1:3] for line in branches[1:6])
    assert branches[6] == "└─ … 2 more: --json"
    assert branches[7] == "stock"
    assert "\x1b" not in "".join(lines), "what was received does not steer the terminal"


def test_an_abstention_says_why(server: Server) -> None:
    server.correlation.put(pb.RootCauseAnalysis(incident_id="i-1", abstained_reason="nothing moved"))
    result = run(server, "rca", "--incident-id", "i-1")
    assert result.stdout.splitlines() == ["i-1", "? No cause is named: nothing moved"]


def test_json_is_the_answer(server: Server) -> None:
    server.correlation.put(analysis())
    result = run(server, "rca", "--incident-id", "i-1", "--json")
    assert json_format.Parse(result.stdout, pb.RootCauseAnalysis()) == analysis()
