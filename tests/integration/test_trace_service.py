"""TraceService over a real gRPC server: what goes in comes out, and what callers are told."""

import math
import time
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agent_tracer.server.domain.ids import TenantId
from agent_tracer.v1 import trace_pb2 as pb
from tests.fixtures.trace_server import Running, TraceBackend, otlp_span, running, span_id

Detail = TypeVar("Detail", bound=Message)
CALL = {
    "traceId": "trace-abc123",
    "agentId": "tdd-enforcer-001",
    "operation": "test-validation",
    "duration": 2500,
    "status": "success",
    "metadata": {"coverage": 85, "tests_run": 150},
}


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running(TraceBackend()) as server:
        yield server


def record(trace_id: str = "t", **fields: object) -> pb.CreateTraceRequest:
    given = {"traceId": trace_id, "agentId": "a", "operation": "o", **fields}
    return ParseDict(given, pb.CreateTraceRequest())


async def refused(call: Awaitable[object], kind: type[Detail]) -> tuple[grpc.StatusCode, Detail]:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    status = rpc_status.from_call(refusal.value)
    assert status is not None
    found = kind()
    assert any(detail.Unpack(found) for detail in status.details), status
    return refusal.value.code(), found


async def wrong_fields(call: Awaitable[object]) -> list[str]:
    code, bad = await refused(call, BadRequest)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    return [violation.field for violation in bad.field_violations]


async def test_the_call_of_the_documentation_reads_back_field_by_field(api: Running) -> None:
    created = await api.stub.CreateTrace(ParseDict(CALL, pb.CreateTraceRequest()))
    read = await api.stub.GetTrace(pb.GetTraceRequest(trace_id="trace-abc123"))
    shown = MessageToDict(read)
    assert {key: shown[key] for key in CALL} == CALL
    for field in ("start_time", "end_time", "otel_trace_id", "span_count", "agents", "services", "metadata"):
        assert getattr(read, field) == getattr(created, field)
    assert [span.name for span in read.spans] == ["test-validation"]


async def test_a_read_by_id_waits_for_what_is_durable_and_not_loaded_yet(api: Running) -> None:
    await api.stub.CreateTrace(record("new"))
    assert api.backend.journal.waiting
    assert (await api.stub.GetTrace(pb.GetTraceRequest(trace_id="new"))).trace_id == "new"


async def test_a_trace_that_is_loaded_costs_no_wait(api: Running) -> None:
    api.backend.commit(otlp_span("known", 1))
    await api.stub.CreateTrace(record("other"))
    api.backend.journal.down = True
    assert (await api.stub.GetTrace(pb.GetTraceRequest(trace_id="known"))).span_count == 1


async def test_a_read_of_a_trace_waits_for_the_rest_that_was_acknowledged(api: Running) -> None:
    api.backend.commit(otlp_span("grows", 1))
    await api.stub.CreateTrace(record("grows"))
    assert (await api.stub.GetTrace(pb.GetTraceRequest(trace_id="grows"))).span_count == 2
    await api.stub.CreateTrace(record("grows", agentId="b"))
    assert len((await api.stub.ListSpans(pb.ListSpansRequest(trace_id="grows"))).spans) == 3


async def test_a_trace_of_which_a_part_cannot_be_loaded_is_not_shown_in_part(api: Running) -> None:
    api.backend.commit(otlp_span("grows", 1))
    await api.stub.CreateTrace(record("grows"))
    api.backend.journal.down = True
    code, _ = await refused(api.stub.GetTrace(pb.GetTraceRequest(trace_id="grows")), ErrorInfo)
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_a_hex_id_finds_its_trace_in_either_case(api: Running) -> None:
    await api.stub.CreateTrace(record("AB" * 16))
    read = await api.stub.GetTrace(pb.GetTraceRequest(trace_id="ab" * 16))
    assert read.otel_trace_id == "ab" * 16


async def test_the_same_record_again_is_no_new_one_and_another_one_is(api: Running) -> None:
    for _ in range(2):
        await api.stub.CreateTrace(record(duration=5))
    await api.stub.CreateTrace(record(agentId="b"))
    read = await api.stub.GetTrace(pb.GetTraceRequest(trace_id="t"))
    assert read.span_count == 2
    assert list(read.agents) == ["a", "b"]


