"""The two ends of grpclib calls, of which betterproto2's stubs are made too."""

# ruff: noqa: ANN401  # streams and messages are typed by each method, in grpclib by nothing at all

import asyncio
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final

from grpclib.client import Channel, Stream
from grpclib.const import Status
from grpclib.events import RecvRequest, SendRequest, SendTrailingMetadata, listen
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.server import Server
from opentelemetry.trace import SpanKind

from agent_tracer.client.mesh import status
from agent_tracer.client.mesh.calls import Call, Mesh
from agent_tracer.client.mesh.faults import guarded, note
from agent_tracer.client.mesh.grpc_calls import called, calling, ended
from agent_tracer.client.mesh.propagation import picked

_sending: Final[ContextVar[Call | None]] = ContextVar("agent_tracer_mesh_sending", default=None)
_serving: Final[ContextVar["_Served | None"]] = ContextVar("agent_tracer_mesh_serving", default=None)
_DONE: Final = "_agent_tracer_mesh"
"""Marks a channel or server that is traced already: twice would be two spans a call."""

_RAISED: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (asyncio.TimeoutError, status.DEADLINE_EXCEEDED),
    (StreamTerminatedError, status.UNAVAILABLE),
    (OSError, status.UNAVAILABLE),
    (ProtocolError, status.INTERNAL),
)
"""The status of a call by what ended it, the first row that fits (a timeout is an OSError since Python 3.11)."""


class _TracedStream(Stream[Any, Any]):
    """A stream whose span lasts as long as it is open."""

    mesh_begin: Any
    mesh_call: Call | None = None

    async def __aenter__(self) -> Any:
        self.mesh_call = self.mesh_begin()
        try:
            return await super().__aenter__()
        except BaseException as error:
            self._mesh_end(error)
            raise

    async def send_request(self, *, end: bool = False) -> None:
        token = _sending.set(self.mesh_call)
        try:
            await super().send_request(end=end)
        finally:
            _sending.reset(token)

    async def send_message(self, message: Any, *, end: bool = False) -> None:
        if self.mesh_call is not None:
            self.mesh_call.request(message)
        await super().send_message(message, end=end)

    async def recv_message(self) -> Any:
        message = await super().recv_message()
        if self.mesh_call is not None and message is not None:
            self.mesh_call.response(message)
        return message

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        raised = exc_val
        try:
            await super().__aexit__(exc_type, exc_val, exc_tb)
        except BaseException as error:
            raised = error
            raise
        finally:
            self._mesh_end(raised)

    def _mesh_end(self, error: BaseException | None) -> None:
        if self.mesh_call is not None:
            code, details = _client_status(error, has_ended=self.trailing_metadata is not None)
            ended(self.mesh_call, code, kind=SpanKind.CLIENT, error=error, details=details)


def _client_status(error: BaseException | None, *, has_ended: bool) -> tuple[int, str | None]:
    """The status as the caller's end has it, and its details, None where the caller itself ended the call."""
    if isinstance(error, GRPCError):
        return status.number(error.status), error.message or ""
    for kind, code in _RAISED:
        if isinstance(error, kind):
            return code, str(error)
    return (status.OK, "") if has_ended else (status.CANCELLED, None)


def trace_channel(channel: Channel, mesh: Mesh, target: str) -> Channel:
    """Trace every call of the channel from now on; the channel itself is returned. Raises nothing."""
    try:
        if not hasattr(channel, _DONE):
            _trace_channel(channel, mesh, target)
    except Exception as fault:  # noqa: BLE001  # the channel works as it did
        note("grpclib_client", fault)
    return channel


def _trace_channel(channel: Channel, mesh: Mesh, target: str) -> None:
    open_stream: Any = channel.request

    def request(name: str, *args: Any, **kwargs: Any) -> Any:
        stream = open_stream(name, *args, **kwargs)
        if stream.__class__ is Stream:  # one of a class of its own keeps it, and goes untraced
            stream.__class__ = _TracedStream
            vars(stream)["mesh_begin"] = lambda: calling(mesh, name, target)
        return stream

    channel.request = request  # type: ignore[method-assign]
    setattr(channel, _DONE, True)
    listen(channel, SendRequest, _add_headers)


async def _add_headers(event: SendRequest) -> None:
    call = _sending.get()
    if call is not None:
        _put_headers(event, call)


@guarded(lambda: None)
def _put_headers(event: SendRequest, call: Call) -> None:
    for key, value in call.headers.items():
        event.metadata[key] = value


class _Served:
    """A call that is being served, and the status that its handler sent by itself, if it did."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.sent: Status | None = None


def trace_server(server: Server, mesh: Mesh) -> Server:
    """Trace every call to the server from now on; the server itself is returned. Raises nothing."""

    async def received(event: RecvRequest) -> None:
        event.method_func = _served(mesh, event)

    try:
        if not hasattr(server, _DONE):
            listen(server, RecvRequest, received)
            listen(server, SendTrailingMetadata, _note_status)
            setattr(server, _DONE, True)
    except Exception as fault:  # noqa: BLE001  # the server works as it did
        note("grpclib_server", fault)
    return server


async def _note_status(event: SendTrailingMetadata) -> None:
    served = _serving.get()
    if served is not None:
        served.sent = event.status


def _served(mesh: Mesh, event: RecvRequest) -> Any:
    handle, deadline = event.method_func, event.deadline
    name, metadata = event.method_name, event.metadata

    async def run(stream: Any) -> None:
        served = _Served(called(mesh, name, lambda: picked(metadata.items())))
        token = _serving.set(served)
        error: BaseException | None = None
        try:
            with served.call:
                await handle(stream)
        except BaseException as raised:
            error = raised
            raise
        finally:
            _serving.reset(token)
            _end_served(served, error, deadline)

    return run


@guarded(lambda: None)
def _end_served(served: _Served, error: BaseException | None, deadline: Any) -> None:
    if isinstance(error, asyncio.CancelledError):
        code = status.given_up(deadline.time_remaining() if deadline is not None else None)
    elif isinstance(error, GRPCError):
        code = status.number(error.status)
    elif error is not None:
        code = status.UNKNOWN
    else:
        code = status.number(served.sent) if served.sent is not None else status.OK
    ended(served.call, code, kind=SpanKind.SERVER, error=error)
