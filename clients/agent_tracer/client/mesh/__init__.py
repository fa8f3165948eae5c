"""The Agent Mesh: calls between agents as one trace, with each side's agent, links for delegation, and no contents.

    from agent_tracer.client import mesh

    channel = grpc.aio.insecure_channel(target, interceptors=mesh.aio_client_interceptors(agent_id="planner"))
    server = grpc.aio.server(interceptors=[mesh.aio_server_interceptor(agent_id="writer")])

Everything takes `agent_id` (empty: the agent of the current context), `capture_messages` and `redact` (contents are not
kept unless asked for), and `tracer_provider` (the global one unless given). What traces an end raises nothing of its
own into it. The packages of the protocols (a2a-sdk, mcp) are needed by what is named after them alone.
"""

# ruff: noqa: ANN401  # options are keywords of several types; clients and servers of a protocol are its SDK's

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agent_tracer.client.mesh.calls import Mesh
from agent_tracer.client.mesh.faults import count as faults
from agent_tracer.client.mesh.messages import Capture

if TYPE_CHECKING:
    import grpc
    from grpc import aio
    from grpclib.client import Channel
    from grpclib.server import Server

    from agent_tracer.client.mesh.asgi import A2AMiddleware, MessageMiddleware
    from agent_tracer.client.mesh.emitting import EventEmitter, record
    from agent_tracer.client.mesh.envelope import Envelope, EnvelopeError
    from agent_tracer.client.mesh.events import CloudEvent, EventError
    from agent_tracer.client.mesh.http_client import MeshClient, MeshError, Reply

__all__ = [
    "A2AMiddleware",
    "CloudEvent",
    "Envelope",
    "EnvelopeError",
    "EventEmitter",
    "EventError",
    "MeshClient",
    "MeshError",
    "MessageMiddleware",
    "Reply",
    "a2a_client",
    "a2a_client_interceptor",
    "a2a_executor",
    "aio_client_interceptors",
    "aio_server_interceptor",
    "client_interceptors",
    "faults",
    "grpclib_client",
    "grpclib_server",
    "mcp_server",
    "mcp_session",
    "record",
    "server_interceptor",
]

_HOMES: Final = {
    "A2AMiddleware": "asgi",
    "MessageMiddleware": "asgi",
    "CloudEvent": "events",
    "EventError": "events",
    "Envelope": "envelope",
    "EnvelopeError": "envelope",
    "EventEmitter": "emitting",
    "record": "emitting",
    "MeshClient": "http_client",
    "MeshError": "http_client",
    "Reply": "http_client",
}
"""Where each class is defined: none is loaded before it is asked for."""

_PACKAGES: Final = {"a2a": "a2a-sdk", "grpc": "grpcio", "grpclib": "grpclib"}
"""What to install where a module is missing."""

T = TypeVar("T")
Redact = Callable[[str], str] | None


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_module(_HOMES[name]), name)


def _module(name: str) -> Any:
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        package = _PACKAGES.get(missing, missing)
        raise ImportError(f"this end of the agent mesh needs the package {package}, which is not installed") from error


def _mesh(agent_id: str, options: dict[str, Any]) -> Mesh:
    capture = Capture(options.pop("redact", None)) if options.pop("capture_messages", False) else None
    options.pop("redact", None)
    made = Mesh(agent_id, capture, options.pop("tracer_provider", None))
    if options:
        raise TypeError(f"unknown options: {', '.join(sorted(options))}")
    return made


def client_interceptors(
    agent_id: str = "", *, target: str = "", **options: Any
) -> "list[grpc.UnaryUnaryClientInterceptor]":
    """For `grpc.intercept_channel(channel, *interceptors)`. `target`: the id of the agent called, where it is known."""
    return [_module("grpc_sync").ClientInterceptor(_mesh(agent_id, options), target)]


def server_interceptor(agent_id: str = "", **options: Any) -> "grpc.ServerInterceptor":
    """For `grpc.server(..., interceptors=[...])`."""
    made: grpc.ServerInterceptor = _module("grpc_server").ServerInterceptor(_mesh(agent_id, options))
    return made


def aio_client_interceptors(agent_id: str = "", *, target: str = "", **options: Any) -> "list[aio.ClientInterceptor]":
    """For `grpc.aio.insecure_channel(..., interceptors=...)`: one for each kind of call."""
    made: list[aio.ClientInterceptor] = _module("grpc_aio").interceptors(_mesh(agent_id, options), target)
    return made


def aio_server_interceptor(agent_id: str = "", **options: Any) -> "aio.ServerInterceptor":
    """For `grpc.aio.server(interceptors=[...])`."""
    made: aio.ServerInterceptor = _module("grpc_server").AioServerInterceptor(_mesh(agent_id, options))
    return made


def grpclib_client(channel: "Channel", agent_id: str = "", *, target: str = "", **options: Any) -> "Channel":
    """Trace every call of a grpclib channel, betterproto2's stubs included; the channel itself is returned."""
    made: Channel = _module("grpclib_ends").trace_channel(channel, _mesh(agent_id, options), target)
    return made


def grpclib_server(server: "Server", agent_id: str = "", **options: Any) -> "Server":
    """Trace every call to a grpclib server; the server itself is returned."""
    made: Server = _module("grpclib_ends").trace_server(server, _mesh(agent_id, options))
    return made


def a2a_client(client: T, agent_id: str = "", *, target: str = "", **options: Any) -> T:
    """Trace every call of an A2A client, whichever its transport; the client itself is returned."""
    made: T = _module("a2a_ends").trace_client(client, _mesh(agent_id, options), target)
    return made


def a2a_client_interceptor(agent_id: str = "", *, target: str = "", **options: Any) -> Any:
    """For `ClientFactory.create(card, interceptors=[...])`, where the client itself cannot be had."""
    return _module("a2a_ends").ClientInterceptor(_mesh(agent_id, options), target)


def a2a_executor(executor: T, agent_id: str = "", **options: Any) -> T:
    """An A2A agent's executor with its work traced, for `DefaultRequestHandler(agent_executor=...)`."""
    made: T = _module("a2a_ends").TracedExecutor(executor, _mesh(agent_id, options))
    return made


def mcp_session(session: T, agent_id: str = "", *, target: str = "", **options: Any) -> T:
    """Trace the tool calls of an MCP client session, or of the `mcp.Client` that has one; it is returned itself."""
    made: T = _module("mcp_ends").trace_session(session, _mesh(agent_id, options), target)
    return made


def mcp_server(server: T, agent_id: str = "", **options: Any) -> T:
    """Trace the requests to an MCP server, low-level or MCPServer; it is returned itself."""
    made: T = _module("mcp_ends").trace_server(server, _mesh(agent_id, options))
    return made
