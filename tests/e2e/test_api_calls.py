"""Every call of the API against the started program: by REST, by gRPC, and by the clients' generated code."""

import asyncio
import base64
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from agent_tracer.betterproto.agent_tracer import v1 as bp
from agent_tracer.v1 import trace_pb2
from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub
from tests.e2e.talk import (
    CALL_SECONDS,
    TRACES,
    M,
    all_traces,
    catch_up,
    clients,
    counted,
    create,
    error_info,
    grpc_refusal,
    message,
    refusal,
    rest,
    stubs,
    unique,
)
from tests.fixtures.program import Program

FIRST_CALL: Final = (
    '{"traceId":"trace-abc123","agentId":"tdd-enforcer-001","operation":"test-validation","duration":2500,'
    '"status":"success","metadata":{"coverage":85,"tests_run":150}}'
)
JSON: Final = {"content-type": "application/json"}


@pytest.fixture
def http(program: Program) -> Iterator[httpx.Client]:
    with rest(program) as client:
        yield client


@pytest.fixture
def stub(program: Program) -> Iterator[TraceServiceStub]:
    with stubs(program.target) as made:
        yield made


def test_the_first_call_of_the_documentation_is_read_back(http: httpx.Client) -> None:
    created = http.post(TRACES, content=FIRST_CALL, headers=JSON)
    assert created.status_code == 200
    for answer in (created.json(), http.get(f"{TRACES}/trace-abc123").json()):
        assert {key: answer[key] for key in json.loads(FIRST_CALL)} == json.loads(FIRST_CALL)
        assert isinstance(answer["duration"], int)
        assert len(answer["otelTraceId"]) == 32
        assert (answer["spanCount"], answer["agents"]) == (1, ["tdd-enforcer-001"])
    found = http.get(f"{TRACES}/trace-abc123").json()
    assert [span["name"] for span in found["spans"]] == ["test-validation"]
    assert http.get(f"{TRACES}/{found['otelTraceId']}").json() == found


def test_a_created_trace_is_readable_at_once_and_quickly(http: httpx.Client) -> None:
    """Idle, that is: the best of the medians of a minute, so that another program on the machine does not decide."""

    def pair() -> float:
        trace_id = unique("quick")
        began = time.perf_counter()
        create(http, trace_id)
        found = http.get(f"{TRACES}/{trace_id}")
        took = time.perf_counter() - began
        assert found.json()["traceId"] == trace_id
        return took

    medians: list[float] = []
    deadline = time.monotonic() + 60
    while min(medians, default=1) >= 0.1 and time.monotonic() < deadline:
        medians.append(statistics.median(pair() for _ in range(5)))
    print(f"created and read back in {', '.join(f'{m * 1000:.0f}' for m in medians)} ms")
    assert min(medians) < 0.1


def test_many_created_at_once_are_each_readable_at_once(program: Program) -> None:
    missing: list[str] = []

    def work() -> None:
        with rest(program) as client:
            for _ in range(5):
                trace_id = unique("burst")
                create(client, trace_id)
                if client.get(f"{TRACES}/{trace_id}").status_code != 200:
                    missing.append(trace_id)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missing == []


# One row a call: its REST path and query, its name in both generated clients, its request's fields, its answer.
READS: Final[tuple[tuple[str, str, dict[str, Any], type[Message]], ...]] = (
    ("/{id}", "GetTrace", {"trace_id": "{id}"}, trace_pb2.Trace),
    ("?agent_id={id}&pageSize=5", "ListTraces", {"agent_id": "{id}", "page_size": 5}, trace_pb2.ListTracesResponse),
    ("?attributes=metadata.key={id}", "ListTraces", {"attributes": ["metadata.key={id}"]}, trace_pb2.ListTracesResponse),
    ("/{id}/spans?page_size=1", "ListSpans", {"trace_id": "{id}", "page_size": 1}, trace_pb2.ListSpansResponse),
    (":aggregate?groupBy=agent_id&group_by=status&agentId={id}&startTime={start}&endTime={end}", "AggregateTraces",
     {"group_by": ["agent_id", "status"], "agent_id": "{id}", "start_time": "{start}", "end_time": "{end}"},
     trace_pb2.AggregateTracesResponse),
)  # fmt: skip


