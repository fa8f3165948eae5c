"""Synchronous grpc calls between two agents."""

import gc
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan

from agent_tracer.client import mesh
from tests.fixtures.mesh import KINDS, LATE_SECONDS, SECRET, SERVICE, WAIT_SECONDS, Caught, SyncAgent, handlers


@pytest.fixture
def caught() -> Caught:
    return Caught()


@contextmanager
def served(caught: Caught, agent: SyncAgent) -> Iterator[Any]:
    """A channel to the agent, both ends traced."""
    interceptor = mesh.server_interceptor("writer", tracer_provider=caught.provider)
    with futures.ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, interceptors=[interceptor], handlers=[handlers(agent)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        client = mesh.client_interceptors("planner", tracer_provider=caught.provider)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as plain:
            yield grpc.intercept_channel(plain, *client)
        server.stop(None).wait()


@pytest.fixture
def channel(caught: Caught) -> Iterator[Any]:
    with served(caught, SyncAgent()) as opened:
        yield opened


def call(channel: Any, kind: str, word: bytes, **options: Any) -> list[bytes]:
    method = getattr(channel, kind)(f"/{SERVICE}/{kind}")
    answer = method(iter([word, word]) if kind.startswith("stream") else word, **options)
    return [answer] if kind.endswith("unary") else list(answer)


def ended(caught: Caught, count: int = 2) -> list[ReadableSpan]:
    """Spans of threads, which may be a step behind the answer."""
    deadline = time.monotonic() + WAIT_SECONDS
    while len(caught.spans) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(caught.spans) == count
    return sorted(caught.spans, key=lambda span: span.kind.name)


def told(span: ReadableSpan) -> tuple[Any, str]:
    return dict(span.attributes or {})["rpc.grpc.status_code"], span.status.status_code.name


@pytest.mark.parametrize("kind", KINDS)
def test_both_ends_are_one_trace_with_each_sides_agent(kind: str, channel: Any, caught: Caught) -> None:
    assert call(channel, kind, b"a")
    client, server = ended(caught)
    assert server.parent is not None
    assert (server.parent.span_id, server.context.trace_id) == (client.context.span_id, client.context.trace_id)
    assert [dict(span.attributes or {})["gen_ai.agent.id"] for span in (client, server)] == ["planner", "writer"]
    assert [link.context.span_id for link in server.links] == [client.context.span_id]
    assert [told(client), told(server)] == [(0, "UNSET"), (0, "UNSET")]


@pytest.mark.parametrize(
    ("word", "client_side", "server_side"),
    [(b"abort", (5, "ERROR"), (5, "UNSET")), (b"raise", (2, "ERROR"), (2, "ERROR"))],
)
def test_errors_reach_the_caller_and_both_spans(
    word: bytes, client_side: Any, server_side: Any, channel: Any, caught: Caught
) -> None:
    with pytest.raises(grpc.RpcError, match=SECRET):
        call(channel, "unary_unary", word)
    assert [told(span) for span in ended(caught)] == [client_side, server_side]
    assert SECRET not in caught.text()


def test_a_stream_that_fails_half_way_gives_what_came_before(channel: Any, caught: Caught) -> None:
    answers = channel.unary_stream(f"/{SERVICE}/unary_stream")(b"raise")
    assert [next(answers) for _ in range(3)]
    with pytest.raises(grpc.RpcError):
        next(answers)
    assert [told(span) for span in ended(caught)] == [(2, "ERROR"), (2, "ERROR")]


def test_a_deadline_is_one_on_both_sides() -> None:
    for seconds in LATE_SECONDS:
        caught, agent = Caught(), SyncAgent()
        with served(caught, agent) as channel:
            ends_at = time.monotonic() + seconds
            with pytest.raises(grpc.RpcError):
                call(channel, "unary_unary", b"sleep", timeout=seconds)
            if agent.late.has_one(ends_at):
                assert [told(span) for span in ended(caught)] == [(4, "ERROR"), (4, "ERROR")]
                return
    pytest.fail("no request arrived before its deadline")


@pytest.mark.parametrize("how", ["cancel", "drop"])
def test_leaving_a_stream_early_stops_the_callee_and_is_no_error(how: str, channel: Any, caught: Caught) -> None:
    answers = channel.unary_stream(f"/{SERVICE}/unary_stream")(b"endless")
    assert next(answers)
    if how == "cancel":
        answers.cancel()
    del answers
    gc.collect()
    assert [told(span) for span in ended(caught)] == [(1, "UNSET"), (1, "UNSET")]


def test_a_future_is_one_still(channel: Any, caught: Caught) -> None:
    future = channel.unary_unary(f"/{SERVICE}/unary_unary").future(b"a")
    assert future.result(timeout=WAIT_SECONDS) == b"echo a"
    assert [told(span) for span in ended(caught)] == [(0, "UNSET"), (0, "UNSET")]


def test_metadata_and_the_call_of_an_answer_are_the_callers(channel: Any, caught: Caught) -> None:
    answer, rpc = channel.unary_unary(f"/{SERVICE}/unary_unary").with_call(b"a", metadata=(("x-own", "1"),))
    assert (answer, rpc.code()) == (b"echo a", grpc.StatusCode.OK)
    ended(caught)
