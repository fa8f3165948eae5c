"""The two ends of MCP: agent identity and trace context in `_meta` (SEP-414), tool spans on both sides.

The SDK, from 2.0 on, makes a client span and a server span for each message by itself. Its client span stays, as the
transport under the agent's own `execute_tool` span; its server middleware is replaced by this one, which says the same
and which agents are at work, so that no message has two server spans.
"""

# ruff: noqa: ANN401  # sessions, servers and messages are the SDK's, which need not be installed

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from opentelemetry.context import get_current
from opentelemetry.trace import SpanKind

from agent_tracer.client.mesh.calls import CANCELLED, Attributes, Call, Mesh, is_cancellation
from agent_tracer.client.mesh.faults import guarded, note
from agent_tracer.client.mesh.propagation import KEYS

CALL_TOOL: Final = "tools/call"
_DONE: Final = "_agent_tracer_mesh"
_SDK_MIDDLEWARE: Final = "OpenTelemetryMiddleware"


def trace_session(session: Any, mesh: Mesh, target: str) -> Any:
    """Trace what the session (or the client that has one) asks for from now on; it is returned itself."""
    try:
        inner = getattr(session, "session", session)
        if not hasattr(inner, _DONE):
            inner.send_request = _sending(inner.send_request, mesh, target)
            setattr(inner, _DONE, True)
    except Exception as fault:  # noqa: BLE001  # the session works as it did
        note("mcp_session", fault)
    return session


def _sending(send: Callable[..., Awaitable[Any]], mesh: Mesh, target: str) -> Callable[..., Awaitable[Any]]:
    async def send_request(request: Any, *args: Any, **kwargs: Any) -> Any:
        call = _begin_request(mesh, request, target)
        if not call.is_open:
            return await send(request, *args, **kwargs)
        request = _with_meta(request, call)
        try:
            with call:
                result = await send(request, *args, **kwargs)
        except BaseException as error:
            _end_failed(call, error)
            raise
        _end(call, result)
        return result

    return send_request


@guarded(Call)
def _begin_request(mesh: Mesh, request: Any, target: str) -> Call:
    """The call of a tool has a span; anything else an agent asks a server is the protocol's."""
    if getattr(request, "method", "") != CALL_TOOL:
        return Call()
    name = str(request.params.name)
    call = mesh.calling(f"execute_tool {name}", _tool(name), target, SpanKind.INTERNAL)
    call.request(getattr(request.params, "arguments", None))
    return call


def _with_meta(request: Any, call: Call) -> Any:
    """The request with the headers in `_meta`: SDKs before 2.0 put none there, later ones put theirs over them."""
    try:
        params = request.params
        held = params.meta
        if held is None or isinstance(held, dict):
            meta: Any = {**(held or {}), **call.headers}
        else:
            meta = held.model_copy(update=dict(call.headers))
        return request.model_copy(update={"params": params.model_copy(update={"meta": meta})})
    except Exception as fault:  # noqa: BLE001  # the call goes on without the headers
        note("with_meta", fault)
        return request


def trace_server(server: Any, mesh: Mesh) -> Any:
    """Trace what the server (low-level or MCPServer) is asked from now on; it is returned itself."""
    try:
        chain = server.middleware
        if not any(isinstance(held, ServerMiddleware) for held in chain):
            kept = [held for held in chain if type(held).__name__ != _SDK_MIDDLEWARE]
            chain[:] = [ServerMiddleware(mesh), *kept]
    except Exception as fault:  # noqa: BLE001  # the server works as it did
        note("mcp_server", fault)
    return server


class ServerMiddleware:
    """The callee's end of MCP requests, in the form of the SDK's own server middleware."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def __call__(self, ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        """Serve a message: a request has a span, a notification has none."""
        if getattr(ctx, "request_id", None) is None:
            return await call_next(ctx)
        call = self._begin(ctx)
        try:
            with call:
                result = await call_next(ctx)
        except BaseException as error:
            _end_failed(call, error)
            raise
        _end(call, result)
        return result

    @guarded(Call)
    def _begin(self, ctx: Any) -> Call:
        params: Mapping[str, Any] = ctx.params or {}
        named = params.get("name")
        target = named if isinstance(named, str) else ""
        attributes: Attributes = {
            "mcp.method.name": ctx.method,
            "mcp.protocol.version": str(ctx.protocol_version),
            "jsonrpc.request.id": str(ctx.request_id),
        }
        if ctx.method == CALL_TOOL and target:
            attributes |= _tool(target)
        name = f"{ctx.method} {target}".strip()
        call = self._mesh.called(name, attributes, lambda: _carried(ctx.meta), ambient=get_current())
        if ctx.method == CALL_TOOL:
            call.request(params.get("arguments"))
        return call


def _tool(name: str) -> Attributes:
    return {"mcp.method.name": CALL_TOOL, "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}


def _carried(meta: Any) -> Mapping[str, str]:
    held = meta if isinstance(meta, Mapping) else getattr(meta, "model_extra", None) or {}
    return {key: held[key] for key in KEYS if isinstance(held.get(key), str)}


@guarded(lambda: None)
def _end(call: Call, result: Any) -> None:
    held = result if isinstance(result, Mapping) else getattr(result, "__dict__", {})
    failed = any(held.get(key) is True for key in ("isError", "is_error"))
    call.response(held.get("content"))
    call.end({}, "tool_error" if failed else "")


@guarded(lambda: None)
def _end_failed(call: Call, error: BaseException) -> None:
    if is_cancellation(error) or type(error).__name__ == "Cancelled":  # anyio's on another event loop
        call.end({CANCELLED: True})
        return
    code = getattr(getattr(error, "error", None), "code", None)
    if code is None:
        call.end({}, type(error).__qualname__, error)
    else:
        call.end({"rpc.response.status_code": str(code)}, str(code), error)
