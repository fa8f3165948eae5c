"""What the API refuses, on which port it answers, and that pages and ids hold: over REST and gRPC alike."""

import time
import uuid
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import grpc
import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2

from agent_tracer.v1 import trace_pb2
from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub
from tests.e2e.talk import (
    CALL_SECONDS,
    SECOND_NS,
    TRACES,
    catch_up,
    create,
    error_info,
    grpc_refusal,
    message,
    refusal,
    rest,
    stubs,
    unique,
    wrong_fields,
)
from tests.fixtures.otlp_requests import span, trace_request
from tests.fixtures.program import Program

JSON: Final = {"content-type": "application/json"}
PROTOBUF: Final = {"content-type": "application/x-protobuf"}


@pytest.fixture
def http(program: Program) -> Iterator[httpx.Client]:
    with rest(program) as client:
        yield client


@pytest.fixture
def stub(program: Program) -> Iterator[TraceServiceStub]:
    with stubs(program.target) as made:
        yield made


REFUSED: Final[tuple[tuple[str, str, dict[str, Any], str], ...]] = (
    ("/nobody-sent-this", "GetTrace", {"trace_id": "nobody-sent-this"}, ""),
    ("/nobody-sent-this/spans", "ListSpans", {"trace_id": "nobody-sent-this"}, ""),
    ("?status=sucess", "ListTraces", {"status": "sucess"}, "status"),
    ("?period=5x", "ListTraces", {"period": "5x"}, "period"),
    ("?page_token=zzz", "ListTraces", {"page_token": "zzz"}, "page_token"),
    ("?page_size=-1", "ListTraces", {"page_size": -1}, "page_size"),
    ("?min_duration=-5", "ListTraces", {"min_duration": -5}, "min_duration"),
    ("?attributes=novalue", "ListTraces", {"attributes": ["novalue"]}, "attributes"),
    (":aggregate?group_by=colour", "AggregateTraces", {"group_by": ["colour"]}, "group_by"),
    (":aggregate?interval=often", "AggregateTraces", {"interval": "often"}, "interval"),
    ("/%7f", "GetTrace", {"trace_id": "\x7f"}, "trace_id"),
    ("/" + "x" * 257, "GetTrace", {"trace_id": "x" * 257}, "trace_id"),
)


@pytest.mark.parametrize(("path", "method", "fields", "wrong"), REFUSED, ids=[f"{r[1]}{r[0][:30]}" for r in REFUSED])
def test_refusals_say_the_same_by_rest_and_grpc(
    http: httpx.Client, stub: TraceServiceStub, path: str, method: str, fields: dict[str, Any], wrong: str
) -> None:
    answer = http.get(TRACES + path)
    by_rest = refusal(answer)
    request = getattr(trace_pb2, f"{method}Request")(**fields)
    by_grpc = grpc_refusal(lambda: getattr(stub, method)(request, timeout=CALL_SECONDS))
    assert by_rest == by_grpc
    if wrong:
        assert answer.status_code == 400
        assert [field.partition("[")[0] for field in wrong_fields(by_rest)] == [wrong]
        assert error_info(by_rest).reason == "INVALID_FIELD"
    else:
        assert answer.status_code == 404
        assert error_info(by_rest).metadata["trace_id"] == "nobody-sent-this"


@pytest.mark.parametrize(
    ("path", "named"),
    [("?colour=red", "colour"), ("?page_size=many", "page_size"), (":aggregate?perod=24h", "perod")],
)
def test_what_the_contract_does_not_know_is_named(http: httpx.Client, path: str, named: str) -> None:
    answer = http.get(TRACES + path)
    status = refusal(answer)
    assert answer.status_code == 400
    assert named in status.message
    assert error_info(status).reason == "INVALID_FIELD"


def test_a_wrong_body_is_named(http: httpx.Client, stub: TraceServiceStub) -> None:
    bad: Any = {"traceId": unique("bad"), "agentId": "a", "operation": "o", "duration": -1, "status": "sucess"}
    answer = http.post(TRACES, json=bad)
    by_grpc = grpc_refusal(
        lambda: stub.CreateTrace(
            trace_pb2.CreateTraceRequest(
                trace_id=bad["traceId"], agent_id="a", operation="o", duration=-1, status="sucess"
            )
        )
    )
    assert refusal(answer) == by_grpc
    assert sorted(wrong_fields(by_grpc)) == ["duration", "status"]
    assert http.post(TRACES, json={"traceId": "only"}).status_code == 400


PORTS: Final = (
    ("rest", "/api/v1/ace/benchmarks"),
    ("rest", "/api/v1/atlas/analytics/a"),
    ("ace", "/api/v1/traces"),
    ("ace", "/api/v1/atlas/analytics/a"),
    ("atlas", "/api/v1/traces"),
    ("atlas", "/api/v1/ace/benchmarks"),
)


@pytest.mark.parametrize(("port", "path"), PORTS)
def test_each_port_answers_for_its_own_service_only(program: Program, port: str, path: str) -> None:
    with rest(program, getattr(program, port)) as client:
        answer = client.get(path)
    assert (answer.status_code, refusal(answer).code) == (404, code_pb2.NOT_FOUND)


