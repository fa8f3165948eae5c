"""Jaeger's JSON (as its query API and its UI export it) to OTLP.

The OpenTelemetry specification's "OpenTelemetry to Jaeger Transformation", read backwards. Ids shorter than
OpenTelemetry's are padded with zeros on the left, as Jaeger itself reads them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from agent_tracer.server.cli.formats.jaeger_tags import Value, attributes, tag_values

_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_MICROSECONDS_MAX: Final = (1 << 64) // 2000  # a start and a duration of this size still fit 64 bits of ns
_SAMPLED: Final = 1  # Jaeger's other flags mean something else among W3C's trace flags

_KINDS: Final = {
    "client": Span.SPAN_KIND_CLIENT,
    "server": Span.SPAN_KIND_SERVER,
    "producer": Span.SPAN_KIND_PRODUCER,
    "consumer": Span.SPAN_KIND_CONSUMER,
    "internal": Span.SPAN_KIND_INTERNAL,
}
_STATUS_CODES: Final = {"OK": Status.STATUS_CODE_OK, "ERROR": Status.STATUS_CODE_ERROR}
_TRUE: Final = ({"bool_value": True}, {"string_value": "true"})
_DROPPED_COUNTS: Final = ("dropped_attributes_count", "dropped_events_count", "dropped_links_count")
_SCOPE_NAMES: Final = (
    "otel.scope.name",
    "otel.library.name",
)  # the second is what the first was called before
_SCOPE_VERSIONS: Final = ("otel.scope.version", "otel.library.version")
_TRACE_STATE: Final = "w3c.tracestate"
_EVENT_DROPPED: Final = "otel.event.dropped_attributes_count"
_REFERENCE_TYPES: Final = {"CHILD_OF": "child_of", "FOLLOWS_FROM": "follows_from"}
_COUNT_MAX: Final = (1 << 32) - 1


class JaegerError(ValueError):
    """A trace is not as Jaeger writes it; the message names the field."""


def is_trace(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether this JSON value is one of Jaeger's traces."""
    return isinstance(value, dict) and "spans" in value and "processes" in value


def resource_spans(trace: object) -> list[ResourceSpans]:
    """The spans of one trace ({traceID, spans, processes}), a block for each process that has any.

    Raises JaegerError.
    """
    if not is_trace(trace):
        raise JaegerError("expected a trace: an object with spans and processes")
    blocks = _Blocks(_mapping(trace, "processes"))
    for number, source in enumerate(_objects(trace, "spans")):
        try:
            blocks.add({"traceID": trace.get("traceID")} | source)
        except JaegerError as error:
            raise JaegerError(f"spans[{number}].{error}") from None
        except UnicodeEncodeError:
            raise JaegerError(f"spans[{number}]: a text has half of a surrogate pair") from None
    return list(blocks.by_process.values())


