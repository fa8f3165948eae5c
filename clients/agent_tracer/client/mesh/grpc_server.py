"""Server interceptors of grpc and grpc.aio.

A handler keeps its kind (function, generator, coroutine function, asynchronous generator): grpc.aio chooses by it where
the handler runs. The call's context is current while the handler works, not while the server sends what it yielded.
"""

# ruff: noqa: ANN401  # handlers, requests and contexts are grpcio's, which has no types for them

import inspect
from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc import aio

from agent_tracer.client.mesh.calls import Mesh
from agent_tracer.client.mesh.faults import note
from agent_tracer.client.mesh.grpc_calls import METHODS_KEPT
from agent_tracer.client.mesh.grpc_handlers import ASYNC_STREAM, ASYNC_UNARY, SYNC_STREAM, SYNC_UNARY, Behaviour

_MAKERS: Final = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}
"""By whether requests, and whether answers, are streams: a handler's field, and what makes such a handler."""


class _Handlers:
    """Handlers with their tracing around them, each made once."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._made: dict[str, tuple[Any, Any]] = {}

    def traced(self, method: str, handler: Any) -> Any:
        """The handler with its tracing; the handler itself where that cannot be."""
        if handler is None:
            return None
        held = self._made.get(method)
        if held is not None and held[0] is handler:
            return held[1]
        try:
            made = self._make(method, handler)
        except Exception as fault:  # noqa: BLE001  # the server serves, traced or not
            note("handler", fault)
            return handler
        if len(self._made) < METHODS_KEPT:
            self._made[method] = (handler, made)
        return made

    def _make(self, method: str, handler: Any) -> Any:
        field, make = _MAKERS[handler.request_streaming, handler.response_streaming]
        behaviour = getattr(handler, field)
        around = _around(behaviour, streams=handler.response_streaming)
        traced = around(self._mesh, method, behaviour, handler.request_streaming)
        return make(traced, handler.request_deserializer, handler.response_serializer)


def _around(behaviour: Any, *, streams: bool) -> Callable[[Mesh, str, Behaviour, bool], Behaviour]:
    if inspect.isasyncgenfunction(behaviour):
        return ASYNC_STREAM
    if inspect.iscoroutinefunction(behaviour):  # with streamed answers too: such a handler writes to its context
        return ASYNC_UNARY
    return SYNC_STREAM if streams else SYNC_UNARY


class ServerInterceptor(grpc.ServerInterceptor):
    """The callee's end of calls to a `grpc.server`."""

    def __init__(self, mesh: Mesh) -> None:
        self._handlers = _Handlers(mesh)

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """The handler with its tracing."""
        return self._handlers.traced(handler_call_details.method, continuation(handler_call_details))


class AioServerInterceptor(aio.ServerInterceptor):
    """The callee's end of calls to a `grpc.aio.server`."""

    def __init__(self, mesh: Mesh) -> None:
        self._handlers = _Handlers(mesh)

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """The handler with its tracing."""
        return self._handlers.traced(handler_call_details.method, await continuation(handler_call_details))
