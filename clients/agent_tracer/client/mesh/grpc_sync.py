"""Interceptor of grpc's synchronous clients; one object serves all four kinds of calls."""

# ruff: noqa: ANN401  # calls, requests and continuations are grpcio's, which has no types for them

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.trace import SpanKind

from agent_tracer.client.mesh import status
from agent_tracer.client.mesh.calls import Call, Mesh
from agent_tracer.client.mesh.faults import guarded, note
from agent_tracer.client.mesh.grpc_calls import calling, ended, finished, merged

Continuation = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class _Details(grpc.ClientCallDetails):
    method: Any
    timeout: Any
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any


class ClientInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """The caller's end of synchronous calls, for `grpc.intercept_channel`."""

    def __init__(self, mesh: Mesh, target: str = "") -> None:
        self._mesh = mesh
        self._target = target

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """A call with one request and one answer."""
        return self._intercept(continuation, client_call_details, request, one_request=True, one_answer=True)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """A call with one request and a stream of answers."""
        return self._intercept(continuation, client_call_details, request, one_request=True, one_answer=False)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """A call with a stream of requests and one answer."""
        return self._intercept(continuation, client_call_details, request_iterator, one_request=False, one_answer=True)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """A call with streams both ways."""
        return self._intercept(continuation, client_call_details, request_iterator, one_request=False, one_answer=False)

    def _intercept(
        self, go_on: Continuation, details: Any, request: Any, *, one_request: bool, one_answer: bool
    ) -> Any:
        call = calling(self._mesh, getattr(details, "method", ""), self._target)
        if one_request:
            call.request(request)
        try:
            rpc = go_on(_with_headers(details, call), request)
        except BaseException as error:
            ended(call, status.UNKNOWN, kind=SpanKind.CLIENT, error=error)
            raise
        _end_with(rpc, call, one_answer=one_answer)
        return rpc


def _with_headers(details: Any, call: Call) -> Any:
    try:
        return _Details(
            details.method,
            details.timeout,
            merged(call, details.metadata),
            details.credentials,
            getattr(details, "wait_for_ready", None),
            getattr(details, "compression", None),
        )
    except Exception as fault:  # noqa: BLE001  # the call goes on without the headers
        note("with_headers", fault)
        return details


@guarded(lambda: None)
def _end_with(rpc: Any, call: Call, *, one_answer: bool) -> None:
    """End the span when the call ends.

    The callback holds no reference to the call: one that is dropped half-way is cancelled by its destruction, which a
    reference would put off.
    """
    held = weakref.ref(rpc)

    @guarded(lambda: None)
    def done() -> None:
        ended_rpc = held()
        if ended_rpc is None:
            ended(call, status.CANCELLED, kind=SpanKind.CLIENT, details=None)
            return
        code = status.number(ended_rpc.code())
        if code == status.OK and one_answer:
            call.response(ended_rpc.result())
        finished(call, code, ended_rpc.details())

    is_done = getattr(rpc, "done", None)
    if (is_done is not None and is_done()) or not rpc.add_callback(done):
        done()
