"""What a backend's answer means for the request: taken, again later, or never.

OTLP 1.x, "Failures" of OTLP/gRPC and OTLP/HTTP, says what may be sent again. Beyond it, what an operator can mend (a
wrong key, a wrong path) is waited for rather than given up, and a backend that fails without saying for how long is
asked some more times.
"""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import EXPORT_REASON_CHARACTERS_MAX
from agent_tracer.server.ports.export import (
    BackendDownError,
    BackendFailedError,
    BackendGoneError,
    ExportRefusedError,
    Taken,
)

_RESPONSES: Final[Mapping[Signal, tuple[type[Message], str]]] = {
    Signal.TRACES: (ExportTraceServiceResponse, "rejected_spans"),
    Signal.LOGS: (ExportLogsServiceResponse, "rejected_log_records"),
    Signal.METRICS: (ExportMetricsServiceResponse, "rejected_data_points"),
}
_ADVICE: Final = {
    401: ".headers", 403: ".headers", 407: ".headers",
    404: ".endpoint", 405: ".endpoint", 410: ".endpoint", 501: ".endpoint",
}  # fmt: skip
"""HTTP statuses that only the settings, ours or the backend's, can mend."""

_HTTP_LATER: Final = frozenset({408, 425, 429, 502, 503, 504})
_CODE_ADVICE: Final = {
    grpc.StatusCode.UNAUTHENTICATED: ".headers",
    grpc.StatusCode.PERMISSION_DENIED: ".headers",
    grpc.StatusCode.UNIMPLEMENTED: ".endpoint and .protocol",
    grpc.StatusCode.NOT_FOUND: ".endpoint",
}
_CODES_LATER: Final = frozenset({
    grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS,
})  # fmt: skip
_CODES_FAILED: Final = frozenset({
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED,
})  # fmt: skip
_TOO_LARGE: Final = re.compile("larger than max|too large", re.IGNORECASE)
_OK, _REDIRECT, _CLIENT_ERROR, _SERVER_ERROR = 200, 300, 400, 500


def raise_for_status(key: str, status: int, retry_after: str | None) -> None:
    """Raise what an HTTP status other than success means. `key` is the exporter's in the settings."""
    if _OK <= status < _REDIRECT:
        return
    answer = f"the backend of {key} answers HTTP {status}"
    if status in _HTTP_LATER:
        raise BackendDownError(answer, retry_after_seconds(retry_after, time.time()))
    if advice := ".endpoint" if _REDIRECT <= status < _CLIENT_ERROR else _ADVICE.get(status):
        raise BackendDownError(f"{answer}: see to {key}{advice}")
    if status >= _SERVER_ERROR:
        raise BackendFailedError(answer, retry_after_seconds(retry_after, time.time()))
    raise ExportRefusedError(answer)


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3): a number, or a date to compare with `now`."""
    if not header:
        return None
    try:
        return max(0.0, float(header) if header.strip().isdigit() else parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def raise_for_rpc(key: str, error: grpc.aio.AioRpcError) -> NoReturn:
    """Raise what a failed call means."""
    code, details = error.code(), error.details() or ""
    answer = f"the backend of {key} answers {code.name}"
    seconds = _retry_info(error)
    if code is grpc.StatusCode.UNAVAILABLE and seconds is None:
        raise BackendGoneError(answer)
    if code in _CODES_LATER or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and seconds is not None):
        raise BackendDownError(answer, seconds)
    if advice := _CODE_ADVICE.get(code):
        raise BackendDownError(f"{answer}: see to {key}{advice}")
    if code in _CODES_FAILED and not _TOO_LARGE.search(details):
        raise BackendFailedError(answer, seconds)
    raise ExportRefusedError(f"{answer} ({reason(details)})")


def _retry_info(error: grpc.aio.AioRpcError) -> float | None:
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            info = error_details_pb2.RetryInfo()
            try:
                details = status_pb2.Status.FromString(value).details
                if any(detail.Unpack(info) for detail in details):
                    return float(info.retry_delay.seconds) + info.retry_delay.nanos / 1e9
            except DecodeError:
                return None
    return None


def taken(signal: Signal, body: bytes, *, is_json: bool = False) -> Taken:
    """The partial success of an answer. One that cannot be read says nothing against the success told already."""
    response_type, field = _RESPONSES[signal]
    response: Any = response_type()
    try:
        if is_json:
            json_format.Parse(body or b"{}", response, ignore_unknown_fields=True)
        else:
            response.ParseFromString(body)
    except (DecodeError, json_format.ParseError, ValueError, RecursionError):
        return Taken()
    partial = response.partial_success
    return Taken(getattr(partial, field), reason(partial.error_message))


def reason(text: str) -> str:
    """A backend's own words, fit for a line of the log."""
    return "".join(c if c.isprintable() else " " for c in text[:EXPORT_REASON_CHARACTERS_MAX]).strip()
