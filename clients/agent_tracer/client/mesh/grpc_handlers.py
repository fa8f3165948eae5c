"""The four shapes of a gRPC handler with a call's end around them."""

# ruff: noqa: ANN401, FBT001  # handlers, requests and contexts are grpcio's, which has no types for them

from collections.abc import Callable
from typing import Any, Final, Self

from opentelemetry.trace import SpanKind

from agent_tracer.client.mesh import status
from agent_tracer.client.mesh.calls import Call, Mesh, is_cancellation
from agent_tracer.client.mesh.faults import guarded
from agent_tracer.client.mesh.grpc_calls import called, ended
from agent_tracer.client.mesh.propagation import picked

Behaviour = Callable[[Any, Any], Any]


class _Requests:
    """A stream of requests that are counted as they are read."""

    def __init__(self, source: Any, call: Call) -> None:
        self._source = source
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        message = next(self._source)
        self._call.request(message)
        return message

    async def __anext__(self) -> Any:
        message = await anext(self._source)
        self._call.request(message)
        return message


def _begin(mesh: Mesh, method: str, request: Any, context: Any, streamed: bool) -> tuple[Call, Any]:
    call = called(mesh, method, lambda: picked(context.invocation_metadata()))
    if streamed:
        return call, _Requests(request, call) if hasattr(request, "__next__") or hasattr(
            request, "__anext__"
        ) else request
    call.request(request)
    return call, request


@guarded(lambda: None)
def _end(call: Call, context: Any, error: BaseException | None = None) -> None:
    code = status.number(context.code() or status.OK)
    if is_cancellation(error) or (error is None and code == status.OK and not _is_awaited(context)):
        code = status.given_up(context.time_remaining())
    elif error is not None and code == status.OK:
        code = status.UNKNOWN
    ended(call, code, kind=SpanKind.SERVER, error=error)


def _is_awaited(context: Any) -> bool:
    """Whether somebody still waits for the answer: a thread goes on after its caller has left."""
    is_active = getattr(context, "is_active", None)
    return bool(is_active()) if is_active is not None else True


def _sync_unary(mesh: Mesh, method: str, behaviour: Behaviour, streamed: bool) -> Behaviour:
    def handle(request: Any, context: Any) -> Any:
        call, request = _begin(mesh, method, request, context, streamed)
        with call:
            try:
                answer = behaviour(request, context)
            except BaseException as error:
                _end(call, context, error)
                raise
        call.response(answer)
        _end(call, context)
        return answer

    return handle


def _sync_stream(mesh: Mesh, method: str, behaviour: Behaviour, streamed: bool) -> Behaviour:
    def handle(request: Any, context: Any) -> Any:
        call, request = _begin(mesh, method, request, context, streamed)
        answers: Any = None
        try:
            with call:
                answers = iter(behaviour(request, context))
            while True:
                with call:
                    try:
                        answer = next(answers)
                    except StopIteration:
                        break
                call.response(answer)
                yield answer
        except BaseException as error:
            _end(call, context, error)
            if isinstance(error, GeneratorExit) and hasattr(answers, "close"):
                with call:
                    answers.close()
            raise
        _end(call, context)

    return handle


def _async_unary(mesh: Mesh, method: str, behaviour: Behaviour, streamed: bool) -> Behaviour:
    async def handle(request: Any, context: Any) -> Any:
        call, request = _begin(mesh, method, request, context, streamed)
        with call:
            try:
                answer = await behaviour(request, context)
            except BaseException as error:
                _end(call, context, error)
                raise
        if answer is not None:
            call.response(answer)
        _end(call, context)
        return answer

    return handle


def _async_stream(mesh: Mesh, method: str, behaviour: Behaviour, streamed: bool) -> Behaviour:
    async def handle(request: Any, context: Any) -> Any:
        call, request = _begin(mesh, method, request, context, streamed)
        answers: Any = behaviour(request, context)
        try:
            while True:
                with call:
                    try:
                        answer = await anext(answers)
                    except StopAsyncIteration:
                        break
                call.response(answer)
                yield answer
        except BaseException as error:
            _end(call, context, error)
            if isinstance(error, GeneratorExit):
                with call:
                    await answers.aclose()
            raise
        _end(call, context)

    return handle


SYNC_UNARY: Final = _sync_unary
SYNC_STREAM: Final = _sync_stream
ASYNC_UNARY: Final = _async_unary
ASYNC_STREAM: Final = _async_stream