@dataclass(slots=True)
class _Blocks:
    """The blocks of a trace as they grow: by process, and in each by instrumentation scope."""

    processes: Mapping[str, Any]
    by_process: dict[str, ResourceSpans] = field(default_factory=dict)
    by_scope: dict[tuple[str, str, str], ScopeSpans] = field(default_factory=dict)

    def add(self, source: Mapping[str, Any]) -> None:
        tags = tag_values(_objects(source, "tags"))
        name, version = _pop_text(tags, *_SCOPE_NAMES), _pop_text(tags, *_SCOPE_VERSIONS)
        process_id, process = self._process(source)
        scope = self.by_scope.get((process_id, name, version))
        span = _span(source, tags)
        if scope is None:
            scope = self._block(process_id, process).scope_spans.add()
            scope.scope.name, scope.scope.version = name, version
            self.by_scope[process_id, name, version] = scope
        scope.spans.append(span)

    def _process(self, source: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        inline = source.get("process")
        if isinstance(inline, dict):
            return json.dumps(inline, sort_keys=True), inline
        process_id = source.get("processID")
        process = self.processes.get(process_id) if isinstance(process_id, str) else None
        if not isinstance(process, dict):
            raise JaegerError("processID: expected the name of one of the trace's processes")
        return str(process_id), process

    def _block(self, process_id: str, process: Mapping[str, Any]) -> ResourceSpans:
        block = self.by_process.get(process_id)
        if block is None:
            service: dict[str, Value] = {"service.name": {"string_value": _text(process, "serviceName")}}
            tags = tag_values(_objects(process, "tags")) | service
            resource: Any = {"attributes": attributes(tags)}
            block = ResourceSpans(resource=resource)
            self.by_process[process_id] = block
        return block


def _span(source: Mapping[str, Any], tags: dict[str, Value]) -> Span:
    trace_id = _identifier(source, "traceID", _TRACE_ID_BYTES)
    start_us = _microseconds(source, "startTime")
    parent, links = _references(source, trace_id)
    flags = source.get("flags")
    fields: dict[str, Any] = {name: _pop_count(tags, f"otel.{name}") for name in _DROPPED_COUNTS}
    fields["kind"] = _KINDS.get(_peek_text(tags, "span.kind"))
    if fields["kind"] is not None:
        del tags["span.kind"]
    fields["status"] = _status(tags)
    fields["trace_state"] = _pop_text(tags, _TRACE_STATE)
    fields["events"] = [_event(log) for log in _objects(source, "logs")]
    fields["links"] = links
    fields["attributes"] = attributes(tags)  # what the lines above have left
    return Span(
        trace_id=trace_id,
        span_id=_identifier(source, "spanID", _SPAN_ID_BYTES),
        parent_span_id=parent,
        flags=flags & _SAMPLED if isinstance(flags, int) else 0,
        name=_text(source, "operationName"),
        start_time_unix_nano=start_us * 1000,
        end_time_unix_nano=(start_us + _microseconds(source, "duration")) * 1000,
        **fields,
    )


def _references(source: Mapping[str, Any], trace_id: bytes) -> tuple[bytes, list[dict[str, Any]]]:
    """The parent (the first CHILD_OF within the trace) and every other reference as a link."""
    parent = b""
    links: list[dict[str, Any]] = []
    for reference in _objects(source, "references"):
        kind = _REFERENCE_TYPES.get(str(reference.get("refType")))
        if kind is None:
            raise JaegerError("references: expected refType CHILD_OF or FOLLOWS_FROM")
        other_trace = _identifier(reference, "traceID", _TRACE_ID_BYTES)
        other_span = _identifier(reference, "spanID", _SPAN_ID_BYTES)
        if kind == "child_of" and not parent and other_trace == trace_id:
            parent = other_span
        else:
            attribute = {"key": "opentracing.ref_type", "value": {"string_value": kind}}
            links.append({"trace_id": other_trace, "span_id": other_span, "attributes": [attribute]})
    if not parent and source.get("parentSpanID"):  # as Jaeger wrote it before it had references
        parent = _identifier(source, "parentSpanID", _SPAN_ID_BYTES)
    return parent, links


def _status(tags: dict[str, Value]) -> dict[str, Any] | None:
    """The status that the tags tell, which are taken out. The error tag is stronger than the status code."""
    code = _STATUS_CODES.get(_pop_text(tags, "otel.status_code").upper())
    if tags.get("error") in _TRUE:
        del tags["error"]
        code = Status.STATUS_CODE_ERROR
    message = _pop_text(tags, "otel.status_description")
    return {"code": code, "message": message} if code or message else None


def _event(log: Mapping[str, Any]) -> dict[str, Any]:
    fields = tag_values(_objects(log, "fields"))
    return {
        "time_unix_nano": _microseconds(log, "timestamp") * 1000,
        "name": _pop_text(fields, "event"),
        "dropped_attributes_count": _pop_count(fields, _EVENT_DROPPED),
        "attributes": attributes(fields),
    }


def _identifier(source: Mapping[str, Any], key: str, size: int) -> bytes:
    value = source.get(key)
    if isinstance(value, str) and len(value) <= 2 * size and _HEX.fullmatch(value):
        octets = bytes.fromhex(value.zfill(2 * size))
        if any(octets):
            return octets
    raise JaegerError(f"{key}: expected 1 to {2 * size} hex digits, not all zero")


def _microseconds(source: Mapping[str, Any], key: str) -> int:
    value = source.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MICROSECONDS_MAX:
        raise JaegerError(f"{key}: expected a whole number of microseconds")
    return value


def _text(source: Mapping[str, Any], key: str) -> str:
    value = source.get(key)
    if not isinstance(value, str):
        raise JaegerError(f"{key}: expected a string")
    return value


def _mapping(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = source.get(key)
    if not isinstance(value, dict):
        raise JaegerError(f"{key}: expected an object")
    return value


def _objects(source: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The array of objects under this key; none where it is missing or null."""
    value = source.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise JaegerError(f"{key}: expected an array of objects")
    return value


def _peek_text(tags: Mapping[str, Value], key: str) -> str:
    return str(tags.get(key, {}).get("string_value", ""))


def _pop_text(tags: dict[str, Value], *keys: str) -> str:
    """The text of the first of these tags that is there, which is taken out; empty if none is."""
    for key in keys:
        if text := _peek_text(tags, key):
            del tags[key]
            return text
    return ""


def _pop_count(tags: dict[str, Value], key: str) -> int:
    count = tags.get(key, {}).get("int_value")
    if not isinstance(count, int) or not 0 <= count <= _COUNT_MAX:
        return 0
    del tags[key]
    return count
