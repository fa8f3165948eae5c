"""Around every call: its deadline, its errors, its log line and its metrics."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc import code_pb2
from grpc.aio import AbortError, ServerInterceptor, ServicerContext

from agent_tracer.server.api.errors import abort, status_of
from agent_tracer.server.domain.errors import StoppingError, invalid
from agent_tracer.server.limits import QUERY_SECONDS_MAX

CallHook: TypeAlias = Callable[[str, str, float], None]
"""Told of every finished call: method (`/package.Service/Method`), gRPC code (`OK`), seconds."""

_Context: TypeAlias = ServicerContext[Any, Any]
_Call: TypeAlias = Callable[[Any, _Context], Awaitable[Any]]
_Handler: TypeAlias = Any  # grpc.RpcMethodHandler, whose attributes grpcio does not declare

_SHAPES: Final = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}
"""Request streaming, response streaming: the handler's attribute."""

_log = structlog.get_logger(__name__)


class CallInterceptor(ServerInterceptor):
    """Wraps asynchronous handlers of every shape; synchronous ones pass as they are.

    Exceptions become google.rpc.Status. Handlers run under the caller's deadline; calls without streams
    under QUERY_SECONDS_MAX as well.
    """

    def __init__(self, on_call: CallHook | None = None) -> None:
        self._on_call = on_call
        self._streams: set[asyncio.Timeout] = set()
        self._stopping = False
        self._wrapped: dict[str, tuple[_Handler, _Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """The handler of the call, wrapped; None stays None, which gRPC answers with UNIMPLEMENTED."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = str(handler_call_details.method)
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = (handler, self._wrap(method, handler))
        return known[1]

    def end_streams(self) -> None:
        """Tell every streaming call, now and later, that the server is stopping."""
        self._stopping = True
        now = asyncio.get_running_loop().time()
        for limit in self._streams:
            limit.reschedule(now)

    def _wrap(self, method: str, handler: _Handler) -> _Handler:
        shape = _SHAPES[bool(handler.request_streaming), bool(handler.response_streaming)]
        inner = getattr(handler, shape)
        if not (inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)):
            return handler
        call, decode = _as_coroutine(inner), handler.request_deserializer
        if decode is not None and not handler.request_streaming:
            call, decode = _decoding(call, decode), None
        run = _answer if shape == "unary_unary" else self._stream
        make = getattr(grpc, f"{shape}_rpc_method_handler")
        return make(
            self._guarded(method, call, run),
            request_deserializer=decode,
            response_serializer=handler.response_serializer,
        )

    def _guarded(self, method: str, call: _Call, run: Callable[[_Call, Any, _Context], Awaitable[Any]]) -> _Call:
        async def guarded(request: Any, context: _Context) -> Any:  # noqa: ANN401
            started = time.perf_counter()
            code: int = code_pb2.CANCELLED
            try:
                answer = await run(call, request, context)
                code = _code(context)
                return answer  # noqa: TRY300
            except AbortError:
                code = _code(context)
                raise
            except Exception as error:  # noqa: BLE001
                status = status_of(error)
                code = status.code
                await abort(context, status)
            finally:
                self._finished(method, code, time.perf_counter() - started)

        return guarded

    async def _stream(self, call: _Call, request: Any, context: _Context) -> Any:  # noqa: ANN401
        if self._stopping:
            raise StoppingError
        limit = asyncio.timeout(context.time_remaining())
        self._streams.add(limit)
        try:
            async with limit:
                return await call(request, context)
        except TimeoutError:
            if self._stopping:
                raise StoppingError from None
            raise
        finally:
            self._streams.discard(limit)

    def _finished(self, method: str, code: int, seconds: float) -> None:
        name = code_pb2.Code.Name(code)
        _log.debug("call", method=method, code=name, seconds=seconds)
        if self._on_call is not None:
            self._on_call(method, name, seconds)


def _code(context: _Context) -> int:
    """grpc.aio gives the number, or None until one is set, though it declares the enum."""
    code: Any = context.code()
    return int(code.value[0] if isinstance(code, grpc.StatusCode) else code or 0)


async def _answer(call: _Call, request: Any, context: _Context) -> Any:  # noqa: ANN401
    remaining = context.time_remaining()
    limit = QUERY_SECONDS_MAX if remaining is None else min(remaining, QUERY_SECONDS_MAX)
    async with asyncio.timeout(limit):
        return await call(request, context)


def _as_coroutine(inner: Callable[..., Any]) -> _Call:
    """One shape for streams: a generator's timeout would end in whatever task resumes it."""
    if not inspect.isasyncgenfunction(inner):
        return inner

    async def written(request: Any, context: _Context) -> None:  # noqa: ANN401
        async with aclosing(inner(request, context)) as answers:
            async for answer in answers:
                await context.write(answer)

    return written


def _decoding(call: _Call, decode: Callable[[bytes], Any]) -> _Call:
    """Decodes here, because gRPC's own message for a malformed request names the driver's exception."""

    async def decoded(raw: bytes, context: _Context) -> Any:  # noqa: ANN401
        try:
            request = decode(raw)
        except DecodeError:
            raise invalid("request", "is no valid message of this method's request type") from None
        return await call(request, context)

    return decoded
