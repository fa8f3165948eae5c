"""A caller with nothing but grpcurl: what there is, how it is called, what went wrong."""

import json
import subprocess
from typing import IO, Any

import httpx
import pytest

from tests.e2e.talk import CALL_SECONDS, create, rest, unique
from tests.fixtures.program import Program
from tests.fixtures.servers import required
from tests.servers.grpcurl import NAME, call, command, refusal, told

pytestmark = pytest.mark.servers
API = "agent_tracer.v1"
CALLS = (
    ("TraceService/GetTrace", "trace_id", "start_time"),
    ("AceService/ScoreAgent", "agent_id", "overall"),
    ("AtlasService/GetCriticalPath", "trace_id", "segments"),
    ("CorrelationService/FindCorrelations", "trace_id", "caveats"),
)


@pytest.fixture(scope="module", autouse=True)
def _grpcurl(request: pytest.FixtureRequest) -> None:
    required(request, NAME)


@pytest.fixture(scope="module")
def made(program: Program) -> dict[str, str]:
    """A trace that is stored."""
    ids = {"trace_id": unique("by-grpcurl"), "agent_id": unique("caller")}
    answer = call(program.target, f"{API}.TraceService/CreateTrace", {**ids, "operation": "work", "duration": 5})
    assert answer["status"] == "success"
    return ids


@pytest.mark.parametrize("port", ["grpc", "rest"])
def test_every_service_is_listed_at_both_ports(program: Program, port: str) -> None:
    listed = told(f"127.0.0.1:{getattr(program, port)}", "list").split()
    assert {f"{API}.{name}Service" for name in ("Trace", "Ace", "Atlas", "Correlation")} <= set(listed)
    assert {"grpc.health.v1.Health", "opentelemetry.proto.collector.trace.v1.TraceService"} <= set(listed)


def test_everything_listed_can_be_described(program: Program) -> None:
    for service in told(program.target, "list").split():
        assert "rpc " in told(program.target, "describe", service), service
    for name in ("TraceService.GetTrace", "Trace", "CreateTraceRequest.trace_id", "ErrorReason"):
        assert told(program.target, "describe", f"{API}.{name}")
    template = told("-msg-template", program.target, "describe", f"{API}.CreateTraceRequest")
    assert '"trace_id": ""' in template


@pytest.mark.parametrize(("method", "by", "answered"), CALLS, ids=[method for method, _, _ in CALLS])
def test_each_service_answers(program: Program, made: dict[str, str], method: str, by: str, answered: str) -> None:
    answer = call(program.target, f"{API}.{method}", {by: made[by]})
    assert answer[answered], answer


def test_an_errors_details_are_decoded(program: Program) -> None:
    missing = refusal(program.target, f"{API}.TraceService/GetTrace", {"trace_id": unique("nobody")})
    (info,) = missing["details"]
    assert (missing["code"], info["reason"], info["domain"]) == (5, "TRACE_NOT_FOUND", "agent-tracer")
    wrong = refusal(program.target, f"{API}.TraceService/CreateTrace", {"duration": -1})
    info, bad = wrong["details"]
    assert (wrong["code"], info["reason"]) == (3, "INVALID_FIELD")
    fields = {violation["field"]: violation["description"] for violation in bad["field_violations"]}
    assert fields.keys() == {"trace_id", "agent_id", "operation", "duration"}
    assert "0 or more" in fields["duration"]


@pytest.mark.parametrize("name", ["ErrorInfo", "BadRequest", "RetryInfo", "QuotaFailure", "ResourceInfo"])
def test_the_types_of_details_are_known(program: Program, name: str) -> None:
    assert f"message {name} " in told(program.target, "describe", f"google.rpc.{name}")


def test_a_live_tail_shows_each_trace_as_it_finishes(program: Program) -> None:
    agent, first, second = unique("tailed"), unique("finished"), unique("finished")
    options = ("-v", "-max-time", str(CALL_SECONDS), "-d", json.dumps({"agent_id": agent}))
    line = command(*options, program.target, f"{API}.TraceService/WatchTraces")
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as tail, rest(program) as http:
        try:
            assert tail.stdout is not None
            _skip_to(tail.stdout, "Response headers received:")
            for trace_id in (first, second):
                create(http, unique("other"), unique("other"))
                create(http, trace_id, agent)
                assert _next_message(tail.stdout)["trace_id"] == trace_id
        finally:
            tail.terminate()


def test_health_is_told_for_each_service(program: Program) -> None:
    for name in ("", f"{API}.AtlasService"):
        assert call(program.target, "grpc.health.v1.Health/Check", {"service": name}) == {"status": "SERVING"}
    assert httpx.get(f"{program.url}/readyz", trust_env=False, timeout=CALL_SECONDS).is_success


def _skip_to(out: IO[str], start: str) -> None:
    assert any(line.startswith(start) for line in out), f"no {start!r} until the end"


def _next_message(out: IO[str]) -> dict[str, Any]:
    _skip_to(out, "Response contents:")
    text = ""
    for line in out:
        text += line
        if line.startswith("}"):
            return dict(json.loads(text))
    raise AssertionError(f"ended within a message: {text}")
