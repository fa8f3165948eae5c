"""The gRPC server around the services: deadlines, cancelling, streams, stopping, health, ports."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent_tracer.server.api.grpc_server import GrpcServer, handler_service
from agent_tracer.server.api.listening import CannotListenError, ListenAddress
from agent_tracer.server.domain.ids import DEFAULT_TENANT, OtelTraceId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.telemetry import SpanOutline
from agent_tracer.server.ports.journal import Position, Record
from agent_tracer.server.services import trace_feed
from agent_tracer.server.services.commit_feed import CommitFeed
from agent_tracer.v1 import trace_pb2
from agent_tracer.v1 import trace_pb2 as pb
from tests.fixtures.memory_store import MemoryStore
from tests.fixtures.trace_server import Running, TraceBackend, otlp_span, running

SECRET = "SELECT prompt FROM spans"  # noqa: S105
SECONDS_MAX = 30
"""What a busy machine takes for what happens at once on a quiet one."""
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PREFIX = "/agent_tracer.v1.TraceService/"


class StuckStore(MemoryStore):
    """Its query by id begins, and ends only when it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def outline(self, tenant: TenantId, trace_id: OtelTraceId, *, limit: int) -> Sequence[SpanOutline]:
        del tenant, trace_id, limit
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return ()


class BrokenStore(MemoryStore):
    """Fails in a way that nothing foresees."""

    async def outline(self, tenant: TenantId, trace_id: OtelTraceId, *, limit: int) -> Sequence[SpanOutline]:
        del tenant, trace_id, limit
        raise RuntimeError(SECRET)


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running(TraceBackend()) as server:
        yield server


@asynccontextmanager
async def tail(api: Running, **conditions: str) -> AsyncIterator[Callable[[], Awaitable[pb.Trace]]]:
    """A live tail that the server has begun."""
    call = api.stub.WatchTraces(pb.WatchTracesRequest(**conditions))
    followers = api.backend.feed._followers
    before = len(followers)

    async def read() -> pb.Trace:
        trace = await call.read()
        assert isinstance(trace, pb.Trace)
        return trace

    await until(lambda: len(followers) > before)
    try:
        yield read
    finally:
        call.cancel()
        await until(lambda: len(followers) == before)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not condition():
            await asyncio.sleep(0)


def reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    info = ErrorInfo()
    return info.reason if status and any(detail.Unpack(info) for detail in status.details) else ""


