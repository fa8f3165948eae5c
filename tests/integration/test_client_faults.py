"""What the client does when a server refuses, stalls, or goes away: against a small gRPC server that does so."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from agent_tracer.client import (
    ACE,
    AgentTracer,
    AgentTracerError,
    CallCancelledError,
    DeadlineError,
    InternalError,
    OverloadedError,
    UnavailableError,
)
from agent_tracer.server.api.errors import abort
from agent_tracer.v1 import ace_pb2, trace_pb2

SOON_SECONDS = 30
"""What a busy machine takes for what happens at once on a quiet one, and less than what nobody should wait for."""
OVERLOADED = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="full")
OVERLOADED.details.add().Pack(error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="agent-tracer"))

CALLS: list[tuple[Callable[[AgentTracer], Awaitable[object]], int]] = [
    (lambda tracer: tracer.traces.get_trace("t"), 2),
    (lambda tracer: tracer.ace.score_agent("a"), 1),
]
"""A call that may be made twice, one that may not, and how often each is made where one retry is enough."""


def retry_after(seconds: float, status: status_pb2.Status = OVERLOADED) -> status_pb2.Status:
    later = status_pb2.Status()
    later.CopyFrom(status)
    delay = Duration(nanos=int(seconds * 1e9)) if seconds < 1 else Duration(seconds=int(seconds))
    later.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return later


class Scripted:
    """Answers each call with the next status of `refusals`, and well when they are used up."""

    def __init__(self, *refusals: status_pb2.Status, stall: bool = False) -> None:
        self.refusals = list(refusals)
        self.stall = stall
        self.calls: list[dict[str, Any]] = []
        self.cancelled = asyncio.Event()
        self.stalled = asyncio.Event()

    async def _take(self, context: Any) -> None:
        self.calls.append({**dict(context.invocation_metadata()), "remaining": context.time_remaining()})
        if self.refusals:
            await abort(context, self.refusals.pop(0))
        if self.stall:
            self.stalled.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()

    async def trace(self, request: Any, context: Any) -> trace_pb2.Trace:
        await self._take(context)
        return trace_pb2.Trace(trace_id=request.trace_id)

    async def watch(self, request: Any, context: Any) -> AsyncIterator[trace_pb2.Trace]:
        for trace_id in ("1", "2"):
            await self._take(context)
            yield trace_pb2.Trace(trace_id=trace_id)

    async def score(self, request: Any, context: Any) -> ace_pb2.AgentScore:
        await self._take(context)
        return ace_pb2.AgentScore(agent_id=request.agent_id)

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """The few methods that the tests call, at their places in the API."""
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        traces: dict[str, Any] = {
            "GetTrace": unary(self.trace, trace_pb2.GetTraceRequest.FromString, _serialised),
            "CreateTrace": unary(self.trace, trace_pb2.CreateTraceRequest.FromString, _serialised),
            "WatchTraces": stream(self.watch, trace_pb2.WatchTracesRequest.FromString, _serialised),
        }
        scores: dict[str, Any] = {"ScoreAgent": unary(self.score, ace_pb2.ScoreAgentRequest.FromString, _serialised)}
        return [
            grpc.method_handlers_generic_handler("agent_tracer.v1.TraceService", traces),
            grpc.method_handlers_generic_handler("agent_tracer.v1.AceService", scores),
        ]


def _serialised(message: Message) -> bytes:
    return message.SerializeToString()


@asynccontextmanager
async def serving(scripted: Scripted) -> AsyncIterator[str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(tuple(scripted.handlers()))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_a_refused_call_is_made_again_after_the_time_that_the_server_says() -> None:
    scripted = Scripted(retry_after(0.2), retry_after(0.2))
    async with serving(scripted) as endpoint, AgentTracer(endpoint) as tracer:
        began = time.monotonic()
        assert (await tracer.traces.create_trace("t", "a", "o")).trace_id == "t"
    assert time.monotonic() - began >= 0.4
    assert len(scripted.calls) == 3


async def test_what_no_retry_info_allows_is_refused_at_once() -> None:
    scripted = Scripted(OVERLOADED)
    async with serving(scripted) as endpoint, AgentTracer(endpoint) as tracer:
        with pytest.raises(OverloadedError, match="full"):
            await tracer.traces.get_trace("t")
    assert len(scripted.calls) == 1


async def test_retries_end_and_the_last_refusal_is_told() -> None:
    scripted = Scripted(*[retry_after(0.01)] * 10)
    async with serving(scripted) as endpoint, AgentTracer(endpoint, retries=2) as tracer:
        with pytest.raises(OverloadedError) as refused:
            await tracer.traces.get_trace("t")
    assert len(scripted.calls) == 3
    assert refused.value.retry_seconds == 0.01


async def test_nobody_waits_for_a_retry_beyond_the_deadline() -> None:
    scripted = Scripted(retry_after(300))
    async with serving(scripted) as endpoint, AgentTracer(endpoint) as tracer:
        began = time.monotonic()
        with pytest.raises(OverloadedError):
            await tracer.traces.get_trace("t", timeout_seconds=SOON_SECONDS)
    assert time.monotonic() - began < SOON_SECONDS


async def test_all_attempts_share_one_deadline() -> None:
    scripted = Scripted(retry_after(0.3))
    async with serving(scripted) as endpoint, AgentTracer(endpoint, timeout_seconds=9) as tracer:
        await tracer.traces.get_trace("t")
    first, second = (call["remaining"] for call in scripted.calls)
    assert first <= 9
    assert second <= first - 0.3 + 0.05


async def test_an_unavailable_server_is_asked_again_where_twice_does_no_harm() -> None:
    gone = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="gone")
    for call, attempts in CALLS:
        scripted = Scripted(gone)
        async with serving(scripted) as endpoint, AgentTracer(endpoint) as tracer:
            answered = await asyncio.gather(call(tracer), return_exceptions=True)
        assert len(scripted.calls) == attempts
        assert isinstance(answered[0], UnavailableError) is (attempts == 1)


async def test_a_stream_is_begun_again_before_its_first_answer_and_never_after() -> None:
    scripted = Scripted(retry_after(0.01))
    async with serving(scripted) as endpoint, AgentTracer(endpoint) as tracer:
        assert [trace.trace_id async for trace in tracer.traces.watch_traces()] == ["1", "2"]
        scripted.calls.clear()
        seen = []
        with pytest.raises(OverloadedError):
            async for trace in tracer.traces.watch_traces():
                seen.append(trace.trace_id)
                scripted.refusals.append(retry_after(0.01))
    assert seen == ["1"]
    assert len(scripted.calls) == 2


async def test_a_deadline_passes_in_time_and_the_server_is_told() -> None:
    scripted = Scripted(stall=True)
    async with serving(scripted) as endpoint, AgentTracer(endpoint, timeout_seconds=1.5) as tracer:
        began = time.monotonic()
        with pytest.raises(DeadlineError, match=r"within 1\.5 s.*timeout_seconds") as late:
            await tracer.traces.get_trace("t")
        assert time.monotonic() - began < SOON_SECONDS
        await asyncio.wait_for(scripted.cancelled.wait(), SOON_SECONDS)
    assert isinstance(late.value, TimeoutError)


async def test_a_cancelled_task_cancels_the_call_on_the_server() -> None:
    scripted = Scripted(stall=True)
    async with serving(scripted) as endpoint, AgentTracer(endpoint) as tracer:
        asked = asyncio.ensure_future(tracer.traces.get_trace("t"))
        await asyncio.wait_for(scripted.stalled.wait(), SOON_SECONDS)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await asyncio.wait_for(scripted.cancelled.wait(), SOON_SECONDS)


async def test_the_key_goes_with_every_call() -> None:
    scripted = Scripted()
    async with serving(scripted) as endpoint, AgentTracer(endpoint, api_key="secret") as tracer:
        await tracer.traces.get_trace("t")
        _ = [trace async for trace in tracer.traces.watch_traces()]
        await ACE(tracer).score_agent("a")
        await ACE(endpoint, api_key="other").score_agent("a")
        async with AgentTracer(endpoint) as keyless:
            await keyless.traces.get_trace("t")
    keys = [call.get("authorization") for call in scripted.calls]
    assert keys == ["Bearer secret"] * 4 + ["Bearer other", None]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (code_pb2.INTERNAL, InternalError),
        (code_pb2.CANCELLED, CallCancelledError),
        (code_pb2.UNKNOWN, AgentTracerError),
    ],
)
async def test_a_code_without_a_reason_is_an_error_of_its_kind(code: int, kind: type[AgentTracerError]) -> None:
    scripted = Scripted(status_pb2.Status(code=code, message="as it is"))
    async with serving(scripted) as endpoint, AgentTracer(endpoint) as tracer:
        with pytest.raises(kind, match="as it is") as refused:
            await tracer.traces.get_trace("t")
    assert type(refused.value) is kind
    assert refused.value.reason == ""


async def test_a_connection_lost_in_a_call_is_told_of_or_the_call_made_again() -> None:
    for call, attempts in CALLS:
        connections = 0

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.read(1)
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        endpoint = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, AgentTracer(endpoint, retries=1) as tracer:
            with pytest.raises(UnavailableError, match="ended before the answer"):
                await call(tracer)
        assert connections == attempts


async def test_one_tracer_serves_one_event_loop_after_the_other() -> None:
    scripted = Scripted()
    async with serving(scripted) as endpoint:
        tracer = AgentTracer(endpoint)

        async def ask() -> str:
            async with tracer:
                return (await tracer.traces.get_trace("t")).trace_id

        assert [await asyncio.to_thread(asyncio.run, ask()) for _ in range(2)] == ["t", "t"]
