"""W3C trace context and baggage in and out of whatever carries pairs of names and texts.

The two W3C formats are written whatever propagators the process has set up: the mesh's wire format is part of its
contract. Encoding and decoding are OpenTelemetry's; those of baggage, nearly always the same, are remembered.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agent_tracer.client._shared.identity import AGENT_KEYS, INTERACTION_ID, SESSION_ID, WORKFLOW_ID

IDENTITY: Final = (*AGENT_KEYS, SESSION_ID, WORKFLOW_ID, INTERACTION_ID)
KEYS: Final = frozenset({"traceparent", "tracestate", "baggage"})
BAGGAGE_CHARACTERS_MAX: Final = 8192
"""W3C Baggage, section 3.3.2: what a receiver must take; more is left out, not to be paid for by every later call."""
BAGGAGE_CHARACTERS_SENT: Final = 2048
"""A gRPC server may refuse a call with more than 8 KiB of metadata: tracing takes no more than a quarter of that."""
KEPT: Final = 256
"""Baggage headers remembered: more than a process has agents and sessions at a time; each is at most 8 KiB."""
_PLAIN: Final = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_FLAGS: Final = {f"{bits:02x}": TraceFlags(bits) for bits in range(4)}

_trace: Final = TraceContextTextMapPropagator()
_baggage: Final = W3CBaggagePropagator()


def outgoing(context: Context) -> dict[str, str]:
    """The headers that continue this context elsewhere; none without a valid span and without baggage."""
    entries = baggage.get_all(context)
    return headers_of(trace.get_current_span(context).get_span_context(), _sendable(entries) if entries else "")


def headers_of(span: SpanContext, baggage_text: str) -> dict[str, str]:
    """The headers of a span and of baggage as it is sent."""
    headers: dict[str, str] = {}
    if span.is_valid:
        ids = f"{span.trace_id.to_bytes(16, 'big').hex()}-{span.span_id.to_bytes(8, 'big').hex()}"
        headers["traceparent"] = f"00-{ids}-{span.trace_flags & 0xFF:02x}"
        if (state := span.trace_state) is not DEFAULT_TRACE_STATE and state:
            headers["tracestate"] = state.to_header()
    if baggage_text:
        headers["baggage"] = baggage_text
    return headers


def _sendable(entries: Mapping[str, object]) -> str:
    """The baggage header; of one that is too long who is at work alone, or nothing."""
    text = _encoded(tuple((key, str(value)) for key, value in entries.items()))
    if len(text) > BAGGAGE_CHARACTERS_SENT:
        text = _encoded(tuple((key, str(entries[key])) for key in IDENTITY if key in entries))
    return text if len(text) <= BAGGAGE_CHARACTERS_SENT else ""


def remote_span(headers: Mapping[str, str]) -> SpanContext | None:
    """The caller's span, None without one. A broken traceparent counts as none (W3C Trace Context, section 4.3).

    The form that nearly all calls have is read here, in a tenth of the time; any other by OpenTelemetry.
    """
    text = headers.get("traceparent")
    if not text:
        return None
    plain = _PLAIN.fullmatch(text)
    if plain is None or headers.get("tracestate"):
        span = trace.get_current_span(_trace.extract(headers, Context())).get_span_context()
    else:
        trace_id, span_id, flags = plain.groups()
        known = _FLAGS.get(flags) or TraceFlags(int(flags, 16))
        span = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=known)
    return span if span.is_valid else None


def with_baggage(text: str, context: Context) -> Context:
    """The context with the entries of a baggage header; one that is too long counts as none."""
    if text and len(text) <= BAGGAGE_CHARACTERS_MAX:
        for key, value in _decoded(text):
            context = baggage.set_baggage(key, value, context)
    return context


def picked(pairs: Iterable[tuple[object, object]] | None) -> dict[str, str]:
    """The propagation headers among metadata, whatever else and of whatever types is there."""
    found: dict[str, str] = {}
    for key, value in pairs or ():
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        if isinstance(name, str) and (low := name.lower()) in KEYS:
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if isinstance(text, str):
                found[low] = text
    return found


@lru_cache(maxsize=KEPT)
def _encoded(entries: tuple[tuple[str, str], ...]) -> str:
    context = Context()
    for key, value in entries:
        context = baggage.set_baggage(key, value, context)
    carrier: dict[str, str] = {}
    _baggage.inject(carrier, context)
    return carrier.get("baggage", "")


@lru_cache(maxsize=KEPT)
def _decoded(text: str) -> tuple[tuple[str, str], ...]:
    held = baggage.get_all(_baggage.extract({"baggage": text}, Context()))
    return tuple((key, str(value)) for key, value in held.items())