def raw(api: Running, method: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
    return api.channel.unary_unary(method)


async def failure(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_deadline_ends_the_query_and_leaves_no_task() -> None:
    store = StuckStore()
    async with running(TraceBackend(store=store)) as api:
        await api.channel.channel_ready()
        before = len(asyncio.all_tasks())
        # The first is over before its query begins; on a busy machine some of the next are too.
        timeout = 0.001
        while not store.begun.is_set():
            error = await failure(api.stub.GetTrace(pb.GetTraceRequest(trace_id="x"), timeout=timeout))
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            timeout = max(0.05, 2 * timeout)
        await store.cancelled.wait()
        await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_cancelling_a_call_stops_its_query() -> None:
    store = StuckStore()
    async with running(TraceBackend(store=store)) as api:
        call = api.stub.GetTrace(pb.GetTraceRequest(trace_id="x"))
        await store.begun.wait()
        call.cancel()
        async with asyncio.timeout(SECONDS_MAX):
            await store.cancelled.wait()
        await until(lambda: bool(api.backend.calls))
        assert api.backend.calls[0][:2] == (PREFIX + "GetTrace", "CANCELLED")


async def test_a_call_without_a_deadline_has_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_tracer.server.api.interceptors.QUERY_SECONDS_MAX", 0.05)
    async with running(TraceBackend(store=StuckStore())) as api:
        error = await failure(api.stub.GetTrace(pb.GetTraceRequest(trace_id="x")))
        assert (error.code(), reason(error)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED")


async def test_an_unforeseen_error_tells_nothing_but_its_id() -> None:
    async with running(TraceBackend(store=BrokenStore())) as api:
        error = await failure(api.stub.GetTrace(pb.GetTraceRequest(trace_id="x")))
        assert (error.code(), reason(error)) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        assert SECRET not in repr(error)
        assert "memory" not in repr(error.details())


async def test_a_malformed_request_is_refused_without_the_drivers_words(api: Running) -> None:
    error = await failure(raw(api, PREFIX + "GetTrace")(b"\x0a\xff\xff"))
    assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert "DecodeError" not in str(error.details())


async def test_a_message_over_the_limit_is_refused(api: Running) -> None:
    error = await failure(api.stub.GetTrace(pb.GetTraceRequest(trace_id="x" * (16 * 1024 * 1024))))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_unknown_method_is_unimplemented(api: Running) -> None:
    error = await failure(raw(api, PREFIX + "DropTraces")(b""))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_every_call_is_counted_once_with_its_code(api: Running) -> None:
    await api.stub.ListTraces(pb.ListTracesRequest())
    await failure(api.stub.GetTrace(pb.GetTraceRequest(trace_id="x")))
    await failure(api.stub.GetTrace(pb.GetTraceRequest()))
    counted = [(method.removeprefix(PREFIX), code) for method, code, seconds in api.backend.calls if seconds > 0]
    assert counted == [("ListTraces", "OK"), ("GetTrace", "NOT_FOUND"), ("GetTrace", "INVALID_ARGUMENT")]


async def test_handlers_of_raw_bytes_have_the_same_errors_and_counts() -> None:
    async def export(payload: bytes, _: Any) -> bytes:
        if payload == b"bad":
            raise RuntimeError(SECRET)
        return payload

    methods: dict[str, Any] = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    service = handler_service(grpc.method_handlers_generic_handler("test.Raw", methods))
    async with running(TraceBackend(), [service]) as api:
        call = raw(api, "/test.Raw/Export")
        assert await call(b"\xff\x00") == b"\xff\x00"
        assert (await failure(call(b"bad"))).code() is grpc.StatusCode.INTERNAL
        assert [code for _, code, _ in api.backend.calls] == ["OK", "INTERNAL"]


async def test_a_tail_shows_each_trace_once_when_its_root_is_there(api: Running) -> None:
    async with tail(api) as read:
        api.backend.commit(otlp_span("t1", 2, 1))
        api.backend.commit(otlp_span("t1", 1))
        api.backend.commit(otlp_span("t1", 3, 1))
        api.backend.commit(otlp_span("t2", 1))
        assert [(await read()).trace_id, (await read()).trace_id] == ["t1", "t2"]


async def test_a_tail_respects_its_filters_and_its_tenant(api: Running) -> None:
    async with tail(api, agent_id="a", status="success") as read:
        api.backend.commit(otlp_span("of-b", 1, agent="b"))
        api.backend.commit(otlp_span("theirs", 1, agent="a"), tenant=TenantId("other"))
        api.backend.commit(otlp_span("of-both", 1, agent="b"), otlp_span("of-both", 2, 1, agent="a"))
        api.backend.commit(otlp_span("of-a", 1, agent="a"))
        assert [(await read()).trace_id, (await read()).trace_id] == ["of-both", "of-a"]


async def test_a_tail_with_a_wrong_filter_is_refused(api: Running) -> None:
    error = await failure(api.stub.WatchTraces(pb.WatchTracesRequest(status="ok")).read())
    assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_a_tail_that_falls_behind_is_told_instead_of_getting_gaps(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_feed, "FEED_TRACES_MAX", 3)
    async with tail(api) as read:
        api.backend.commit(*(otlp_span(f"t{number}", 1) for number in range(4)))
        error = await failure(read())
        assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")


async def test_one_tail_too_many_is_refused(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_feed, "FEED_SUBSCRIBERS_MAX", 1)
    async with tail(api):
        error = await failure(api.stub.WatchTraces(pb.WatchTracesRequest()).read())
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_tail_ends_at_its_deadline(api: Running) -> None:
    call = api.stub.WatchTraces(pb.WatchTracesRequest(), timeout=0.05)
    assert (await failure(call.read())).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: not api.backend.feed._followers)


async def test_commits_of_the_loader_reach_the_tails(api: Running) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.append(otlp_span("t", 1))
    payload = request.SerializeToString()
    records = [
        Record(Position(0), Position(1), signal, DEFAULT_TENANT, 5, payload) for signal in (Signal.LOGS, Signal.TRACES)
    ]
    api.backend.store.load(DEFAULT_TENANT, payload, received_ns=5)
    feed = CommitFeed(api.backend.store, api.backend.feed)
    async with tail(api) as read, asyncio.TaskGroup() as group:
        telling = group.create_task(feed.run())
        await feed.committed(records)
        assert (await read()).trace_id == "t"
        telling.cancel()


async def test_stopping_ends_tails_at_once_and_lets_calls_finish() -> None:
    async with running(TraceBackend()) as api:
        call = api.stub.WatchTraces(pb.WatchTracesRequest())
        await until(lambda: bool(api.backend.feed._followers))
        watch = health_pb2_grpc.HealthStub(api.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        async with asyncio.timeout(SECONDS_MAX):
            await api.server.stop(grace_seconds=120)
        error = await failure(call.read())
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "BACKEND_DOWN")


async def test_closing_the_feed_ends_tails_well(api: Running) -> None:
    call = api.stub.WatchTraces(pb.WatchTracesRequest())
    await until(lambda: bool(api.backend.feed._followers))
    api.backend.feed.close()
    assert await call.read() is grpc.aio.EOF


async def test_health_speaks_for_the_server_and_for_each_service(api: Running) -> None:
    stub = health_pb2_grpc.HealthStub(api.channel)

    async def health(service: str) -> int:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        return int(answer.status)

    assert await health("") == SERVING
    assert await health("agent_tracer.v1.TraceService") == SERVING
    await api.server.set_serving(serving=False)
    assert await health("agent_tracer.v1.TraceService") == NOT_SERVING


async def test_reflection_lists_every_service_and_knows_their_files(api: Running) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="agent_tracer.v1.TraceService"),
    ]
    listed, file = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    assert {service.name for service in listed.list_services_response.service} == {
        "agent_tracer.v1.TraceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert trace_pb2.DESCRIPTOR.serialized_pb in file.file_descriptor_response.file_descriptor_proto


async def test_reflection_finds_methods_as_tools_ask_for_them(api: Running) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    names = ("agent_tracer.v1.TraceService.GetTrace", "agent_tracer.v1.TraceService.Nothing", "nowhere.Nothing", "x")
    asked = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in names]
    found, *unknown = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    assert trace_pb2.DESCRIPTOR.serialized_pb in found.file_descriptor_response.file_descriptor_proto
    assert [answer.error_response.error_code for answer in unknown] == [grpc.StatusCode.NOT_FOUND.value[0]] * 3


