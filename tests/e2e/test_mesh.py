"""Agents that work together, as processes of their own: what their traces say, and what tracing costs them when it fails."""

import json
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from agent_tracer.v1 import trace_pb2
from tests.e2e.otlp import otlp_span, send, spans_request
from tests.e2e.talk import CALL_SECONDS, all_spans, catch_up, stubs
from tests.fixtures.mesh import SECRET
from tests.fixtures.program import Program

ROOT = Path(__file__).resolve().parents[2]
OUTCOMES = {
    "grpc": f"[b'echo {SECRET}']",
    "abort": "StatusCode.NOT_FOUND",
    "raise": "StatusCode.UNKNOWN",
    "late": "StatusCode.DEADLINE_EXCEEDED",
    "left": "2",
    "grpclib": f"[b'{SECRET}']",
    "writer": 0,
}


RUN_SECONDS_MAX: Final = 180
"""What no run takes, even where nobody takes its telemetry: a busy machine needs half a minute."""
SETTINGS = {
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
    # The A2A SDK's own spans of queues and the like, which may still be open when the process ends.
    "OTEL_INSTRUMENTATION_A2A_SDK_ENABLED": "false",
}


def run(endpoint: str, *arguments: str, **settings: str) -> dict[str, Any]:
    """The planner's findings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "AGENT_TRACER_"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.mesh_processes", "planner", *arguments],
        cwd=ROOT,
        env={**kept, **SETTINGS, **settings, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def findings(program: Program) -> dict[str, Any]:
    return run(f"http://127.0.0.1:{program.otlp_grpc}", OTEL_EXPORTER_OTLP_TIMEOUT="60")


@pytest.fixture(scope="module")
def spans(program: Program, findings: dict[str, Any]) -> list[trace_pb2.Span]:
    with stubs(program.target) as stub:
        catch_up(stub)
        return all_spans(stub, findings["trace"])


def one(spans: list[trace_pb2.Span], service: str, name: str, index: int = 0) -> trace_pb2.Span:
    return sorted(
        (s for s in spans if (s.service, s.name) == (service, name)), key=lambda s: s.start_time.ToNanoseconds()
    )[index]


UNARY = "mesh.test.Agent/unary_unary"
PAIRS = [
    (UNARY, UNARY),
    ("mesh.test.Agent/stream_stream", "mesh.test.Agent/stream_stream"),
    ("send task", "receive task"),
]


def test_every_call_ends_as_it_would_without_tracing(findings: dict[str, Any]) -> None:
    assert {name: findings[name] for name in OUTCOMES} == OUTCOMES
    assert (findings["http"], findings["mcp"]) == ("200", "[False, True]")
    assert findings["a2a"].endswith("events")


@pytest.mark.parametrize(("calling", "called"), PAIRS)
def test_both_sides_of_a_call_are_in_one_trace(calling: str, called: str, spans: list[trace_pb2.Span]) -> None:
    client, server = one(spans, "planner", calling), one(spans, "writer", called)
    assert (client.kind, server.kind) == ("client", "server")
    assert server.parent_span_id == client.span_id
    assert (client.agent_id, server.agent_id) == ("planner", "writer")
    (link,) = server.links
    assert link.span_id == client.span_id
    assert link.attributes["ossa.agent.id"] == "planner"
    assert server.attributes["ossa.parent.agent.id"] == "planner"


def test_a_hand_off_by_a2a_is_the_other_agents_invocation(spans: list[trace_pb2.Span]) -> None:
    client, work = one(spans, "planner", "A2A SendMessage"), one(spans, "writer", "invoke_agent writer")
    assert (work.kind, work.agent_id) == ("agent", "writer")
    assert [link.span_id for link in work.links] == [client.span_id]
    above, at = [], {span.span_id: span for span in spans}
    while work.parent_span_id:
        work = at[work.parent_span_id]
        above.append(work.span_id)
    assert client.span_id in above


def test_a_tool_has_a_span_on_both_sides_and_its_error_too(spans: list[trace_pb2.Span]) -> None:
    sides = [
        [one(spans, "planner", "execute_tool echo", n), one(spans, "toolbox", "tools/call echo", n)] for n in (0, 1)
    ]
    assert {span.kind for pair in sides for span in pair} == {"tool"}
    assert {span.tool_name for pair in sides for span in pair} == {"echo"}
    assert [[span.agent_id for span in pair] for pair in sides] == [["planner", "toolbox"]] * 2
    assert [[span.status for span in pair] for pair in sides] == [["unset"] * 2, ["error"] * 2]
    assert len([span for span in spans if span.service == "toolbox" and span.name == "tools/call echo"]) == 2


@pytest.mark.parametrize(
    ("name", "index", "code", "statuses"),
    [
        (UNARY, 1, 5, ("error", "unset")),
        ("mesh.test.Agent/unary_stream", 0, 2, ("error", "error")),
        ("mesh.test.Agent/stream_unary", 0, 4, ("error", "error")),
        ("mesh.test.Agent/unary_stream", 1, 1, ("unset", "unset")),
    ],
    ids=["aborted", "raised half-way", "too late", "left early"],
)
def test_how_a_call_ended_is_on_both_sides(
    name: str, index: int, code: int, statuses: Any, spans: list[trace_pb2.Span]
) -> None:
    pair = [one(spans, service, name, index) for service in ("planner", "writer")]
    assert [span.attributes["rpc.grpc.status_code"] for span in pair] == [code, code]
    assert tuple(span.status for span in pair) == statuses


def test_a_call_that_was_too_late_reads_as_a_timeout(program: Program) -> None:
    trace_id = uuid.uuid4().bytes
    span = otlp_span(trace_id, 1, 0, {"error.type": "DEADLINE_EXCEEDED"})
    span.status.code = Status.STATUS_CODE_ERROR
    send(program, spans_request(span))
    with stubs(program.target) as stub:
        trace = stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id.hex()), timeout=CALL_SECONDS)
    assert trace.status == "timeout"


def test_no_message_is_in_the_store(spans: list[trace_pb2.Span]) -> None:
    assert len(spans) > 15
    assert [span.name for span in spans if SECRET in MessageToJson(span)] == []


ANSWERS: Final = {
    "silent": b"",
    "garbage": b"\x00\xff what is this" * 100,
    "refusing": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "failing": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}
"""What a server that takes no telemetry says to whatever it is sent."""


@pytest.fixture(params=["down", *ANSWERS])
def bad_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """An endpoint that takes no telemetry."""
    server = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{server.getsockname()[1]}"
    held: list[socket.socket] = []

    def answer() -> None:
        while True:
            try:
                held.append(server.accept()[0])
            except OSError:
                return
            if said := ANSWERS[request.param]:
                held[-1].sendall(said)
                held[-1].shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=answer)
    if request.param == "down":
        server.close()
    else:
        thread.start()
    yield address
    with closing(server):
        if thread.ident:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
    for connection in held:
        connection.close()


def test_a_tracing_server_that_does_not_work_costs_no_call(bad_server: str) -> None:
    found = run(bad_server, "grpc")
    assert {name: found[name] for name in OUTCOMES} == OUTCOMES
