"""grpc.aio calls between two agents: both ends of a call, in each way that a call can end."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest
from grpc import aio
from opentelemetry.sdk.trace import ReadableSpan

from agent_tracer.client import mesh
from tests.fixtures.mesh import (
    KINDS,
    LATE_SECONDS,
    SECRET,
    SERVICE,
    WAIT_SECONDS,
    AioAgent,
    Caught,
    aio_agent,
    call_all,
)


@pytest.fixture
def caught() -> Caught:
    return Caught()


@pytest.fixture
async def agent() -> AioAgent:
    return AioAgent()


def served(caught: Caught, agent: AioAgent) -> AbstractAsyncContextManager[Any]:
    """A channel to the agent, both ends traced."""
    server = [mesh.aio_server_interceptor("writer", tracer_provider=caught.provider)]
    client = mesh.aio_client_interceptors("planner", tracer_provider=caught.provider)
    return aio_agent(server, client, agent)


@pytest.fixture
async def channel(caught: Caught, agent: AioAgent) -> AsyncIterator[Any]:
    async with served(caught, agent) as opened:
        yield opened


def ends(caught: Caught) -> tuple[ReadableSpan, ReadableSpan]:
    return caught.of_kind("CLIENT"), caught.of_kind("SERVER")


def code(span: ReadableSpan) -> Any:
    return (span.attributes or {}).get("rpc.grpc.status_code")


def is_error(span: ReadableSpan) -> bool:
    return span.status.status_code.name == "ERROR"


@pytest.mark.parametrize("kind", KINDS)
async def test_both_ends_are_one_trace_with_each_sides_agent(kind: str, channel: Any, caught: Caught) -> None:
    await call_all(channel, kind, [b"a", b"b"])
    await caught.until(2)
    client, server = ends(caught)
    assert client.name == server.name == f"{SERVICE}/{kind}"
    assert server.context.trace_id == client.context.trace_id
    assert server.parent is not None
    assert server.parent.span_id == client.context.span_id
    assert [dict(span.attributes or {})["gen_ai.agent.id"] for span in (client, server)] == ["planner", "writer"]
    assert [(code(span), span.status.status_code.name) for span in (client, server)] == [(0, "UNSET"), (0, "UNSET")]


async def test_the_delegated_sides_span_links_the_delegating_agents(channel: Any, caught: Caught) -> None:
    await call_all(channel, "unary_unary", [b"a"])
    await caught.until(2)
    client, server = ends(caught)
    (link,) = server.links
    assert link.context.span_id == client.context.span_id
    assert dict(link.attributes or {}) == {
        "ossa.agent.id": "planner",
        "ossa.delegation.type": "handoff",
    }
    assert dict(server.attributes or {})["ossa.parent.agent.id"] == "planner"


@pytest.mark.parametrize("kind", KINDS)
async def test_the_callees_agent_and_span_are_current_in_the_handler(
    kind: str, channel: Any, caught: Caught, agent: AioAgent
) -> None:
    await call_all(channel, kind, [b"a"])
    await caught.until(2)
    assert agent.inside == [(caught.of_kind("SERVER").context.span_id, "writer")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("word", "status", "fails"),
    [
        ("abort", grpc.StatusCode.NOT_FOUND, False),
        ("unavailable", grpc.StatusCode.UNAVAILABLE, True),
        ("raise", grpc.StatusCode.UNKNOWN, True),
    ],
)
async def test_errors_reach_the_caller_as_they_are_and_both_spans(
    kind: str, word: str, status: grpc.StatusCode, fails: bool, channel: Any, caught: Caught
) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await call_all(channel, kind, [word.encode()])
    assert refused.value.code() is status
    assert SECRET in str(refused.value.details())
    await caught.until(2)
    client, server = ends(caught)
    assert (code(client), code(server)) == (status.value[0], status.value[0])
    assert is_error(client)
    assert is_error(server) is fails
    assert SECRET not in caught.text(), "an error's text may be made of a message's"


async def test_an_unhandled_exception_is_told_by_its_class(channel: Any, caught: Caught) -> None:
    with pytest.raises(aio.AioRpcError):
        await call_all(channel, "unary_unary", [b"raise"])
    await caught.until(2)
    assert [dict(span.attributes or {})["error.type"] for span in ends(caught)] == ["UNKNOWN", "ValueError"]


async def test_a_code_that_the_handler_set_is_the_spans(channel: Any, caught: Caught) -> None:
    with pytest.raises(aio.AioRpcError):
        await call_all(channel, "unary_unary", [b"code"])
    await caught.until(2)
    assert [code(span) for span in ends(caught)] == [6, 6]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deadline_is_one_on_both_sides(kind: str) -> None:
    for seconds in LATE_SECONDS:
        caught, agent = Caught(), AioAgent()
        async with served(caught, agent) as channel:
            ends_at = time.monotonic() + seconds
            with pytest.raises(aio.AioRpcError) as late:
                await call_all(channel, kind, [b"sleep"], timeout=seconds)
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if agent.late.has_one(ends_at):
                await caught.until(2)
                assert [(code(span), is_error(span)) for span in ends(caught)] == [(4, True), (4, True)]
                return
    pytest.fail("no request arrived before its deadline")


async def test_a_cancelled_call_is_no_error_of_either_side(channel: Any, caught: Caught, agent: AioAgent) -> None:
    call = channel.unary_unary(f"/{SERVICE}/unary_unary")(b"sleep")
    async with asyncio.timeout(WAIT_SECONDS):
        while not agent.inside:
            await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(agent.ended.wait(), WAIT_SECONDS)
    await caught.until(2)
    assert [(code(span), is_error(span)) for span in ends(caught)] == [(1, False), (1, False)]
    assert all(dict(span.attributes or {})["agent_tracer.cancelled"] for span in caught.spans)


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_leaving_a_stream_early_stops_the_callee_and_is_no_error(
    how: str, channel: Any, caught: Caught, agent: AioAgent
) -> None:
    """grpc.aio itself goes on with a call that is merely dropped, until its channel is closed."""
    call, seen = channel.unary_stream(f"/{SERVICE}/unary_stream")(b"endless"), 0
    async for _ in call:
        seen += 1
        if seen == 2:
            break
    if how == "cancel":
        call.cancel()
    else:
        await channel.close()
    await asyncio.wait_for(agent.ended.wait(), WAIT_SECONDS)
    await caught.until(2)
    assert [(code(span), is_error(span)) for span in ends(caught)] == [(1, False), (1, False)]


async def test_a_stream_that_fails_half_way_gives_what_came_before(channel: Any, caught: Caught) -> None:
    seen = []
    with pytest.raises(aio.AioRpcError):
        async for answer in channel.unary_stream(f"/{SERVICE}/unary_stream")(b"raise"):
            seen.append(answer)  # noqa: PERF401  # what came before the error is what is asked for
    assert len(seen) == 3
    await caught.until(2)
    server = dict(caught.of_kind("SERVER").attributes or {})
    assert (server["rpc.response.messages"], server["error.type"]) == (3, "ValueError")


async def test_messages_are_told_by_size_and_kind_alone(channel: Any, caught: Caught) -> None:
    await call_all(channel, "unary_unary", [SECRET.encode()])
    await caught.until(2)
    server = dict(caught.of_kind("SERVER").attributes or {})
    assert server["rpc.request.size"] == len(SECRET)
    assert server["rpc.response.size"] == len(SECRET) + 5
    assert SECRET not in caught.text()


@pytest.mark.parametrize("kind", KINDS)
async def test_contents_are_kept_when_asked_for_and_redacted(kind: str, caught: Caught) -> None:
    options: Any = {
        "capture_messages": True,
        "redact": lambda text: text.replace(SECRET, "[removed]"),
        "tracer_provider": caught.provider,
    }
    async with aio_agent(
        [mesh.aio_server_interceptor("writer", **options)], mesh.aio_client_interceptors("planner", **options)
    ) as channel:
        await call_all(channel, kind, [b"x" * 5000 + b" " + SECRET.encode()])
        await call_all(channel, kind, [b"tell " + SECRET.encode()])
        await caught.until(4)
    assert SECRET not in caught.text()
    kept = [dict(span.attributes or {}).get("input.value", "") for span in caught.spans if span.kind.name == "SERVER"]
    assert sorted(len(str(text)) for text in kept) == [len("tell [removed]"), 4096]


async def test_a_method_that_nobody_serves_has_a_callers_end_only(channel: Any, caught: Caught) -> None:
    with pytest.raises(aio.AioRpcError):
        await channel.unary_unary("/nobody/Here")(b"")
    await caught.until(1)
    assert (code(caught.spans[0]), is_error(caught.spans[0])) == (12, True)


async def test_without_an_agent_of_its_own_a_server_is_nobody(caught: Caught) -> None:
    async with aio_agent(
        [mesh.aio_server_interceptor(tracer_provider=caught.provider)],
        mesh.aio_client_interceptors("planner", tracer_provider=caught.provider),
        agent := AioAgent(),
    ) as channel:
        await call_all(channel, "unary_unary", [b"a"])
        await caught.until(2)
    server = caught.of_kind("SERVER")
    assert "gen_ai.agent.id" not in dict(server.attributes or {})
    assert (agent.inside[0][1], server.links) == (None, ())


async def test_metadata_of_the_caller_arrives_beside_the_meshs(caught: Caught) -> None:
    seen: list[Any] = []

    class Looking(aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            seen.extend(handler_call_details.invocation_metadata)
            return await continuation(handler_call_details)

    async with aio_agent(
        [Looking()], mesh.aio_client_interceptors("planner", tracer_provider=caught.provider)
    ) as channel:
        await call_all(
            channel, "unary_unary", [b"a"], metadata=(("x-own", "1"), ("x-own", "2"), ("traceparent", "old"))
        )
    pairs = [(key, value) for key, value in seen if key in ("x-own", "traceparent", "baggage")]
    assert sorted(value for key, value in pairs if key == "x-own") == ["1", "2"]
    (client,) = caught.spans
    assert (
        dict(pairs)["traceparent"]
        == f"00-{client.context.trace_id:032x}-{client.context.span_id:016x}-{client.context.trace_flags:02x}"
    )
    assert dict(pairs)["baggage"] == "gen_ai.agent.id=planner"
    assert len(pairs) == 4
