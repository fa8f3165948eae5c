"""MCP between an agent and a tool server, by the SDK's own client and server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp
import pytest
from mcp.server.mcpserver import MCPServer
from opentelemetry.sdk.trace import ReadableSpan

from agent_tracer.client import mesh
from tests.fixtures.mesh import SECRET, Caught


def tools(asleep: asyncio.Event | None = None) -> MCPServer:
    server = MCPServer("tools")

    @server.tool()
    async def echo(text: str) -> str:
        if text == "raise":
            raise ValueError(SECRET)
        if text == "sleep":
            if asleep is not None:
                asleep.set()
            await asyncio.sleep(30)
        return text

    return server


@pytest.fixture
def caught() -> Caught:
    return Caught()


@asynccontextmanager
async def connected(caught: Caught, asleep: asyncio.Event | None = None) -> AsyncIterator[Any]:
    server = mesh.mcp_server(tools(asleep), "toolbox", tracer_provider=caught.provider)
    async with mcp.Client(server) as opened:
        yield mesh.mcp_session(opened, "planner", tracer_provider=caught.provider)


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def of_tools(caught: Caught) -> tuple[ReadableSpan, ReadableSpan]:
    (caller,) = [span for span in caught.spans if span.kind.name == "INTERNAL"]
    (callee,) = [span for span in caught.spans if span.kind.name == "SERVER" and span.name.startswith("tools/call")]
    return caller, callee


async def test_a_tool_call_is_one_trace_with_a_tool_span_on_both_sides(caught: Caught) -> None:
    async with connected(caught) as client:
        result = await client.call_tool("echo", {"text": SECRET})
        assert result.content[0].text == SECRET
        caller, callee = of_tools(caught)
        assert callee.parent is not None
        assert (callee.parent.span_id, callee.context.trace_id) == (caller.context.span_id, caller.context.trace_id)
        for span in (caller, callee):
            assert (told(span)["gen_ai.operation.name"], told(span)["gen_ai.tool.name"]) == ("execute_tool", "echo")
        assert [told(span)["gen_ai.agent.id"] for span in (caller, callee)] == ["planner", "toolbox"]
        assert [link.context.span_id for link in callee.links] == [caller.context.span_id]
        assert SECRET not in caught.text()


async def test_a_tools_error_result_is_an_error_of_both_sides(caught: Caught) -> None:
    async with connected(caught) as client:
        result = await client.call_tool("echo", {"text": "raise"})
        assert result.is_error
        assert [(span.status.status_code.name, told(span)["error.type"]) for span in of_tools(caught)] == [
            ("ERROR", "tool_error")
        ] * 2
        assert SECRET not in caught.text()


async def test_a_tool_call_that_is_given_up_is_no_error(caught: Caught) -> None:
    asleep = asyncio.Event()
    async with connected(caught, asleep) as client:
        task = asyncio.create_task(client.call_tool("echo", {"text": "sleep"}))
        await asleep.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        caller = next(span for span in caught.spans if span.kind.name == "INTERNAL")
        assert (caller.status.status_code.name, told(caller)["agent_tracer.cancelled"]) == ("UNSET", True)


async def test_the_sdks_own_server_span_is_replaced() -> None:
    server = tools()
    before = [type(held).__name__ for held in server.middleware]
    mesh.mcp_server(mesh.mcp_server(server, "toolbox"), "toolbox")
    after = [type(held).__name__ for held in server.middleware]
    assert "OpenTelemetryMiddleware" in before
    assert after == ["ServerMiddleware", *[name for name in before if name != "OpenTelemetryMiddleware"]]


async def test_arguments_and_results_are_kept_when_asked_for() -> None:
    caught = Caught()
    options: Any = {"capture_messages": True, "tracer_provider": caught.provider}
    async with mcp.Client(mesh.mcp_server(tools(), "toolbox", **options)) as opened:
        await mesh.mcp_session(opened, "planner", **options).call_tool("echo", {"text": "hello"})
    for span in of_tools(caught):
        assert told(span)["input.value"] == '{"text": "hello"}'
        assert "hello" in told(span)["output.value"]


async def test_what_is_no_session_or_server_is_left_alone() -> None:
    before = mesh.faults()
    other = object()
    assert mesh.mcp_server(other) is other
    assert mesh.mcp_session(other) is other
    assert mesh.faults() == before + 2
