"""`correlate` against a real gRPC server whose answers the test chooses."""

import json
from collections.abc import Iterator

import grpc
import pytest

from agent_tracer.v1 import correlation_pb2 as pb
from tests.integration.cli_server import START, Server, error_info, refusal, run, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    for name in ("AGENT_TRACER_GRPC_URL", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def found() -> pb.Correlations:
    answer = pb.Correlations(
        trace=pb.TraceRef(id="t-1", status="error"),
        related_traces=[
            pb.RelatedTrace(id="t-2", correlation=0.95, status="error", reasons=["failed in the same way"])
        ],
        metrics=[
            pb.RelatedMetric(
                name="db.pool.in_use", value=38.2, baseline=8.1, correlation=1, q_value=1e-9, service="payment"
            )
        ],
        logs=[pb.RelatedLog(level="ERROR", message="refused\x1b[2J", correlation=0.9, service="payment", count=26)],
        events=[pb.RelatedEvent(name="deploy d-7", correlation=0.98, service="payment", detail="1.4 is live")],
        root_cause=pb.RootCauseHint(type="connection_pool", confidence=0.81, component="payment"),
        caveats=["held against the 2 h before"],
    )
    answer.events[0].time.seconds = START
    return answer


def test_every_list_is_told_with_the_guess_first(server: Server) -> None:
    server.correlation.put(found())
    result = run(server, "correlate", "--trace-id", "t-1", "--time-window", "10m")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("t-1")
    assert lines[1] == "likely: connection pool in payment  (81.0%)"
    assert "Related traces" in lines
    assert any("db.pool.in_use" in line and "8.1" in line and "38.2" in line and "<0.001" in line for line in lines)
    assert any("refused\\x1b[2J" in line or "refused\\u001b[2J" in line for line in lines)
    assert any("deploy d-7" in line and "2026-" in line for line in lines)
    assert lines[-1] == "! held against the 2 h before"
    (request,) = server.correlation.requests
    asked = request.trace_id, request.include_metrics, request.include_logs, request.include_events
    assert (*asked, request.time_window) == ("t-1", True, True, True, "10m")


def test_empty_lists_are_one_line_and_what_is_not_wanted_is_not_asked_for(server: Server) -> None:
    server.correlation.put(pb.Correlations(trace=pb.TraceRef(id="t-1", status="success")))
    result = run(server, "correlate", "t-1", "--no-metrics", "--no-logs", "--no-events")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "none: related traces, metrics, logs, events"
    (request,) = server.correlation.requests
    assert [request.include_metrics, request.include_logs, request.include_events] == [False, False, False]


def test_json_is_the_apis(server: Server) -> None:
    server.correlation.put(found())
    answer = json.loads(run(server, "correlate", "t-1", "--json").stdout)
    assert answer["relatedTraces"][0]["id"] == "t-2"
    assert answer["metrics"][0]["qValue"] == pytest.approx(1e-9)
    assert answer["rootCause"]["component"] == "payment"


def test_an_unknown_trace_ends_with_one(server: Server) -> None:
    server.correlation.refusals = [
        refusal(grpc.StatusCode.NOT_FOUND, "no trace 't-9' is stored", error_info("TRACE_NOT_FOUND"))
    ]
    result = run(server, "correlate", "t-9")
    assert result.exit_code == 1
    assert "no trace 't-9' is stored" in result.stderr


def test_without_a_trace_id_nobody_is_asked(server: Server) -> None:
    assert run(server, "correlate").exit_code == 2
    assert server.correlation.requests == []
