"""Faults of tracing itself: calls are as they would be without it."""

import asyncio
import logging
from typing import Any

import grpc
import pytest
from grpc import aio
from opentelemetry import baggage
from opentelemetry.context import Context, attach, detach

from agent_tracer.client import mesh
from agent_tracer.client.mesh import propagation
from agent_tracer.client.mesh.calls import Mesh
from tests.fixtures.mesh import KINDS, AioAgent, Caught, aio_agent, call_all


class BadSpan:
    """A span of which everything fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class BadTracer:
    def __init__(self, *, spans: bool) -> None:
        self._spans = spans

    def start_span(self, *_: Any, **__: Any) -> Any:
        if self._spans:
            return BadSpan()
        raise RuntimeError("no spans today")


class BadProvider:
    def __init__(self, how: str) -> None:
        self._how = how

    def get_tracer(self, *_: Any, **__: Any) -> Any:
        if self._how == "provider":
            raise RuntimeError("no tracer today")
        return BadTracer(spans=self._how == "span")


def both(**options: Any) -> tuple[list[Any], list[Any]]:
    return [mesh.aio_server_interceptor("writer", **options)], mesh.aio_client_interceptors("planner", **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["provider", "tracer", "span"])
async def test_a_tracer_that_raises_costs_no_call(how: str, kind: str) -> None:
    async with aio_agent(*both(tracer_provider=BadProvider(how))) as channel:
        assert (await call_all(channel, kind, [b"a"]))[-1].endswith(b"a")
        with pytest.raises(aio.AioRpcError) as refused:
            await call_all(channel, kind, [b"abort"])
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_faults_are_counted_and_each_kind_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    before = mesh.faults()
    with caplog.at_level(logging.WARNING, "agent_tracer.mesh"):
        async with aio_agent(*both(tracer_provider=BadProvider("tracer"))) as channel:
            for _ in range(5):
                await call_all(channel, "unary_unary", [b"a"])
    assert mesh.faults() - before == 10
    assert len([record for record in caplog.records if "calling" in record.getMessage()]) <= 1
    assert "no spans today" not in caplog.text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_redaction_that_raises_shows_nothing_and_costs_no_call(kind: str) -> None:
    def refuse(_: str) -> str:
        raise RuntimeError("cannot redact")

    caught = Caught()
    options = {"tracer_provider": caught.provider, "capture_messages": True, "redact": refuse}
    async with aio_agent(*both(**options)) as channel:
        assert (await call_all(channel, kind, [b"hidden"]))[-1].endswith(b"hidden")
        await caught.until(2)
    assert "hidden" not in caught.text()


GARBAGE = [
    (("traceparent", "garbage"),),
    (("traceparent", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"),),
    (("traceparent", "ff-" + "a" * 32 + "-" + "b" * 16 + "-01"),),
    (("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"), ("tracestate", ",,=,=;=" * 50)),
    (("baggage", "%%%=,=;;,gen_ai.agent.id"),),
    (("baggage", "a=" + "b" * 5000),),
    (("traceparent-bin", b"\xff\x00"), ("traceparent", "")),
]


@pytest.mark.parametrize("metadata", GARBAGE)
async def test_metadata_that_is_garbage_is_none_at_all(metadata: Any) -> None:
    caught = Caught()
    async with aio_agent(both(tracer_provider=caught.provider)[0], []) as channel:
        assert await call_all(channel, "unary_unary", [b"a"], metadata=metadata) == [b"echo a"]
        await caught.until(1)
    assert caught.spans[0].attributes is not None
    assert caught.spans[0].attributes["gen_ai.agent.id"] == "writer"
    assert caught.spans[0].links == ()


async def test_baggage_that_would_make_a_server_refuse_the_call_is_cut_to_who_is_at_work() -> None:
    caught = Caught()
    context = baggage.set_baggage("gen_ai.conversation.id", "s-1", baggage.set_baggage("notes", "x" * 20_000))
    token = attach(context)
    try:
        async with aio_agent(*both(tracer_provider=caught.provider)) as channel:
            assert await call_all(channel, "unary_unary", [b"a"]) == [b"echo a"]
            await caught.until(2)
    finally:
        detach(token)
    assert {dict(span.attributes or {})["gen_ai.conversation.id"] for span in caught.spans} == {"s-1"}


def test_baggage_that_is_longer_than_any_may_be_is_none() -> None:
    assert baggage.get_all(propagation.with_baggage("a=" + "b" * 9000, Context())) == {}
    assert propagation.outgoing(baggage.set_baggage("gen_ai.agent.id", "x" * 9000, Context())) == {}


def test_headers_of_any_types_are_picked_through() -> None:
    pairs: Any = [(b"TraceParent", b"x"), ("baggage", 5), (None, None), ("tracestate", "y")]
    assert propagation.picked(pairs) == {"traceparent": "x", "tracestate": "y"}


async def test_a_span_ends_once_whatever_comes_after() -> None:
    caught = Caught()
    call = Mesh("a", tracer_provider=caught.provider).calling("c", {})
    for number in range(3):
        call.end({"n": number})
    assert [dict(span.attributes or {})["n"] for span in caught.spans] == [0]
    call.request(b"late")
    call.set({"late": True})
    with call:
        await asyncio.sleep(0)
    assert "late" not in caught.text()


async def test_own_calls_of_a_handler_come_under_its_span() -> None:
    caught = Caught()
    async with aio_agent(*both(tracer_provider=caught.provider)) as inner:

        class Relay(AioAgent):
            async def unary_unary(self, request: bytes, context: Any) -> bytes:
                return (await call_all(inner, "unary_unary", [request]))[0]

        client = mesh.aio_client_interceptors("chief", tracer_provider=caught.provider)
        relay = [mesh.aio_server_interceptor("planner", tracer_provider=caught.provider)]
        async with aio_agent(relay, client, Relay()) as outer:
            await call_all(outer, "unary_unary", [b"a"])
            spans = await caught.until(4)
    chain = {span.parent.span_id if span.parent else 0: span for span in spans}
    agents, at = [], 0
    while at in chain:
        span = chain[at]
        agents.append(dict(span.attributes or {})["gen_ai.agent.id"])
        at = span.context.span_id
    assert agents == ["chief", "planner", "planner", "writer"]
