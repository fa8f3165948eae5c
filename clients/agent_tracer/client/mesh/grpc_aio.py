"""Interceptors of grpc.aio clients.

The call object goes to the caller as it is, with its own ways to read, to cancel and to be dropped: the span ends by a
callback of the call. So the messages of a streamed answer are counted by the callee only.
"""

# ruff: noqa: ANN401  # calls, requests and continuations are grpcio's, which has no types for them

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from grpc import aio
from opentelemetry.trace import SpanKind

from agent_tracer.client.mesh import status
from agent_tracer.client.mesh.calls import Call, Mesh
from agent_tracer.client.mesh.faults import note
from agent_tracer.client.mesh.grpc_calls import calling, ended, merged

Continuation = Callable[[Any, Any], Awaitable[Any]]


class _Interceptor:
    def __init__(self, mesh: Mesh, target: str = "") -> None:
        self._mesh = mesh
        self._target = target

    async def _run(
        self, go_on: Continuation, details: Any, request: Any, *, one_request: bool, one_answer: bool
    ) -> Any:
        call = calling(self._mesh, getattr(details, "method", ""), self._target)
        try:
            rpc = await go_on(_with_headers(details, call), request)
        except BaseException as error:
            code = status.CANCELLED if isinstance(error, asyncio.CancelledError) else status.UNKNOWN
            ended(call, code, kind=SpanKind.CLIENT, error=error, details=None)
            raise
        if one_request:
            call.request(request)
        if one_answer and self._mesh.capture is not None:
            await _read_along(rpc, call)
        _end_with(rpc, call)
        return rpc


class _UnaryUnary(_Interceptor, aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._run(continuation, client_call_details, request, one_request=True, one_answer=True)


class _UnaryStream(_Interceptor, aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._run(continuation, client_call_details, request, one_request=True, one_answer=False)


class _StreamUnary(_Interceptor, aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._run(continuation, client_call_details, request_iterator, one_request=False, one_answer=True)


class _StreamStream(_Interceptor, aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._run(continuation, client_call_details, request_iterator, one_request=False, one_answer=False)


def interceptors(mesh: Mesh, target: str) -> list[aio.ClientInterceptor]:
    """One for each kind of call: grpc.aio takes an interceptor for the first kind that it has, and no other."""
    return [kind(mesh, target) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]


def _with_headers(details: Any, call: Call) -> Any:
    try:
        return aio.ClientCallDetails(
            details.method,
            details.timeout,
            aio.Metadata(*merged(call, details.metadata)),
            details.credentials,
            details.wait_for_ready,
        )
    except Exception as fault:  # noqa: BLE001  # the call goes on without the headers
        note("with_headers", fault)
        return details


async def _read_along(rpc: Any, call: Call) -> None:
    """Take the answer's contents; whatever it ends with, the caller gets it from the call itself."""
    try:
        answer = await rpc
    except asyncio.CancelledError:
        rpc.cancel()  # else giving up the wait for the interceptor would leave the call itself running
        ended(call, status.CANCELLED, kind=SpanKind.CLIENT, details=None)
        raise
    except Exception:  # noqa: BLE001  # see above
        return
    call.response(answer)


def _end_with(rpc: Any, call: Call) -> None:
    if not call.is_open:
        return
    try:
        rpc.add_done_callback(partial(_done, call))
    except Exception:  # noqa: BLE001  # an interceptor within this one answered without a call of its own
        ended(call, status.OK, kind=SpanKind.CLIENT)


def _done(call: Call, rpc: Any) -> None:
    try:
        code = status.number(_now(rpc.code()))
        text = "" if code == status.OK else _now(rpc.details())
        ended(call, code, kind=SpanKind.CLIENT, details=text if isinstance(text, str) else "")
    except Exception as fault:  # noqa: BLE001  # as of every guarded function
        note("_done", fault)


def _now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for: a finished call knows its status."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    return None
