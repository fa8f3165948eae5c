"""What grpc, grpc.aio and grpclib have in common: a call's name and attributes, and its end by a status."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from opentelemetry.trace import SpanKind

from agent_tracer.client.mesh import status
from agent_tracer.client.mesh.calls import CANCELLED, Attributes, Call, Mesh, is_cancellation
from agent_tracer.client.mesh.faults import guarded, note, nothing
from agent_tracer.client.mesh.propagation import KEYS

METHODS_KEPT: Final = 1024
"""More names than programs have methods; a stranger may call any, so that they are not kept without end."""
_UNKNOWN: Final[tuple[str, Attributes]] = ("grpc", {"rpc.system": "grpc"})


@lru_cache(maxsize=METHODS_KEPT)
def _described(method: str | bytes) -> tuple[str, Attributes]:
    path = method.decode("utf-8", "replace") if isinstance(method, bytes) else method
    service, _, name = path.lstrip("/").rpartition("/")
    return f"{service}/{name}", {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def calling(mesh: Mesh, method: str | bytes, target: str = "") -> Call:
    """The caller's end of a call of `/package.Service/Method`."""
    try:
        name, attributes = _described(method)
    except Exception as fault:  # noqa: BLE001  # as of every guarded function, a step less on each call's road
        note("_described", fault)
        name, attributes = _UNKNOWN
    return mesh.calling(name, attributes, target)


def called(mesh: Mesh, method: str | bytes, headers: Any) -> Call:  # noqa: ANN401  # a reader of the call's metadata
    """The callee's end. `headers` is called for the propagation headers."""
    try:
        name, attributes = _described(method)
    except Exception as fault:  # noqa: BLE001  # as above
        note("_described", fault)
        name, attributes = _UNKNOWN
    return mesh.called(name, attributes, headers)


def ended(
    call: Call, code: int, *, kind: SpanKind, error: BaseException | None = None, details: str | None = ""
) -> None:
    """End a call by its gRPC status. The caller's own cancellation is no error, nor is any to the callee.

    `error.type` is the exception that made the status where the callee has one, else the status's name.
    """
    if not call.is_open:
        return
    name = status.NAMES[code]
    if code == status.OK:
        call.end({"rpc.grpc.status_code": code, "rpc.response.status_code": name})
        return
    attributes: Attributes = {"rpc.grpc.status_code": code, "rpc.response.status_code": name}
    if code == status.CANCELLED and (kind is SpanKind.SERVER or status.cancelled_here(code, details)):
        attributes[CANCELLED] = True
    if kind is SpanKind.SERVER:
        failed = code in status.SERVER_ERRORS
        own = error is not None and code == status.UNKNOWN and not is_cancellation(error)
        call.end(attributes, (type(error).__qualname__ if own else name) if failed else "", error)
        return
    failed = code != status.OK and not status.cancelled_here(code, details)
    if failed and error is None and details:
        error = RuntimeError(details)
    call.end(attributes, name if failed else "", error)


def merged(call: Call, metadata: Iterable[Any] | None) -> list[Any]:
    """A call's metadata with the propagation headers in it, in place of any that were there."""
    if not metadata:
        return [*call.headers.items()]
    held = [pair for pair in metadata or () if pair[0] not in KEYS or pair[0] not in call.headers]
    return [*held, *call.headers.items()]


@guarded(nothing)
def finished(call: Call, code: object, details: object) -> None:
    """End the caller's end by what its call says of itself."""
    text = details if isinstance(details, str) else ""
    ended(call, status.number(code), kind=SpanKind.CLIENT, details=text)