def test_grpc_through_the_rest_ports_is_isolated_too(program: Program) -> None:
    with stubs(f"127.0.0.1:{program.rest}") as traces:
        assert traces.ListTraces(trace_pb2.ListTracesRequest(page_size=1)) is not None
    for port in (program.ace, program.atlas):
        with stubs(f"127.0.0.1:{port}") as traces, pytest.raises(grpc.RpcError) as refused:
            traces.ListTraces(trace_pb2.ListTracesRequest(page_size=1))
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_pages_stay_right_while_new_traces_arrive(http: httpx.Client, stub: TraceServiceStub) -> None:
    agent = unique("paged")
    older = [unique("old") for _ in range(25)]
    for number, trace_id in enumerate(older):
        create(http, trace_id, agent, startTime=_second(number))
    catch_up(stub)
    seen: list[str] = []
    request = trace_pb2.ListTracesRequest(agent_id=agent, page_size=4)
    for number in range(100):
        page = stub.ListTraces(request)
        seen += [trace.trace_id for trace in page.traces]
        if not page.next_page_token:
            break
        create(http, unique("new"), agent, startTime=_second(1000 + number))
        # One that is older than all: it belongs on the last page.
        if number == 0:
            older.insert(0, unique("late"))
            create(http, older[0], agent, startTime=_second(-1000))
        catch_up(stub)
        request.page_token = page.next_page_token
    assert seen == older[::-1]


def _second(number: int) -> str:
    made = Timestamp()
    made.FromNanoseconds(1_700_000_000 * SECOND_NS + number * SECOND_NS)
    return made.ToJsonString()


NAMES: Final = (
    "with/slash/es", "per%cent %2F %25", "späte Lieferung", "日本語のトレース", "🧪🔬", "a b\u00a0c", "quote'\"\\back",
    "<script>alert(1)</script>", "'; DROP TABLE spans; --", "x" * 256, "é" * 256, "?query=1&x#fragment", "..", ".",
    "trace:watch", "{braces}", "ends.with:aggregate",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_text_is_an_id(http: httpx.Client, stub: TraceServiceStub, name: str) -> None:
    created = create(http, name, name)
    assert created.trace_id == name
    by_grpc = stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=name))
    assert (by_grpc.trace_id, by_grpc.agent_id) == (name, name)
    if name not in (".", ".."):  # dot segments, which clients and proxies resolve in a path (RFC 3986, 5.2.4)
        by_rest = http.get(f"{TRACES}/{quote(name, safe='')}")
        assert message(by_rest, trace_pb2.Trace) == by_grpc
    catch_up(stub)
    listed = message(http.get(TRACES, params={"agent_id": name}), trace_pb2.ListTracesResponse)
    assert [trace.trace_id for trace in listed.traces] == [name]


def test_one_character_more_is_refused(http: httpx.Client, stub: TraceServiceStub) -> None:
    for name in ("x" * 257, "é" * 257):
        answer = http.post(TRACES, json={"traceId": name, "agentId": name, "operation": "o"})
        assert answer.status_code == 400
        assert wrong_fields(refusal(answer)) == ["trace_id", "agent_id"]
        request = trace_pb2.CreateTraceRequest(trace_id=name, agent_id=name, operation="o")
        by_grpc = grpc_refusal(lambda request=request: stub.CreateTrace(request))  # type: ignore[misc]
        assert by_grpc == refusal(answer)


def test_watch_refuses_an_unknown_status_before_anything_else(http: httpx.Client) -> None:
    answer = http.get(f"{TRACES}:watch", params={"status": "sucess"})
    assert (answer.status_code, wrong_fields(refusal(answer))) == (400, ["status"])


def test_what_is_read_at_once_is_what_is_read_once_it_is_stored(http: httpx.Client, stub: TraceServiceStub) -> None:
    metadata = {"coverage": 85, "ratio": 1.5, "list": [1, "x", None], "map": {"deep": True}, "none": None}
    trace_id = unique("at-once")
    create(http, trace_id, status="timeout", metadata=metadata, taskType="review", sessionId="s", workflowId="w")
    at_once = http.get(f"{TRACES}/{trace_id}").json()
    catch_up(stub)
    assert at_once["spans"][0]["attributes"]["metadata.list"] == [1, "x", None]
    assert http.get(f"{TRACES}/{trace_id}").json() == at_once


def test_a_trace_that_grows_is_read_with_all_that_was_acknowledged(http: httpx.Client, program: Program) -> None:
    """Of an agent that exports twice, one part may be in the store while the other still waits for the loader."""
    trace_id, now_ns = uuid.uuid4().bytes, time.time_ns()
    with httpx.Client(base_url=f"http://127.0.0.1:{program.otlp_http}", trust_env=False) as otlp:
        for sent in range(1, 6):
            more = span(sent)
            more.trace_id, more.start_time_unix_nano, more.end_time_unix_nano = trace_id, now_ns, now_ns + sent
            content = trace_request(more).SerializeToString()
            assert otlp.post("/v1/traces", content=content, headers=PROTOBUF, timeout=CALL_SECONDS).is_success
            path = f"{TRACES}/{trace_id.hex()}"
            assert http.get(path).json()["spanCount"] == sent
            assert len(http.get(f"{path}/spans").json()["spans"]) == sent
