"""Identifiers: what callers write, and the bytes OpenTelemetry and the store know them by."""

import hashlib
import re
from typing import Final, NewType

TenantId = NewType("TenantId", str)
AgentId = NewType("AgentId", str)
TraceId = NewType("TraceId", str)
"""As a caller writes it: any text of 1 to 256 characters without control characters."""

OtelTraceId = NewType("OtelTraceId", bytes)
"""16 bytes, not all zero (OpenTelemetry specification, trace API, SpanContext)."""

SpanId = NewType("SpanId", bytes)
"""8 bytes, not all zero."""

DEFAULT_TENANT: Final = TenantId("default")

_HEX_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
_HASH_PERSON: Final = b"agent-tracer:id"


def is_otel_trace_id(trace_id: str) -> bool:
    """Whether the text is an OpenTelemetry trace id already: 32 hex digits, not all zero."""
    return _HEX_TRACE_ID.fullmatch(trace_id) is not None and trace_id.strip("0") != ""


def otel_trace_id(trace_id: TraceId) -> OtelTraceId:
    """The 16 bytes a trace is stored under.

    32 hex digits are taken as they are; any other text is mapped by BLAKE2b with a 16-byte digest,
    so that the same text finds the same trace on every server.
    """
    if is_otel_trace_id(trace_id):
        return OtelTraceId(bytes.fromhex(trace_id))
    return OtelTraceId(hashlib.blake2b(trace_id.encode(), digest_size=16, person=_HASH_PERSON).digest())


def derived_span_id(*parts: bytes) -> SpanId:
    """A span id that is a pure function of the parts, so that the same record again is the same span."""
    digest = hashlib.blake2b(digest_size=8, person=_HASH_PERSON)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return SpanId(digest.digest())
