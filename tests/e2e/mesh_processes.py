"""Three agents as processes: `python -m tests.e2e.mesh_processes planner|writer|toolbox`.

The planner starts the two others: the writer serves grpc.aio, grpclib, A2A and the HTTP envelope, the toolbox MCP on its
standard streams. Spans go to OTEL_EXPORTER_OTLP_ENDPOINT. The planner prints what came of each call as JSON.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import mcp
import uvicorn
from grpc import aio
from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError
from grpclib.server import Server
from mcp.server.mcpserver import MCPServer
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from agent_tracer.client import mesh
from tests.fixtures.a2a_agents import Writer, a2a_agent, a2a_client, card, message
from tests.fixtures.mesh import SECRET, SERVICE, AioAgent, call_all, handlers
from tests.unit.test_mesh_grpclib import Agent, Bytes

ROOT: Final = Path(__file__).resolve().parents[2]
END_SECONDS: Final = 3


def started(service: str) -> TracerProvider:
    """The process's tracing."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    # The toolbox is ended a moment after its input, whether it has sent what it holds or not.
    sending = SimpleSpanProcessor if service == "toolbox" else BatchSpanProcessor
    provider.add_span_processor(sending(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


async def write() -> None:
    """Serve until standard input ends."""
    async with contextlib.AsyncExitStack() as stack:
        server = aio.server(interceptors=[mesh.aio_server_interceptor("writer")])
        server.add_generic_rpc_handlers((handlers(AioAgent()),))
        grpc_port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, None)
        other = mesh.grpclib_server(Server([Agent()], codec=Bytes()), "writer")
        with socket.create_server(("127.0.0.1", 0)) as held:
            grpclib_port = held.getsockname()[1]
        await other.start("127.0.0.1", grpclib_port)
        stack.callback(other.close)
        served = await stack.enter_async_context(
            a2a_agent("JSONRPC", mesh.a2a_executor(Writer(), "writer"), lambda app: mesh.A2AMiddleware(app, "writer"))
        )
        messages = await stack.enter_async_context(_messages())
        ports = {
            "grpc": grpc_port,
            "grpclib": grpclib_port,
            "a2a": served.supported_interfaces[0].url,
            "http": messages,
        }
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


@contextlib.asynccontextmanager
async def _messages() -> AsyncIterator[str]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    with socket.create_server(("127.0.0.1", 0)) as held:
        web = uvicorn.Server(
            uvicorn.Config(mesh.MessageMiddleware(app, "writer"), log_level="error", lifespan="off", http="h11")
        )
        serving = asyncio.create_task(web.serve(sockets=[held]))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
        web.should_exit = True
        await serving


def tools() -> MCPServer:
    """A server with one tool."""
    server = MCPServer("tools")

    @server.tool()
    async def echo(text: str) -> str:
        if text == "raise":
            raise ValueError(SECRET)
        return text

    return mesh.mcp_server(server, "toolbox")


async def _outcome(work: Awaitable[Any]) -> str:
    """What a call came to, as its caller sees it."""
    try:
        return str(await asyncio.wait_for(work, 60))
    except aio.AioRpcError as error:
        return str(error.code())
    except GRPCError as error:
        return str(error.status)
    except asyncio.CancelledError:
        return "cancelled"


async def plan(ports: Any) -> dict[str, Any]:
    """Call the others in every way, under one span."""
    found: dict[str, Any] = {}
    with trace.get_tracer("planner").start_as_current_span("plan") as root:
        root.set_attribute("gen_ai.agent.id", "planner")
        found["trace"] = f"{root.get_span_context().trace_id:032x}"
        options = mesh.aio_client_interceptors("planner", target="writer")
        async with aio.insecure_channel(f"127.0.0.1:{ports['grpc']}", interceptors=options) as channel:
            found["grpc"] = await _outcome(call_all(channel, "unary_unary", [SECRET.encode()]))
            found["abort"] = await _outcome(call_all(channel, "unary_unary", [b"abort"]))
            found["raise"] = await _outcome(call_all(channel, "unary_stream", [b"raise"]))
            found["late"] = await _outcome(call_all(channel, "stream_unary", [b"sleep"], timeout=1.5))
            found["left"] = await _outcome(_leave(channel))
        found["grpclib"] = await _outcome(_grpclib(ports["grpclib"]))
        if "a2a" in ports:
            found["a2a"] = await _outcome(_a2a(ports["a2a"]))
            found["http"] = await _outcome(_http(ports["http"]))
            found["mcp"] = await _outcome(_mcp())
    return found


async def _leave(channel: Any) -> int:
    call, seen = channel.unary_stream(f"/{SERVICE}/unary_stream")(b"endless"), 0
    async for _ in call:
        seen += 1
        if seen == 2:
            call.cancel()
            break
    return seen


async def _grpclib(port: int) -> Any:
    channel = mesh.grpclib_client(Channel("127.0.0.1", port, codec=Bytes()), "planner")
    opened = channel.request(f"/{SERVICE}/stream_stream", Cardinality.STREAM_STREAM, bytes, bytes)
    async with contextlib.aclosing(_closing(channel)), opened as stream:
        await stream.send_message(SECRET.encode(), end=True)
        return [answer async for answer in stream]


async def _closing(channel: Channel) -> AsyncGenerator[None, None]:
    yield
    channel.close()


async def _a2a(url: str) -> str:
    async with a2a_client(card(url, "JSONRPC")) as plain:
        events = mesh.a2a_client(plain, "planner").send_message(message(SECRET))
        return f"{len([event async for event in events])} events"


async def _http(url: str) -> int:
    reply = await mesh.MeshClient(url, "agent://shop/planner").send("agent://shop/writer", "task", {"text": SECRET})
    return reply.status


async def _mcp() -> list[bool]:
    command = mcp.StdioServerParameters(
        command=sys.executable, args=["-m", "tests.e2e.mesh_processes", "toolbox"], cwd=ROOT, env=dict(os.environ)
    )
    async with mcp.Client(command) as plain:
        client = mesh.mcp_session(plain, "planner")
        results = [await client.call_tool("echo", {"text": text}) for text in (SECRET, "raise")]
        return [bool(result.is_error) for result in results]


async def start_and_plan() -> None:
    """The planner, with a writer of its own."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.e2e.mesh_processes", "writer",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert writer.stdin is not None
    assert writer.stdout is not None
    ports = json.loads(await writer.stdout.readline())
    if sys.argv[2:] == ["grpc"]:
        ports = {name: ports[name] for name in ("grpc", "grpclib")}
    found = await plan(ports)
    writer.stdin.close()
    found["writer"] = await asyncio.wait_for(writer.wait(), 60)
    sys.stdout.write(json.dumps(found) + "\n")


ROLES: Final[dict[str, Callable[[], Any]]] = {
    "planner": lambda: asyncio.run(start_and_plan()),
    "writer": lambda: asyncio.run(write()),
    "toolbox": lambda: tools().run("stdio"),
}

if __name__ == "__main__":
    sent = started(sys.argv[1])
    try:
        ROLES[sys.argv[1]]()
    finally:
        sent.force_flush(END_SECONDS * 1000)
        sent.shutdown()
