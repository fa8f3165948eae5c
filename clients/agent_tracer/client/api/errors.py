"""What a call raises: google.rpc.Status as exceptions, by the server's reason or else by the gRPC code."""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from agent_tracer.client.api.endpoint import DEFAULT_ENDPOINT, URL_VARIABLE, Endpoint

__all__ = [
    "AgentTracerError",
    "CallCancelledError",
    "ConflictError",
    "DeadlineError",
    "FieldViolation",
    "InternalError",
    "InvalidArgumentError",
    "KeyInvalidError",
    "NoDataError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "TooLargeError",
    "UnavailableError",
    "UnimplementedError",
]


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request, as a path in snake_case, and what is wrong with it."""

    field: str
    description: str


class AgentTracerError(Exception):
    """A call that was not answered.

    `reason` is a name of ErrorReason (error_reason.proto) such as "TRACE_NOT_FOUND", or "" where no server gave one;
    `code` the gRPC code; `metadata` what else the reason says (`error_id` of a fault, say); `violations` the fields
    that were refused; `retry_seconds` when the server says that the same call may be made again.
    """

    def __init__(  # noqa: PLR0913 - the parts of google.rpc.Status
        self,
        message: str,
        *,
        reason: str = "",
        code: Status = Status.UNKNOWN,
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[FieldViolation] = (),
        retry_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_seconds = retry_seconds


class InvalidArgumentError(AgentTracerError):
    """Fields are missing, malformed or out of range; `violations` names them."""


class NotFoundError(AgentTracerError):
    """No such trace, span, agent, workflow, incident, benchmark or path; `reason` says which."""


class ConflictError(AgentTracerError):
    """The id exists with other content."""


class NoDataError(AgentTracerError):
    """What was asked for is known, but the period holds nothing that an answer could stand on."""


class KeyInvalidError(AgentTracerError):
    """No API key, or an unknown or expired one."""


class PermissionDeniedError(AgentTracerError):
    """The key's role, or where the call comes from, does not allow it."""


class OverloadedError(AgentTracerError):
    """The server is full, or a rate used up, and stayed so over all retries."""


class TooLargeError(AgentTracerError):
    """The request or its answer is larger than the limit that the text names."""


class UnimplementedError(AgentTracerError):
    """This server, or this port of it, does not answer the call."""


class InternalError(AgentTracerError):
    """A fault of the server, which its log explains under the `error_id` of `metadata`."""


class CallCancelledError(AgentTracerError):
    """The server ended the call as cancelled. A cancelled task raises asyncio.CancelledError, as everywhere."""


class DeadlineError(AgentTracerError, TimeoutError):
    """No answer in time. A narrower call, such as one of a shorter period, may be faster."""


class UnavailableError(AgentTracerError, ConnectionError):
    """No server there, the connection was lost, or a part of the server does not answer just now."""


_BY_REASON: Final[Mapping[str, type[AgentTracerError]]] = {
    "OVERLOADED": OverloadedError,
    "TOO_LARGE": TooLargeError,
    "NO_DATA": NoDataError,
}
"""Reasons that are told apart although they share a code."""

_BY_CODE: Final[Mapping[Status, type[AgentTracerError]]] = {
    Status.INVALID_ARGUMENT: InvalidArgumentError,
    Status.OUT_OF_RANGE: InvalidArgumentError,
    Status.NOT_FOUND: NotFoundError,
    Status.ALREADY_EXISTS: ConflictError,
    Status.ABORTED: ConflictError,
    Status.UNAUTHENTICATED: KeyInvalidError,
    Status.PERMISSION_DENIED: PermissionDeniedError,
    # An overload always has its reason; without one it is gRPC's own refusal of a message's size.
    Status.RESOURCE_EXHAUSTED: TooLargeError,
    Status.UNIMPLEMENTED: UnimplementedError,
    Status.INTERNAL: InternalError,
    Status.DATA_LOSS: InternalError,
    Status.CANCELLED: CallCancelledError,
    Status.DEADLINE_EXCEEDED: DeadlineError,
    Status.UNAVAILABLE: UnavailableError,
}

TRANSPORT_ERRORS: Final = (GRPCError, StreamTerminatedError, ProtocolError, OSError)
"""What grpclib raises for a call that was not answered; a deadline's TimeoutError is an OSError."""


def translated(error: Exception, endpoint: Endpoint, timeout_seconds: float | None) -> AgentTracerError:
    """The exception that callers see, for one of TRANSPORT_ERRORS."""
    if isinstance(error, GRPCError):
        return _of_status(error, endpoint)
    if isinstance(error, TimeoutError) and error.errno is None:
        allowed = "" if timeout_seconds is None else f" within {timeout_seconds:g} s"
        return DeadlineError(
            f"no answer from {endpoint}{allowed}; allow more by timeout_seconds, or ask for less",
            code=Status.DEADLINE_EXCEEDED,
        )
    if isinstance(error, ssl.SSLError):
        message = f"no TLS with {endpoint} ({error.strerror or error}): see to tls, or to the scheme of the endpoint"
        return UnavailableError(message, code=Status.UNAVAILABLE)
    if isinstance(error, OSError):
        return UnavailableError(_nobody(endpoint, error), code=Status.UNAVAILABLE)
    return UnavailableError(
        f"the connection to {endpoint} ended before the answer: its server stopped, or does not speak gRPC there",
        code=Status.UNAVAILABLE,
    )


def _nobody(endpoint: Endpoint, error: OSError) -> str:
    return (
        f"no server answers at {endpoint} ({error.strerror or error}): start one with `agent-tracer start`, or name "
        f"another by endpoint or {URL_VARIABLE}, such as {DEFAULT_ENDPOINT}"
    )


def _of_status(error: GRPCError, endpoint: Endpoint) -> AgentTracerError:
    details: list[Message] = [d for d in error.details or () if isinstance(d, Message)]
    info = _first(details, error_details_pb2.ErrorInfo)
    bad_request = _first(details, error_details_pb2.BadRequest)
    retry = _first(details, error_details_pb2.RetryInfo)
    reason = info.reason if info else ""
    kind = _BY_REASON.get(reason) or _BY_CODE.get(error.status, AgentTracerError)
    message = error.message or f"{endpoint} answered {error.status.name}"
    if kind is UnimplementedError and not info:
        message += f" ({endpoint}; the server's gRPC port, {DEFAULT_ENDPOINT} by default, answers all of its services)"
    return kind(
        message,
        reason=reason,
        code=error.status,
        metadata=info.metadata if info else None,
        violations=[FieldViolation(v.field, v.description) for v in bad_request.field_violations]
        if bad_request
        else (),
        retry_seconds=retry.retry_delay.ToMilliseconds() / 1000 if retry else None,
    )


def _first(details: Iterable[Message], kind: type[Any]) -> Any:  # noqa: ANN401 - the stubs have no common generic
    return next((detail for detail in details if isinstance(detail, kind)), None)