async def test_an_unknown_id_is_not_found_with_its_reason(api: Running) -> None:
    for call in (
        api.stub.GetTrace(pb.GetTraceRequest(trace_id="x")),
        api.stub.ListSpans(pb.ListSpansRequest(trace_id="x")),
        api.stub.DeleteTrace(pb.DeleteTraceRequest(trace_id="x")),
        api.stub.CreateEvaluation(pb.CreateEvaluationRequest(trace_id="x", evaluation=pb.Evaluation(name="n"))),
    ):
        code, info = await refused(call, ErrorInfo)
        assert code is grpc.StatusCode.NOT_FOUND
        assert (info.reason, info.domain, dict(info.metadata)) == (
            "TRACE_NOT_FOUND",
            "agent-tracer",
            {"trace_id": "x"},
        )


async def test_a_store_that_is_down_says_when_to_try_again(api: Running) -> None:
    api.backend.journal.down = True
    code, retry = await refused(api.stub.GetTrace(pb.GetTraceRequest(trace_id="x")), RetryInfo)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert retry.retry_delay.seconds == 1


async def test_wrong_fields_are_named(api: Running) -> None:
    stub = api.stub
    begin, end = Timestamp(seconds=1_700_000_000), Timestamp(seconds=1_700_000_001)
    evaluation = pb.Evaluation(score=1.5, annotator="crowd", span_id="xyz", trace_id="other")
    cases: list[tuple[Awaitable[object], list[str]]] = [
        (stub.CreateTrace(pb.CreateTraceRequest()), ["trace_id", "agent_id", "operation"]),
        (stub.CreateTrace(record(startTime="1999-12-31T23:59:59Z")), ["start_time"]),
        (stub.GetTrace(pb.GetTraceRequest()), ["trace_id"]),
        (stub.GetTrace(pb.GetTraceRequest(trace_id="a\nb")), ["trace_id"]),
        (stub.ListTraces(pb.ListTracesRequest(page_size=-1)), ["page_size"]),
        (stub.ListTraces(pb.ListTracesRequest(page_token="x")), ["page_token"]),  # noqa: S106
        (stub.ListTraces(pb.ListTracesRequest(period="yesterday")), ["period"]),
        (stub.ListTraces(pb.ListTracesRequest(period="1h", end_time=end)), ["period"]),
        (stub.ListTraces(pb.ListTracesRequest(start_time=end, end_time=begin)), ["end_time"]),
        (stub.ListTraces(pb.ListTracesRequest(start_time=Timestamp(nanos=-1))), ["start_time"]),
        (stub.ListTraces(pb.ListTracesRequest(status="ok")), ["status"]),
        (
            stub.ListTraces(pb.ListTracesRequest(min_duration=math.nan, min_cost=-1)),
            ["min_duration", "min_cost"],
        ),
        (stub.ListTraces(pb.ListTracesRequest(attributes=["a=b", "novalue"])), ["attributes[1]"]),
        (stub.ListTraces(pb.ListTracesRequest(attributes=["a=b"] * 17)), ["attributes"]),
        (stub.ListTraces(pb.ListTracesRequest(text="x" * 1025)), ["text"]),
        (stub.AggregateTraces(pb.AggregateTracesRequest(group_by=["agent_id", "1; DROP"])), ["group_by[1]"]),
        (stub.AggregateTraces(pb.AggregateTracesRequest(group_by=["model", "model"])), ["group_by"]),
        (stub.AggregateTraces(pb.AggregateTracesRequest(period="4w", interval="1s")), ["interval"]),
        (stub.ListAgents(pb.ListAgentsRequest(period="1y")), ["period"]),
        (stub.ListSpans(pb.ListSpansRequest(trace_id="t", page_size=-5)), ["page_size"]),
        (
            stub.CreateEvaluation(pb.CreateEvaluationRequest(trace_id="t", evaluation=evaluation)),
            [f"evaluation.{name}" for name in ("name", "score", "annotator", "trace_id", "span_id")],
        ),
    ]
    for call, fields in cases:
        assert await wrong_fields(call) == fields


async def test_pages_stay_right_while_new_traces_arrive(api: Running) -> None:
    for number in range(25):
        api.backend.commit(otlp_span(f"old-{number}", 1, start_ns=time.time_ns() - 10**9 + number))
    seen: list[str] = []
    token = ""
    while True:
        page = await api.stub.ListTraces(pb.ListTracesRequest(page_size=10, page_token=token, period="1h"))
        seen += [trace.trace_id for trace in page.traces]
        token = page.next_page_token
        if not token:
            break
        api.backend.commit(otlp_span(f"new-{len(seen)}", 1, start_ns=time.time_ns()))
    assert seen == [f"old-{number}" for number in reversed(range(25))]