async def test_export_gives_named_traces_back_as_otlp(api: Running) -> None:
    api.backend.commit(otlp_span("t1", 1), otlp_span("t2", 1))
    call = api.stub.ExportTraces(pb.ExportTracesRequest(trace_ids=["t2"]))
    requests = [ExportTraceServiceRequest.FromString(part.otlp) async for part in call]
    names = [span.trace_id for r in requests for rs in r.resource_spans for ss in rs.scope_spans for span in ss.spans]
    assert names == [otlp_span("t2", 1).trace_id]


@pytest.mark.parametrize(
    ("request_", "code", "why"),
    [
        (pb.ExportTracesRequest(trace_ids=["x"]), grpc.StatusCode.NOT_FOUND, "TRACE_NOT_FOUND"),
        (pb.ExportTracesRequest(trace_ids=[""]), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
        (
            pb.ExportTracesRequest(trace_ids=["x"], period="1h"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_FIELD",
        ),
        (pb.ExportTracesRequest(period="all"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    ],
)
async def test_export_refuses_what_it_cannot_answer(
    api: Running, request_: pb.ExportTracesRequest, code: grpc.StatusCode, why: str
) -> None:
    error = await failure(api.stub.ExportTraces(request_).read())
    assert (error.code(), reason(error)) == (code, why)


async def test_a_taken_port_is_an_error_that_names_the_port_and_its_setting() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotListenError) as refusal:
            GrpcServer([], [ListenAddress("127.0.0.1", port, "grpc.port")])
    for part in (str(port), "grpc.port", "AGENT_TRACER__GRPC__PORT", "another program"):
        assert part in str(refusal.value)


async def test_a_second_server_cannot_share_the_port_silently(api: Running) -> None:
    with pytest.raises(CannotListenError):
        GrpcServer([], [ListenAddress("127.0.0.1", api.server.ports[0], "grpc.port")])
