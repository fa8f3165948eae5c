"""Exceptions to google.rpc.Status: the same for TraceService, OTLP and REST (which Envoy makes of it)."""

import asyncio
import secrets
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc.aio import ServicerContext
from grpc_status import rpc_status

from agent_tracer.server.domain.errors import (
    AgentNotFoundError,
    BenchmarkNotFoundError,
    IdConflictError,
    IncidentNotFoundError,
    InvalidFieldsError,
    NothingToScoreError,
    OverloadedError,
    RefusedError,
    SpanNotFoundError,
    StoppingError,
    TooLargeError,
    TraceNotFoundError,
    WorkflowNotFoundError,
)
from agent_tracer.server.limits import RETRY_SECONDS_BACKEND_DOWN
from agent_tracer.server.ports.journal import JournalClosedError, JournalFullError
from agent_tracer.server.ports.store import QueryTimeoutError, StoreBusyError, StoreDownError, TooMuchDataError
from agent_tracer.server.ports.vectors import EmbedderDownError, VectorsDownError
from agent_tracer.v1 import error_reason_pb2 as reasons

ERROR_DOMAIN: Final = "agent-tracer"
_REASON_PREFIX: Final = "ERROR_REASON_"
_CAUSES_MAX: Final = 5

_log = structlog.get_logger(__name__)

_to_rpc: Callable[[status_pb2.Status], Any] = rpc_status.to_status


@dataclass(frozen=True, slots=True)
class _Answer:
    """How a kind of exception is told. text None: the exception's own, which was written for the caller."""

    code: code_pb2.Code
    reason: "reasons.ErrorReason.ValueType"
    text: str | None = None
    retry_seconds: float | None = None


_FULL: Final = "the journal has no room left and nothing of the request was kept; try again later"
_STOPPING: Final = "the server is stopping and nothing of the request was kept; try again"
_DOWN: Final = "the store does not answer just now; try again later"
_BUSY: Final = "too many queries wait already; try again later"
_SLOW: Final = "the deadline, or the server's limit for one query, passed; ask for less, such as a shorter period"
_TOO_MUCH: Final = "the answer needs more memory than one query may use; ask for less, such as a shorter period"
_CANCELLED: Final = "the call was cancelled"
_FAULT: Final = "the server failed; its log explains error"

_ANSWERS: Final[dict[type[BaseException], _Answer]] = {
    InvalidFieldsError: _Answer(code_pb2.INVALID_ARGUMENT, reasons.ERROR_REASON_INVALID_FIELD),
    TraceNotFoundError: _Answer(code_pb2.NOT_FOUND, reasons.ERROR_REASON_TRACE_NOT_FOUND),
    SpanNotFoundError: _Answer(code_pb2.NOT_FOUND, reasons.ERROR_REASON_SPAN_NOT_FOUND),
    AgentNotFoundError: _Answer(code_pb2.NOT_FOUND, reasons.ERROR_REASON_AGENT_NOT_FOUND),
    WorkflowNotFoundError: _Answer(code_pb2.NOT_FOUND, reasons.ERROR_REASON_WORKFLOW_NOT_FOUND),
    BenchmarkNotFoundError: _Answer(code_pb2.NOT_FOUND, reasons.ERROR_REASON_BENCHMARK_NOT_FOUND),
    IncidentNotFoundError: _Answer(code_pb2.NOT_FOUND, reasons.ERROR_REASON_INCIDENT_NOT_FOUND),
    IdConflictError: _Answer(code_pb2.ALREADY_EXISTS, reasons.ERROR_REASON_ID_CONFLICT),
    NothingToScoreError: _Answer(code_pb2.FAILED_PRECONDITION, reasons.ERROR_REASON_NO_DATA),
    OverloadedError: _Answer(code_pb2.RESOURCE_EXHAUSTED, reasons.ERROR_REASON_OVERLOADED),
    TooLargeError: _Answer(code_pb2.RESOURCE_EXHAUSTED, reasons.ERROR_REASON_TOO_LARGE),
    StoppingError: _Answer(code_pb2.UNAVAILABLE, reasons.ERROR_REASON_BACKEND_DOWN, None, RETRY_SECONDS_BACKEND_DOWN),
    JournalFullError: _Answer(code_pb2.RESOURCE_EXHAUSTED, reasons.ERROR_REASON_OVERLOADED, _FULL),
    JournalClosedError: _Answer(
        code_pb2.UNAVAILABLE, reasons.ERROR_REASON_BACKEND_DOWN, _STOPPING, RETRY_SECONDS_BACKEND_DOWN
    ),
    StoreDownError: _Answer(code_pb2.UNAVAILABLE, reasons.ERROR_REASON_BACKEND_DOWN, _DOWN, RETRY_SECONDS_BACKEND_DOWN),
    VectorsDownError: _Answer(
        code_pb2.UNAVAILABLE, reasons.ERROR_REASON_BACKEND_DOWN, None, RETRY_SECONDS_BACKEND_DOWN
    ),
    EmbedderDownError: _Answer(
        code_pb2.UNAVAILABLE, reasons.ERROR_REASON_BACKEND_DOWN, None, RETRY_SECONDS_BACKEND_DOWN
    ),
    StoreBusyError: _Answer(
        code_pb2.RESOURCE_EXHAUSTED, reasons.ERROR_REASON_OVERLOADED, _BUSY, RETRY_SECONDS_BACKEND_DOWN
    ),
    TooMuchDataError: _Answer(code_pb2.RESOURCE_EXHAUSTED, reasons.ERROR_REASON_TOO_LARGE, _TOO_MUCH),
    QueryTimeoutError: _Answer(code_pb2.DEADLINE_EXCEEDED, reasons.ERROR_REASON_DEADLINE_PASSED, _SLOW),
    TimeoutError: _Answer(code_pb2.DEADLINE_EXCEEDED, reasons.ERROR_REASON_DEADLINE_PASSED, _SLOW),
    asyncio.CancelledError: _Answer(code_pb2.CANCELLED, reasons.ERROR_REASON_CALL_CANCELLED, _CANCELLED),
}


