"""What a backend's answer means for the request: taken, again later, or never.

OTLP 1.x, "Failures" of OTLP/gRPC and OTLP/HTTP, says what may be sent again. Beyond it, what an operator can mend (a
wrong key, a wrong path) is waited for rather than given up, as is every other status of 5xx than 500, which proxies
make in the place of a backend that is away; and a backend that fails (500) is asked some more times. Whether a signal
that is not taken is a wrong path is for the caller to say, who knows of the other signals.
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
    ExportRefusedError,
    SignalNotTakenError,
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
    415: ".protocol and .compression", 421: ".endpoint", 426: ".protocol",
}  # fmt: skip
"""HTTP statuses that only the settings, ours or the backend's, can mend."""

_HTTP_NOT_TAKEN: Final = frozenset({404, 405, 410, 501})
"""Of these, what a path gets that nobody serves."""

_HTTP_LATER: Final = frozenset({408, 425, 429})
_WEB_PAGE: Final = "text/html"
_MARKUP: Final = rb"(?:\s|<[^<>]*>)*"
_WANTS_TLS: Final = re.compile(
    rb"%(m)s(?:"
    rb"Client sent an HTTP request to an HTTPS server\.|"
    rb"(?:400 )?The plain HTTP request was sent to HTTPS port|"
    rb"400 Bad Request%(m)sBad Request%(m)sYour browser sent a request that this server could not understand\.%(m)s"
    rb"Reason: You(?:'|&#39;)re speaking plain HTTP to an SSL-enabled server port\."
    rb")\s*(?:<|\Z)" % {b"m": _MARKUP}
)
"""What Go's servers, nginx and Apache say with status 400 to HTTP where they expect TLS.

It is the first that they say, and a sentence of its own: what a backend quotes of the telemetry, such as the name of a
service, is neither.
"""

_CODE_ADVICE: Final = {
    grpc.StatusCode.UNAUTHENTICATED: ".headers",
    grpc.StatusCode.PERMISSION_DENIED: ".headers",
    grpc.StatusCode.NOT_FOUND: ".endpoint",
}
_CODES_LATER: Final = frozenset({
    grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS,
})  # fmt: skip
_CODES_FAILED: Final = frozenset({
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED,
})  # fmt: skip
_PROXYS_STATUS: Final = re.compile(r"http2 header with status: ([1-9][0-9]{2})")
"""What grpc says of an answer that is none of gRPC's, such as that of a proxy before a backend that is away."""

_TOO_LARGE: Final = re.compile("larger than max|too large", re.IGNORECASE)
_OK, _REDIRECT, _CLIENT_ERROR, _SERVER_ERROR = 200, 300, 400, 500


def raise_for_status(key: str, status: int, retry_after: str | None) -> None:
    """Raise what an HTTP status other than success means. `key` is the exporter's in the settings."""
    if _OK <= status < _REDIRECT:
        return
    answer = f"the backend of {key} answers HTTP {status}"
    if advice := ".endpoint" if _REDIRECT <= status < _CLIENT_ERROR else _ADVICE.get(status):
        kind = SignalNotTakenError if status in _HTTP_NOT_TAKEN else BackendDownError
        raise kind(f"{answer}: see to {key}{advice}")
    if status == _SERVER_ERROR:
        raise BackendFailedError(answer, retry_after_seconds(retry_after, time.time()))
    if status in _HTTP_LATER or status > _SERVER_ERROR:
        raise BackendDownError(answer, retry_after_seconds(retry_after, time.time()))
    raise ExportRefusedError(answer)


def raise_for_content(key: str, status: int, content_type: str, body: bytes, *, secure: bool) -> None:
    """Raise where an answer shows that nobody there takes telemetry, whatever its status says."""
    if status == _CLIENT_ERROR and not secure and _WANTS_TLS.match(body):
        raise BackendDownError(f"the backend of {key} expects TLS: begin {key}.endpoint with https://")
    if _OK <= status < _REDIRECT and content_type.strip().lower().startswith(_WEB_PAGE):
        raise SignalNotTakenError(f"the backend of {key} answers with a web page: see to {key}.endpoint")


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3): a number, or a date to compare with `now`."""
    if not header:
        return None
    try:
        return max(0.0, float(header) if header.strip().isdigit() else parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def raise_for_rpc(key: str, error: grpc.aio.AioRpcError) -> NoReturn:
    """Raise what the answer to a call means that failed."""
    code, details = error.code(), error.details() or ""
    answer = f"the backend of {key} answers {code.name}"
    seconds = _retry_info(error)
    if proxys := _PROXYS_STATUS.search(details):
        raise_for_status(key, int(proxys[1]), None)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        raise SignalNotTakenError(f"{answer}: see to {key}.endpoint and .protocol")
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
