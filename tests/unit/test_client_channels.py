"""One client in several event loops: each has channels of its own, which no other closes, and few are kept."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self

import grpc
import grpc.aio
import pytest

from agent_tracer.client import AgentTracer, UnavailableError
from agent_tracer.client.api.channels import AT_REST_MAX
from agent_tracer.v1 import trace_pb2

SECONDS_MAX = 20


class Stalling:
    """Answers GetTrace once it may, and ListTraces at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    def handler(self) -> grpc.GenericRpcHandler:
        methods: dict[str, Any] = {
            "GetTrace": grpc.unary_unary_rpc_method_handler(self._get_trace),
            "ListTraces": grpc.unary_unary_rpc_method_handler(self._list_traces),
        }
        return grpc.method_handlers_generic_handler("agent_tracer.v1.TraceService", methods)

    async def _get_trace(self, _request: bytes, _context: object) -> bytes:
        self.asked.set()
        await self.may_answer.wait()
        return trace_pb2.Trace(trace_id="t").SerializeToString()

    async def _list_traces(self, _request: bytes, _context: object) -> bytes:
        return b""


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Stalling, AgentTracer]]:
    """A server, and a client of it that makes each call once."""
    server, service = grpc.aio.server(), Stalling()
    server.add_generic_rpc_handlers((service.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with AgentTracer(f"127.0.0.1:{port}", retries=0, timeout_seconds=SECONDS_MAX) as tracer:
            yield service, tracer
    finally:
        service.may_answer.set()
        await server.stop(None)


class Elsewhere:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)

    def do(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Future[Any]":
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self.loop.run_until_complete, asyncio.sleep(0.01))  # what is closed, ends here
        self.loop.close()


async def test_a_call_in_flight_stands_when_another_loop_makes_calls() -> None:
    async with Elsewhere() as elsewhere, serving() as (service, tracer):
        in_flight = asyncio.create_task(tracer.traces.get_trace("t"))
        await service.asked.wait()
        await elsewhere.do(tracer.traces.list_traces())
        service.may_answer.set()
        assert (await in_flight).trace_id == "t"


async def test_loops_keep_their_channels_while_they_take_turns() -> None:
    async with Elsewhere() as elsewhere, serving() as (_, tracer):
        for _ in range(3):
            await tracer.traces.list_traces()
            await elsewhere.do(tracer.traces.list_traces())
        assert len(tracer.connection.channels) == 2


async def test_closing_ends_the_calls_of_other_loops_with_an_error_of_the_clients_own() -> None:
    async with Elsewhere() as elsewhere, serving() as (service, tracer):
        in_flight = elsewhere.do(tracer.traces.get_trace("t"))
        await service.asked.wait()
        await tracer.close()
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(in_flight, SECONDS_MAX / 2)
        assert (await elsewhere.do(tracer.traces.list_traces())).traces == []


def nobody_there() -> AgentTracer:
    return AgentTracer("127.0.0.1:1", retries=0)


def test_a_loop_for_each_call_does_not_pile_up_channels() -> None:
    tracer = nobody_there()
    for _ in range(4):
        with pytest.raises(UnavailableError):
            asyncio.run(tracer.traces.list_traces())
    assert len(tracer.connection.channels) == 1


def test_loops_that_nobody_closes_do_not_pile_up_channels_either() -> None:
    tracer = nobody_there()
    loops = [asyncio.new_event_loop() for _ in range(AT_REST_MAX + 3)]
    for loop in loops:
        with pytest.raises(UnavailableError):
            loop.run_until_complete(tracer.traces.list_traces())
    assert len(tracer.connection.channels) == AT_REST_MAX + 1
    for loop in loops:
        loop.close()