def _filled(value: Any, texts: dict[str, str], times: Callable[[str], Any]) -> Any:
    if isinstance(value, list):
        return [_filled(item, texts, times) for item in value]
    if value in ("{start}", "{end}"):
        return times(texts[value[1:-1]])
    return value.format(**texts) if isinstance(value, str) else value


def _timestamp(text: str) -> Timestamp:
    made = Timestamp()
    made.FromJsonString(text)
    return made


async def test_every_read_says_the_same_by_rest_grpc_and_client(
    program: Program, http: httpx.Client, stub: TraceServiceStub
) -> None:
    name = unique("read")
    for number in range(2):
        create(http, name, name, metadata={"key": name, "number": number}, status="error" if number else "")
    trace = message(http.get(f"{TRACES}/{name}"), trace_pb2.Trace)
    texts = {"id": name, "start": "2026-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}
    assert (trace.span_count, trace.error_count, trace.status) == (2, 1, "error")
    counted(
        lambda: http.get(f"{TRACES}:aggregate", params={"agent_id": name}).json()["rows"],
        lambda rows: [row["count"] for row in rows] == ["2"],
    )
    async with clients(program) as client:
        for path, method, fields, kind in READS:
            by_rest = message(http.get(TRACES + path.format(**texts)), kind)
            request = getattr(trace_pb2, f"{method}Request")(**_all_filled(fields, texts, _timestamp))
            by_grpc = getattr(stub, method)(request, timeout=CALL_SECONDS)
            asked = getattr(bp, f"{method}Request").parse(request.SerializeToString())
            by_client = kind.FromString(bytes(await getattr(client, betterproto2_name(method))(asked)))
            assert by_rest == by_grpc, method
            assert by_client == microseconds(by_grpc), method
            assert by_grpc.ByteSize() > 0, f"{method} found nothing"


def _all_filled(fields: dict[str, Any], texts: dict[str, str], times: Callable[[str], Any]) -> dict[str, Any]:
    return {key: _filled(value, texts, times) for key, value in fields.items()}


def microseconds(whole: M) -> M:
    """The message with times as exact as Python's datetime, which is what clients are given."""
    cut = type(whole)()
    cut.CopyFrom(whole)
    _cut_times(cut)
    return cut


def _cut_times(found: Message) -> None:
    if isinstance(found, Timestamp):
        found.nanos -= found.nanos % 1000
        return
    for descriptor, value in found.ListFields():
        if descriptor.message_type is not None and not descriptor.message_type.GetOptions().map_entry:
            for inner in value if descriptor.is_repeated else (value,):
                _cut_times(inner)


def betterproto2_name(method: str) -> str:
    """`GetTrace` as get_trace."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in method).lstrip("_")


async def test_create_says_the_same_by_grpc_and_client(program: Program, stub: TraceServiceStub) -> None:
    fields: Any = {"agent_id": "tester", "operation": "work", "duration": 12.5, "status": "timeout"}
    fields |= {"task_type": "review"}
    by_grpc = unique("grpc")
    created = stub.CreateTrace(trace_pb2.CreateTraceRequest(trace_id=by_grpc, **fields))
    async with clients(program) as client:
        by_client = unique("client")
        again = await client.create_trace(bp.CreateTraceRequest(trace_id=by_client, **fields))
        read = await client.get_trace(bp.GetTraceRequest(trace_id=by_client))
    assert (created.trace_id, created.status, created.duration) == (by_grpc, "timeout", 12.5)
    assert (again.trace_id, again.status, again.duration) == (by_client, "timeout", 12.5)
    assert (read.task_type, read.error_count, read.spans[0].status) == ("review", 1, "error")


def test_the_same_record_again_is_no_new_one(http: httpx.Client) -> None:
    trace_id = unique("same")
    fields: Any = {"startTime": "2026-11-01T10:00:00Z", "metadata": {"n": 1}}
    first, second = create(http, trace_id, **fields), create(http, trace_id, **fields)
    assert first == second
    assert message(http.get(f"{TRACES}/{trace_id}"), trace_pb2.Trace).span_count == 1


async def test_evaluations_are_kept_with_the_trace(
    program: Program, http: httpx.Client, stub: TraceServiceStub
) -> None:
    trace_id = unique("judged")
    create(http, trace_id)
    path = f"{TRACES}/{trace_id}/evaluations"
    by_rest = message(
        http.post(path, json={"name": "helpful", "score": 0.25, "annotator": "human"}), trace_pb2.Evaluation
    )
    by_grpc = stub.CreateEvaluation(
        trace_pb2.CreateEvaluationRequest(
            trace_id=trace_id, evaluation=trace_pb2.Evaluation(name="harmless", label="yes", annotator="code")
        )
    )
    async with clients(program) as client:
        judged = bp.Evaluation(name="honest", score=1.0, explanation="as it was", annotator="llm")
        by_client = await client.create_evaluation(bp.CreateEvaluationRequest(trace_id=trace_id, evaluation=judged))
    found = {e.name: e for e in stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id)).evaluations}
    assert found["helpful"] == by_rest
    assert found["harmless"] == by_grpc
    assert microseconds(found["honest"]) == trace_pb2.Evaluation.FromString(bytes(by_client))
    assert (found["helpful"].score, found["helpful"].HasField("score")) == (0.25, True)
    assert not found["harmless"].HasField("score")
    again = {"evaluationId": by_rest.evaluation_id, "name": "helpful", "score": 0.75, "annotator": "human"}
    assert http.post(path, json=again).status_code == 200
    scores = [
        e.score for e in stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id)).evaluations if e.name == "helpful"
    ]
    assert scores == [0.75]


async def test_a_deleted_trace_is_gone_for_everybody(
    program: Program, http: httpx.Client, stub: TraceServiceStub
) -> None:
    ids = [unique("delete") for _ in range(3)]
    agent = unique("deleter")
    for trace_id in ids:
        create(http, trace_id, agent)
    assert http.delete(f"{TRACES}/{ids[0]}").json() == {}
    stub.DeleteTrace(trace_pb2.DeleteTraceRequest(trace_id=ids[1]))
    async with clients(program) as client:
        await client.delete_trace(bp.DeleteTraceRequest(trace_id=ids[2]))
    for trace_id in ids:
        for path in (f"{TRACES}/{trace_id}", f"{TRACES}/{trace_id}/spans"):
            answer = http.get(path)
            assert (answer.status_code, error_info(refusal(answer)).reason) == (404, "TRACE_NOT_FOUND")
    assert all_traces(stub, agent_id=agent) == []
    assert http.delete(f"{TRACES}/{ids[0]}").status_code == 404


def test_agents_are_listed_with_their_figures(http: httpx.Client, stub: TraceServiceStub) -> None:
    name = unique("agent")
    create(http, unique("of-agent"), name)
    create(http, unique("of-agent"), name, status="error")
    catch_up(stub)
    by_rest = counted(
        lambda: _agents(http).get(name, trace_pb2.Agent()),
        lambda agent: (agent.trace_count, agent.error_count) == (2, 1),
    )
    everyone = stub.ListAgents(trace_pb2.ListAgentsRequest(page_size=1000, period="30d")).agents
    assert by_rest in everyone


def _agents(http: httpx.Client) -> dict[str, trace_pb2.Agent]:
    """Every agent by id, page by page."""
    found: dict[str, trace_pb2.Agent] = {}
    token: str | None = None
    while token != "":
        answer = http.get("/api/v1/agents", params={"pageSize": 7, "pageToken": token or ""})
        page = message(answer, trace_pb2.ListAgentsResponse)
        assert len(page.agents) <= 7
        found |= {agent.agent_id: agent for agent in page.agents}
        token = page.next_page_token
    return found


def test_aggregates_count_what_was_created(http: httpx.Client, stub: TraceServiceStub) -> None:
    name = unique("counted")
    for number in range(10):
        create(http, unique("counted"), name, duration=100 * (number + 1), status="error" if number < 3 else "success")
    catch_up(stub)
    path = f"{TRACES}:aggregate"
    asked = {"agent_id": name, "period": "1h"}
    (total,) = counted(
        lambda: http.get(path, params=asked).json()["rows"], lambda rows: [row["count"] for row in rows] == ["10"]
    )
    assert 500 <= total["durationP50"] <= 600
    assert 900 <= total["durationP95"] <= total["durationP99"] <= 1000
    rows = {
        row["group"]["status"]: (row["count"], row["errorCount"])
        for row in http.get(path, params={**asked, "group_by": "status"}).json()["rows"]
    }
    assert rows == {"success": ("7", "0"), "error": ("3", "3")}


async def test_export_gives_otlp_by_rest_grpc_and_client(
    program: Program, http: httpx.Client, stub: TraceServiceStub
) -> None:
    trace_id = unique("export")
    create(http, trace_id, metadata={"kept": [1, "two", {"three": 3}]})
    asked = trace_pb2.ExportTracesRequest(trace_ids=[trace_id])
    by_grpc = [answer.otlp for answer in stub.ExportTraces(asked)]
    async with clients(program) as client:
        by_client = [a.otlp async for a in client.export_traces(bp.ExportTracesRequest(trace_ids=[trace_id]))]
    by_rest = http.get(f"{TRACES}:export", params={"traceIds": trace_id}).text.splitlines()
    assert by_grpc
    assert by_client == by_grpc
    assert [base64.b64decode(json.loads(line)["otlp"]) for line in by_rest] == by_grpc
    unknown = grpc_refusal(lambda: list(stub.ExportTraces(trace_pb2.ExportTracesRequest(trace_ids=["nobody sent"]))))
    assert error_info(unknown).reason == "TRACE_NOT_FOUND"


async def test_watch_shows_traces_as_they_finish(program: Program, http: httpx.Client, stub: TraceServiceStub) -> None:
    agent = unique("watched")
    ids = [unique("finished") for _ in range(2)]
    by_grpc = stub.WatchTraces(trace_pb2.WatchTracesRequest(agent_id=agent), timeout=CALL_SECONDS)
    by_grpc.initial_metadata()
    async with clients(program) as client:
        by_client = client.watch_traces(bp.WatchTracesRequest(agent_id=agent), timeout=CALL_SECONDS)
        with http.stream("GET", f"{TRACES}:watch", params={"agentId": agent}) as by_rest:
            assert by_rest.status_code == 200
            lines = by_rest.iter_lines()
            create(http, unique("unwatched"), unique("other"))
            for trace_id in ids:
                create(http, trace_id, agent)
                assert next(by_grpc).trace_id == trace_id
                assert json.loads(next(lines))["traceId"] == trace_id
            # The client's stream begins with its first read.
            first = asyncio.ensure_future(anext(by_client))
            await asyncio.sleep(0)
            late = unique("finished")
            while not first.done():
                await asyncio.to_thread(create, http, late, agent)
                await asyncio.wait((first,), timeout=0.5)
            assert first.result().trace_id == late
        await by_client.aclose()  # type: ignore[attr-defined]  # it is a generator
    by_grpc.cancel()


def test_the_server_tells_how_it_is(program: Program, http: httpx.Client) -> None:
    for port in (program.rest, program.metrics):
        with rest(program, port) as client:
            metrics = client.get("/metrics")
            assert metrics.headers["content-type"].startswith("text/plain")
            assert "agent_tracer_received_total" in metrics.text
            assert client.get("/healthz").status_code == 200
            ready = client.get("/readyz")
            assert (ready.status_code, ready.json()["ready"]) == (200, True)


# Errors: by REST a query or path, by gRPC the same request.
