"""grpclib calls between two agents, on the stubs and bases that betterproto2 generates."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpclib.client import Channel
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError
from grpclib.server import Server
from opentelemetry.sdk.trace import ReadableSpan

from agent_tracer.client import mesh
from tests.fixtures.mesh import KINDS, LATE_SECONDS, SECRET, SERVICE, WAIT_SECONDS, Caught, Late

CARDINALITY = {
    "unary_unary": Cardinality.UNARY_UNARY,
    "unary_stream": Cardinality.UNARY_STREAM,
    "stream_unary": Cardinality.STREAM_UNARY,
    "stream_stream": Cardinality.STREAM_STREAM,
}


class Bytes(CodecBase):
    """Messages of bytes, as they are."""

    __content_subtype__ = "bytes"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


class Agent:
    """Answers each word; some words do more."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.late = Late()

    def __mapping__(self) -> dict[str, Handler]:
        return {f"/{SERVICE}/{kind}": Handler(self.serve, held, bytes, bytes) for kind, held in CARDINALITY.items()}

    async def serve(self, stream: Any) -> None:
        self.late.served(stream.deadline.time_remaining() if stream.deadline is not None else None)
        try:
            words = [word async for word in stream]
            if words[0] == b"refuse":
                raise GRPCError(Status.NOT_FOUND, SECRET)
            if words[0] == b"raise":
                raise ValueError(SECRET)
            if words[0] == b"say":
                await stream.send_trailing_metadata(status=Status.UNAVAILABLE)
                return
            await stream.send_message(words[0])
            if words[0] == b"sleep":
                await asyncio.sleep(30)
        finally:
            self.ended.set()


@pytest.fixture
def caught() -> Caught:
    return Caught()


@pytest.fixture
async def agent() -> Agent:
    return Agent()


@asynccontextmanager
async def served(caught: Caught, agent: Agent) -> AsyncIterator[Channel]:
    """A channel to the agent, both ends traced."""
    server = mesh.grpclib_server(Server([agent], codec=Bytes()), "writer", tracer_provider=caught.provider)
    assert mesh.grpclib_server(server, "twice") is server
    await server.start("127.0.0.1", 0)
    listening: Any = server._server
    port = listening.sockets[0].getsockname()[1]
    opened = mesh.grpclib_client(Channel("127.0.0.1", port, codec=Bytes()), "planner", tracer_provider=caught.provider)
    mesh.grpclib_client(opened, "twice")
    try:
        yield opened
    finally:
        opened.close()
        server.close()
        await server.wait_closed()


@pytest.fixture
async def channel(caught: Caught, agent: Agent) -> AsyncIterator[Channel]:
    async with served(caught, agent) as opened:
        yield opened


async def call(channel: Channel, kind: str, word: bytes, timeout: float | None = None) -> list[bytes]:  # noqa: ASYNC109  # the call's own deadline
    opened = channel.request(f"/{SERVICE}/{kind}", CARDINALITY[kind], bytes, bytes, timeout=timeout)
    async with opened as stream:
        await stream.send_message(word, end=True)
        return [answer async for answer in stream]


def told(span: ReadableSpan) -> tuple[Any, str]:
    return dict(span.attributes or {})["rpc.grpc.status_code"], span.status.status_code.name


async def ends(caught: Caught) -> list[ReadableSpan]:
    return sorted(await caught.until(2), key=lambda span: span.kind.name)


@pytest.mark.parametrize("kind", KINDS)
async def test_both_ends_are_one_trace_with_each_sides_agent(kind: str, channel: Channel, caught: Caught) -> None:
    assert await call(channel, kind, b"a") == [b"a"]
    client, server = await ends(caught)
    assert server.parent is not None
    assert (server.parent.span_id, server.context.trace_id) == (client.context.span_id, client.context.trace_id)
    assert [dict(span.attributes or {})["gen_ai.agent.id"] for span in (client, server)] == ["planner", "writer"]
    assert [link.context.span_id for link in server.links] == [client.context.span_id]
    assert [told(client), told(server)] == [(0, "UNSET"), (0, "UNSET")]
    assert client.name == server.name == f"{SERVICE}/{kind}"


@pytest.mark.parametrize(
    ("word", "client_side", "server_side"),
    [
        (b"refuse", (5, "ERROR"), (5, "UNSET")),
        (b"raise", (2, "ERROR"), (2, "ERROR")),
        (b"say", (14, "ERROR"), (14, "ERROR")),
    ],
)
async def test_errors_reach_the_caller_and_both_spans(
    word: bytes, client_side: Any, server_side: Any, channel: Channel, caught: Caught
) -> None:
    with pytest.raises(GRPCError):
        await call(channel, "unary_unary", word)
    assert [told(span) for span in await ends(caught)] == [client_side, server_side]
    assert SECRET not in caught.text()


async def test_a_deadline_is_one_on_both_sides() -> None:
    for seconds in LATE_SECONDS:
        caught, agent = Caught(), Agent()
        async with served(caught, agent) as channel:
            ends_at = time.monotonic() + seconds
            with pytest.raises(asyncio.TimeoutError):
                await call(channel, "unary_stream", b"sleep", timeout=seconds)
            if agent.late.has_one(ends_at):
                assert [told(span) for span in await ends(caught)] == [(4, "ERROR"), (4, "ERROR")]
                return
    pytest.fail("no request arrived before its deadline")


@pytest.mark.parametrize("how", ["cancel", "leave", "raise"])
async def test_a_call_that_its_caller_gives_up_is_no_error(
    how: str, channel: Channel, caught: Caught, agent: Agent
) -> None:
    begun = asyncio.Event()

    async def caller() -> None:
        opened = channel.request(f"/{SERVICE}/unary_stream", Cardinality.UNARY_STREAM, bytes, bytes)
        async with opened as stream:
            await stream.send_message(b"sleep", end=True)
            await stream.recv_message()
            begun.set()
            if how == "raise":
                raise LookupError("the caller's own")
            if how == "cancel":
                await stream.recv_message()
            await stream.cancel()

    task = asyncio.create_task(caller())
    await asyncio.wait_for(begun.wait(), WAIT_SECONDS)
    if how == "cancel":
        task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    assert type(result) is {"cancel": asyncio.CancelledError, "leave": type(None), "raise": LookupError}[how]
    await asyncio.wait_for(agent.ended.wait(), WAIT_SECONDS)
    assert [told(span) for span in await ends(caught)] == [(1, "UNSET"), (1, "UNSET")]


async def test_a_server_that_is_not_there_is_unavailable(caught: Caught) -> None:
    channel = mesh.grpclib_client(Channel("127.0.0.1", 1, codec=Bytes()), "planner", tracer_provider=caught.provider)
    with pytest.raises(OSError, match="Connect call failed"):
        await call(channel, "unary_unary", b"a")
    channel.close()
    assert told((await caught.until(1))[0]) == (14, "ERROR")
