"""A2A between two agents, by the SDK's own clients and servers, over JSON-RPC and over gRPC."""

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest
from a2a.client.errors import A2AClientError
from a2a.utils.errors import A2AError
from opentelemetry.sdk.trace import ReadableSpan

from agent_tracer.client import mesh
from tests.fixtures.a2a_agents import Writer, a2a_agent, a2a_client, message
from tests.fixtures.mesh import SECRET, Caught

BINDINGS = ["JSONRPC", "GRPC"]


@pytest.fixture
def caught() -> Caught:
    return Caught()


def executor(caught: Caught) -> Any:
    return mesh.a2a_executor(Writer(), "writer", tracer_provider=caught.provider)


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def ask(made: Any, caught: Caught, text: str, *, streaming: bool = True) -> list[Any]:
    async with a2a_client(made, streaming=streaming) as plain:
        client = mesh.a2a_client(plain, "planner", tracer_provider=caught.provider)
        return [event async for event in client.send_message(message(text))]


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_hand_off_is_one_trace_with_each_sides_agent(binding: str, streaming: bool, caught: Caught) -> None:
    async with a2a_agent(binding, executor(caught)) as made:
        events = await ask(made, caught, SECRET, streaming=streaming)
        await caught.until(2)
    assert events
    client, server = caught.of_kind("CLIENT"), caught.of_kind("SERVER")
    assert server.parent is not None
    assert (server.parent.span_id, server.context.trace_id) == (client.context.span_id, client.context.trace_id)
    assert [told(span)["gen_ai.agent.id"] for span in (client, server)] == ["planner", "writer"]
    assert [link.context.span_id for link in server.links] == [client.context.span_id]
    assert (client.name, server.name) == ("A2A SendMessage", "invoke_agent writer")
    assert told(server)["gen_ai.operation.name"] == "invoke_agent"
    assert {told(span)["a2a.task.state"] for span in (client, server)} == {"TASK_STATE_COMPLETED"}
    assert {span.status.status_code.name for span in (client, server)} == {"UNSET"}
    assert SECRET not in caught.text()


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_task_that_failed_is_an_error_of_both_sides(binding: str, caught: Caught) -> None:
    async with a2a_agent(binding, executor(caught)) as made:
        await ask(made, caught, "fail")
        await caught.until(2)
    assert {told(span)["error.type"] for span in caught.spans} == {"TASK_STATE_FAILED"}


@pytest.mark.parametrize("binding", BINDINGS)
async def test_an_executor_that_raises_is_an_error_of_both_sides(binding: str, caught: Caught) -> None:
    async with a2a_agent(binding, executor(caught)) as made:
        with suppress(A2AError):  # over some transports the failed task is told as an error
            await ask(made, caught, "raise")
        await caught.until(2)
    assert told(caught.of_kind("SERVER"))["error.type"] == "ValueError"
    assert caught.of_kind("CLIENT").status.status_code.name == "ERROR"
    assert SECRET not in caught.text()


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_stream_left_early_is_no_error(binding: str, caught: Caught) -> None:
    async with a2a_agent(binding, executor(caught)) as made, a2a_client(made) as plain:
        client = mesh.a2a_client(plain, "planner", tracer_provider=caught.provider)
        events = client.send_message(message("sleep"))
        await anext(events)
        await events.aclose()
        (span,) = [span for span in caught.spans if span.kind.name == "CLIENT"]
    assert (span.status.status_code.name, told(span)["agent_tracer.cancelled"]) == ("UNSET", True)


async def test_the_transports_span_comes_between(caught: Caught) -> None:
    def wrap(app: Any) -> Any:
        return mesh.A2AMiddleware(app, "writer", tracer_provider=caught.provider)

    async with a2a_agent("JSONRPC", executor(caught), wrap) as made:
        await ask(made, caught, "write", streaming=False)
        await caught.until(3)
    server, work = caught.of_kind("SERVER"), caught.of_kind("INTERNAL")
    assert work.parent is not None
    assert (server.name, work.parent.span_id) == ("A2A", server.context.span_id)
    assert told(server)["http.response.status_code"] == 200


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("streaming", [True, False])
async def test_an_interceptor_makes_the_callers_end(binding: str, streaming: bool, caught: Caught) -> None:
    interceptor = mesh.a2a_client_interceptor("planner", tracer_provider=caught.provider)
    async with (
        a2a_agent(binding, executor(caught)) as made,
        a2a_client(made, streaming=streaming, interceptors=[interceptor]) as client,
    ):
        assert [event async for event in client.send_message(message("write"))]
        await caught.until(2)
    client_end, server = caught.of_kind("CLIENT"), caught.of_kind("SERVER")
    assert server.parent is not None
    assert server.parent.span_id == client_end.context.span_id
    assert client_end.status.status_code.name == "UNSET"


async def test_an_interceptors_call_that_failed_is_an_error(caught: Caught) -> None:
    interceptor = mesh.a2a_client_interceptor("planner", tracer_provider=caught.provider)
    async with a2a_agent("JSONRPC", Writer()) as made:
        pass
    async with a2a_client(made, streaming=False, interceptors=[interceptor]) as client:
        with pytest.raises(A2AClientError):
            [event async for event in client.send_message(message("write"))]
    gc.collect()
    await asyncio.sleep(0)
    assert [told(span)["error.type"] for span in await caught.until(1)] == ["_OTHER"]


async def test_client_and_interceptor_together_make_one_span(caught: Caught) -> None:
    interceptor = mesh.a2a_client_interceptor("planner", tracer_provider=caught.provider)
    async with a2a_agent("JSONRPC", Writer()) as made, a2a_client(made, interceptors=[interceptor]) as plain:
        client = mesh.a2a_client(plain, "planner", tracer_provider=caught.provider)
        assert [event async for event in client.send_message(message("write"))]
        assert len(await caught.until(1)) == 1