async def test_a_token_serves_its_own_filters_and_tenant_only(api: Running) -> None:
    for number in range(3):
        api.backend.commit(otlp_span(f"t{number}", 1, agent="a"))
    token = (await api.stub.ListTraces(pb.ListTracesRequest(page_size=1, agent_id="a"))).next_page_token
    again = pb.ListTracesRequest(page_size=2, agent_id="a", page_token=token)
    assert len((await api.stub.ListTraces(again)).traces) == 2
    other = pb.ListTracesRequest(page_size=1, agent_id="b", page_token=token)
    assert await wrong_fields(api.stub.ListTraces(other)) == ["page_token"]
    elsewhere = api.stub.ListTraces(again, metadata=(("tenant", "other"),))
    assert await wrong_fields(elsewhere) == ["page_token"]
    assert await wrong_fields(api.stub.ListAgents(pb.ListAgentsRequest(page_token=token))) == ["page_token"]


async def test_spans_come_depth_first_with_inherited_agents_over_pages(api: Running) -> None:
    spans = [
        otlp_span("t", 1, agent="planner"),
        otlp_span("t", 2, 1),
        otlp_span("t", 4, 2, agent="coder"),
        otlp_span("t", 3, 1),
        otlp_span("t", 5, 4),
    ]
    api.backend.commit(*spans)
    shown: list[tuple[str, int, str]] = []
    token = ""
    while True:
        page = await api.stub.ListSpans(pb.ListSpansRequest(trace_id="t", page_size=2, page_token=token))
        shown += [(span.name, span.depth, span.agent_id) for span in page.spans]
        token = page.next_page_token
        if not token:
            break
    assert shown == [
        ("span-1", 0, "planner"),
        ("span-2", 1, "planner"),
        ("span-4", 2, "coder"),
        ("span-5", 3, "coder"),
        ("span-3", 1, "planner"),
    ]
    read = await api.stub.GetTrace(pb.GetTraceRequest(trace_id="t"))
    assert [(span.name, span.depth, span.agent_id) for span in read.spans] == shown


async def test_late_spans_neither_repeat_nor_hide_one_of_a_later_page(api: Running) -> None:
    def late(number: int) -> Span:
        return otlp_span("t", number, 1 if number > 1 else 0, start_ns=1_790_000_000_000_000_000 + number)

    api.backend.commit(*map(late, (1, 3, 5, 7)))
    first = await api.stub.ListSpans(pb.ListSpansRequest(trace_id="t", page_size=2))
    api.backend.commit(late(2), late(6))
    rest = await api.stub.ListSpans(pb.ListSpansRequest(trace_id="t", page_size=10, page_token=first.next_page_token))
    assert [span.name for span in first.spans] == ["span-1", "span-3"]
    assert [span.name for span in rest.spans] == ["span-5", "span-6", "span-7"]


async def test_a_page_of_large_spans_ends_early_and_stays_below_grpcs_default_of_4_mib(api: Running) -> None:
    api.backend.commit(*(otlp_span("t", number, text="ü" * 500_000) for number in range(1, 8)))
    names: list[str] = []
    token = ""
    while True:
        page = await api.stub.ListSpans(pb.ListSpansRequest(trace_id="t", page_token=token))
        names += [span.name for span in page.spans]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"span-{number}" for number in range(1, 8)]
    assert len((await api.stub.GetTrace(pb.GetTraceRequest(trace_id="t"))).spans) == 2


async def test_get_trace_carries_the_first_thousand_spans_and_lists_the_rest(api: Running) -> None:
    api.backend.commit(*(otlp_span("t", number, 1 if number > 1 else 0) for number in range(1, 1102)))
    read = await api.stub.GetTrace(pb.GetTraceRequest(trace_id="t"))
    assert (read.span_count, len(read.spans)) == (1101, 1000)
    first = await api.stub.ListSpans(pb.ListSpansRequest(trace_id="t", page_size=5000))
    rest = await api.stub.ListSpans(pb.ListSpansRequest(trace_id="t", page_token=first.next_page_token))
    assert (len(first.spans), len(rest.spans)) == (1000, 50)


async def test_a_page_of_large_spans_reads_no_more_than_it_shows_and_a_few(api: Running) -> None:
    api.backend.commit(*(otlp_span("t", number, text="x" * 30_000) for number in range(1, 501)))
    page = await api.stub.ListSpans(pb.ListSpansRequest(trace_id="t", page_size=500))
    assert sum(api.backend.store.spans_read) <= len(page.spans) + 64
    assert len(page.spans) == 69