def status_of(error: BaseException) -> status_pb2.Status:
    """What the caller is told: code, text, details (ErrorInfo always; BadRequest and RetryInfo where due).

    An exception that no table entry foresees becomes INTERNAL with a random error id and nothing else of it;
    the log gets the traceback under that id.
    """
    answer = next((_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS), None)
    if answer is None:
        return _fault(error)
    status = status_pb2.Status(code=answer.code, message=answer.text or str(error))
    details = error.details if isinstance(error, RefusedError) else {}
    info = error_details_pb2.ErrorInfo(reason=reason_name(answer.reason), domain=ERROR_DOMAIN, metadata=details)
    _attach(status, info)
    if isinstance(error, InvalidFieldsError):
        _attach(status, _bad_request(error))
    retry_seconds = getattr(error, "retry_seconds", answer.retry_seconds)
    if retry_seconds is not None:
        _attach(status, error_details_pb2.RetryInfo(retry_delay=_duration(retry_seconds)))
    return status


def reason_name(reason: "reasons.ErrorReason.ValueType") -> str:
    """The `reason` that ErrorInfo carries: the enum value's name without its prefix (AIP-193)."""
    return reasons.ErrorReason.Name(reason).removeprefix(_REASON_PREFIX)


async def abort(context: ServicerContext[Any, Any], status: status_pb2.Status) -> NoReturn:
    """End the call with this status. Raises grpc.aio.AbortError."""
    rpc = _to_rpc(status)
    await context.abort(rpc.code, rpc.details, rpc.trailing_metadata)


def _fault(error: BaseException) -> status_pb2.Status:
    error_id = secrets.token_hex(8)
    _log.error("call_failed", error_id=error_id, traceback=_traceback(error))
    status = status_pb2.Status(code=code_pb2.INTERNAL, message=f"{_FAULT} {error_id}")
    _attach(status, _info(reasons.ERROR_REASON_INTERNAL, {"error_id": error_id}))
    return status


def _traceback(error: BaseException) -> str:
    """Types and code lines of the error and its causes; no texts or variables, which may hold prompts."""
    parts = []
    for _ in range(_CAUSES_MAX):
        parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__)
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None:
            break
        error = cause
    return "\ncaused by:\n".join(parts)


def _info(reason: "reasons.ErrorReason.ValueType", metadata: Mapping[str, str]) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason_name(reason), domain=ERROR_DOMAIN, metadata=metadata)


def _bad_request(error: InvalidFieldsError) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
            for v in error.violations
        ]
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(max(1, round(seconds * 1000)))
    return duration


def _attach(status: status_pb2.Status, detail: Message) -> None:
    status.details.add().Pack(detail)
