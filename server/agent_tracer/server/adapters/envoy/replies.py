"""Envoy's own replies in the API's error form: google.rpc.Status with ErrorInfo and RetryInfo (AIP-193).

Only REST callers get them. A gRPC caller's error is in the trailers, where Envoy would put the JSON into
`grpc-message`, so those replies stay as Envoy makes them.
"""

from dataclasses import dataclass
from typing import Final

from agent_tracer.server import limits
from agent_tracer.server.adapters.envoy.plan import Bounds
from agent_tracer.server.adapters.envoy.proto_json import Message, seconds

DOMAIN: Final = "agent-tracer"

_OVERFLOW: Final = "UO"
_IDLE: Final = "SI"
"""Envoy's response flags: refused by a circuit breaker; nothing moved for too long."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One row: Envoy's reply and the error that it becomes.

    `was` is Envoy's HTTP status, `flag` its response flag where it matters; `code` is the google.rpc.Code,
    `reason` the ErrorReason's name, `message` the text, `status` another HTTP status to send.
    """

    was: int
    code: int
    reason: str
    message: str
    status: int | None = None
    flag: str | None = None
    retry_seconds: float | None = None


def replies(bounds: Bounds) -> tuple[Reply, ...]:
    """Every reply that Envoy makes itself. The first row that fits is taken."""
    retry, down = limits.RETRY_SECONDS_OVERLOADED, limits.RETRY_SECONDS_BACKEND_DOWN
    longest, idle = seconds(bounds.unary_seconds), seconds(bounds.idle_seconds)
    late = f"the deadline (the `grpc-timeout` header, else {longest}) passed before the server answered"
    stuck = f"the request was not complete, and nothing of it came for {idle}"
    too_large = f"the body is larger than {bounds.request_bytes} bytes, counted after decompression"
    return (
        Reply(503, 8, "OVERLOADED", "too many requests are under way", 429, _OVERFLOW, retry),
        Reply(503, 14, "BACKEND_DOWN", "the server behind this port does not answer", retry_seconds=down),
        Reply(502, 14, "BACKEND_DOWN", "the server behind this port gave no valid answer", 503),
        Reply(408, 4, "DEADLINE_PASSED", stuck, flag=_IDLE),
        Reply(408, 4, "DEADLINE_PASSED", late, 504),
        Reply(504, 4, "DEADLINE_PASSED", stuck, 408, _IDLE),
        Reply(504, 4, "DEADLINE_PASSED", late),
        # Envoy's own text names the field or parameter, but can be empty.
        Reply(400, 3, "INVALID_FIELD", "the request is not valid: %LOCAL_REPLY_BODY%"),
        Reply(401, 16, "KEY_INVALID", "no key, or an unknown or expired one"),
        Reply(403, 7, "ORIGIN_REFUSED", "pages of other sites may not call this server"),
        Reply(404, 5, "PATH_NOT_FOUND", "no such path and method on this port"),
        Reply(413, 8, "TOO_LARGE", too_large),
        Reply(415, 3, "INVALID_FIELD", "this content-encoding is not taken: send the body plain or as gzip"),
        Reply(429, 8, "OVERLOADED", "too many requests", retry_seconds=retry),
        Reply(431, 8, "TOO_LARGE", f"the headers are larger than {bounds.header_kib} KiB"),
        Reply(500, 13, "INTERNAL", "the server's answer is too long, or no JSON can be made of it"),
    )


def local_reply_config(bounds: Bounds) -> Message:
    """An HTTP connection manager's `local_reply_config`."""
    return {"mappers": [_mapper(reply) for reply in replies(bounds)]}


def _mapper(reply: Reply) -> Message:
    status = {"op": "EQ", "value": {"default_value": reply.was, "runtime_key": f"agent_tracer.{reply.was}"}}
    filters: list[Message] = [
        {"status_code_filter": {"comparison": status}},
        {"or_filter": {"filters": _IS_REST}},
    ]
    if reply.flag is not None:
        filters.append({"response_flag_filter": {"flags": [reply.flag]}})
    mapper: Message = {
        "filter": {"and_filter": {"filters": filters}},
        "body_format_override": {"json_format": _status(reply), "content_type": "application/json"},
    }
    if reply.status is not None:
        mapper["status_code"] = reply.status
    return mapper


def _status(reply: Reply) -> Message:
    """A google.rpc.Status. Envoy fills in its own text where the row has none."""
    error_info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reply.reason,
        "domain": DOMAIN,
        "metadata": {},
    }
    details: list[Message] = [error_info]
    if reply.retry_seconds is not None:
        retry = {
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": seconds(reply.retry_seconds),
        }
        details.append(retry)
    return {"code": reply.code, "message": reply.message, "details": details}


_NOT_GRPC: Final = {
    "header_filter": {
        "header": {
            "name": "content-type",
            "string_match": {"prefix": "application/grpc"},
            "invert_match": True,
            "treat_missing_header_as_empty": True,
        }
    }
}
_TRANSCODED: Final = {"header_filter": {"header": {"name": "x-envoy-original-path", "present_match": True}}}
_IS_REST: Final = [_NOT_GRPC, _TRANSCODED]
"""The transcoder makes a REST request look like gRPC, but leaves its path behind in a header."""