async def test_delete_removes_what_was_acknowledged_and_not_loaded_yet(api: Running) -> None:
    await api.stub.CreateTrace(record("gone"))
    await api.stub.DeleteTrace(pb.DeleteTraceRequest(trace_id="gone"))
    code, _ = await refused(api.stub.GetTrace(pb.GetTraceRequest(trace_id="gone")), ErrorInfo)
    assert code is grpc.StatusCode.NOT_FOUND


async def test_tenants_do_not_see_each_other(api: Running) -> None:
    mine = (("tenant", "mine"),)
    await api.stub.CreateTrace(record("t"), metadata=mine)
    code, _ = await refused(api.stub.GetTrace(pb.GetTraceRequest(trace_id="t")), ErrorInfo)
    assert code is grpc.StatusCode.NOT_FOUND
    assert (await api.stub.GetTrace(pb.GetTraceRequest(trace_id="t"), metadata=mine)).trace_id == "t"
    assert not (await api.stub.ListTraces(pb.ListTracesRequest())).traces


async def test_aggregates_are_grouped_over_the_last_day(api: Running) -> None:
    api.backend.commit(otlp_span("t1", 1, agent="a"), otlp_span("t2", 1, agent="a"), otlp_span("t3", 1, agent="b"))
    api.backend.commit(otlp_span("old", 1, agent="a", start_ns=time.time_ns() - 25 * 3600 * 10**9))
    answer = await api.stub.AggregateTraces(pb.AggregateTracesRequest(group_by=["agent_id"]))
    assert {row.group["agent_id"]: row.count for row in answer.rows} == {"a": 2, "b": 1}


async def test_agents_are_paged_by_id(api: Running) -> None:
    for number in range(5):
        api.backend.commit(otlp_span(f"t{number}", 1, agent=f"ägent-{number}"))
    first = await api.stub.ListAgents(pb.ListAgentsRequest(page_size=3, period="1h"))
    rest = await api.stub.ListAgents(pb.ListAgentsRequest(page_size=3, period="1h", page_token=first.next_page_token))
    assert [agent.agent_id for agent in (*first.agents, *rest.agents)] == [f"ägent-{n}" for n in range(5)]
    assert not rest.next_page_token


async def test_an_evaluation_of_a_new_span_is_read_back_with_the_trace(api: Running) -> None:
    api.backend.commit(otlp_span("t", 7))
    asked = pb.Evaluation(name="helpful", score=0, label="no", span_id=span_id(7).hex(), annotator="llm")
    made = await api.stub.CreateEvaluation(pb.CreateEvaluationRequest(trace_id="t", evaluation=asked))
    assert made.HasField("score")
    assert (made.evaluation_id, made.trace_id, made.annotator) == ("evaluation-1", "t", "llm")
    read = await api.stub.GetTrace(pb.GetTraceRequest(trace_id="t"))
    assert list(read.evaluations) == [made]


async def test_an_evaluation_with_an_id_of_the_callers_replaces_itself(api: Running) -> None:
    api.backend.commit(otlp_span("t", 1, start_ns=time.time_ns()))
    for label in ("first", "second"):
        asked = pb.Evaluation(name="n", label=label, evaluation_id="mine")
        await api.stub.CreateEvaluation(pb.CreateEvaluationRequest(trace_id="t", evaluation=asked))
    read = await api.stub.GetTrace(pb.GetTraceRequest(trace_id="t"))
    assert [(e.label, e.annotator, e.HasField("score")) for e in read.evaluations] == [("second", "human", False)]


async def test_an_evaluation_of_a_missing_span_is_refused(api: Running) -> None:
    api.backend.commit(otlp_span("t", 1))
    asked = pb.Evaluation(name="n", span_id="00000000000000ff")
    call = api.stub.CreateEvaluation(pb.CreateEvaluationRequest(trace_id="t", evaluation=asked))
    code, info = await refused(call, ErrorInfo)
    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "SPAN_NOT_FOUND")


async def test_tenant_of_a_commit_is_the_tenant_of_its_readers(api: Running) -> None:
    api.backend.commit(otlp_span("t", 1), tenant=TenantId("theirs"))
    read = await api.stub.GetTrace(pb.GetTraceRequest(trace_id="t"), metadata=(("tenant", "theirs"),))
    assert read.span_count == 1
