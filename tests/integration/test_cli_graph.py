"""`graph` against a real gRPC server whose answers the test chooses."""

import json
from collections.abc import Iterator

import grpc
import pytest

from agent_tracer.v1 import correlation_pb2 as pb
from tests.integration.cli_server import Server, error_info, refusal, run, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGENT_TRACER_GRPC_URL", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


GRAPH = pb.ServiceGraph(
    nodes=[
        pb.ServiceNode(id="checkout", kind="service", call_count=1200, error_count=12, duration_p95=340),
        pb.ServiceNode(id="pla\x1bnner", kind="agent", call_count=3, duration_p95=2500),
        pb.ServiceNode(id="edge", kind="service"),
    ],
    edges=[
        pb.ServiceEdge(
            source="edge", target="checkout", call_count=1200, error_count=12, duration_p95=340, gap_p95=1.5
        ),
        pb.ServiceEdge(source="checkout", target="pla\x1bnner", call_count=3, duration_p95=2500),
    ],
    caveats=["the store answers"],
)


def test_components_and_calls_are_two_tables(server: Server) -> None:
    server.correlation.put(GRAPH)
    result = run(server, "graph", "--period", "2h")
    assert result.exit_code == 0, result.stderr
    titles, checkout, planner, edge, _, calls, first, second, _, caveat = result.stdout.splitlines()
    assert titles.split() == ["COMPONENT", "KIND", "CALLS", "ERRORS", "P95"]
    assert checkout.split() == ["checkout", "service", "1,200", "12", "(1.0%)", "340", "ms"]
    assert planner.split() == ["pla\\x1bnner", "agent", "3", "0", "2.50", "s"]
    assert edge.split() == ["edge", "service", "0", "0", "-"]
    assert calls.split() == ["CALLER", "CALLEE", "CALLS", "ERRORS", "P95", "GAP", "P95"]
    assert first.split() == ["edge", "→", "checkout", "1,200", "12", "(1.0%)", "340", "ms", "1.5", "ms"]
    assert second.split()[:3] == ["checkout", "→", "pla\\x1bnner"]
    assert caveat == "! the store answers"
    assert [request.period for request in server.correlation.requests] == ["2h"]


def test_long_tables_are_cut_and_the_rest_is_counted(server: Server) -> None:
    server.correlation.put(GRAPH)
    result = run(server, "graph", "--limit", "1")
    assert "and 2 components more: --limit N" in result.stdout
    assert "and 1 edge more: --limit N" in result.stdout


def test_json_is_the_answer(server: Server) -> None:
    server.correlation.put(GRAPH)
    found = json.loads(run(server, "graph", "--json").stdout)
    assert [node["id"] for node in found["nodes"]] == ["checkout", "pla\x1bnner", "edge"]
    assert found["edges"][0]["gapP95"] == 1.5


def test_no_calls_is_said_beside_what_the_answer_lacks(server: Server) -> None:
    server.correlation.put(pb.ServiceGraph(caveats=["not counted yet"]))
    result = run(server, "graph")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == ["No calls in this period.", "! not counted yet"]


def test_a_refusal_is_told(server: Server) -> None:
    server.correlation.refusals.append(
        refusal(grpc.StatusCode.INVALID_ARGUMENT, "period is no period", error_info("INVALID_FIELD"))
    )
    result = run(server, "graph", "--period", "soon")
    assert result.exit_code == 1
    assert "period is no period" in result.stderr
