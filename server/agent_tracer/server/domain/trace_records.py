"""CreateTrace's record: its checks, and the one OTLP span that it becomes.

The span's id is a hash of the record as the caller gave it, without the server's clock: the same record again
is the same span, and the store keeps the first.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from agent_tracer.server.domain.checks import (
    NS,
    NS_PER_MS,
    check_choice,
    check_id,
    check_number,
    check_time,
)
from agent_tracer.server.domain.errors import Violations
from agent_tracer.server.domain.ids import AgentId, SpanId, TraceId, derived_span_id, otel_trace_id
from agent_tracer.server.domain.telemetry import Attributes, AttributeValue, Span, TokenUsage, Trace, TraceStatus
from agent_tracer.server.domain.weights import weight
from agent_tracer.server.limits import (
    ID_LENGTH_MAX,
    METADATA_BYTES_MAX,
    METADATA_DEPTH_MAX,
    METADATA_KEYS_MAX,
    TIMESTAMP_MIN_SECONDS,
)

RECORD_SERVICE: Final = "agent-tracer-api"
"""service.name of spans that CreateTrace makes: the record names an agent, no service."""

RECORD_SCOPE: Final = "agent_tracer.create_trace"
ATTRIBUTE_TRACE_ID: Final = "agent_tracer.trace_id"
ATTRIBUTE_RECORD: Final = "agent_tracer.record"
METADATA_PREFIX: Final = "metadata."

_STATUSES: Final = ("success", "error", "timeout")
_OTLP_STATUS: Final = {
    TraceStatus.SUCCESS: Status.STATUS_CODE_OK,
    TraceStatus.ERROR: Status.STATUS_CODE_ERROR,
    TraceStatus.TIMEOUT: Status.STATUS_CODE_ERROR,
}
_SCALAR_FIELD: Final = {
    bool: "bool_value",
    int: "int_value",
    float: "double_value",
    str: "string_value",
    bytes: "bytes_value",
}
_LATEST_MS: Final = 1e15
"""Thirty thousand years: keeps the arithmetic in range before the exact check of the times."""


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """One finished unit of agent work, as the caller gave it. An empty status is success."""

    trace_id: TraceId
    agent_id: AgentId
    operation: str
    duration_ms: float = 0.0
    status: str = ""
    metadata: Attributes = field(default_factory=dict)
    start_ns: int | None = None
    workflow_id: str = ""
    session_id: str = ""
    task_type: str = ""


@dataclass(frozen=True, slots=True)
class TimedRecord:
    """A checked record with its times; start is now less duration where the caller gave none."""

    record: TraceRecord
    status: TraceStatus
    start_ns: int
    end_ns: int


def checked(record: TraceRecord, now_ns: int) -> TimedRecord:
    """Raises InvalidFieldsError with every wrong field."""
    found = Violations()
    for name in ("trace_id", "agent_id", "operation"):
        check_id(found, name, getattr(record, name))
    for name in ("workflow_id", "session_id", "task_type"):
        check_id(found, name, getattr(record, name), required=False)
    check_choice(found, "status", record.status, _STATUSES)
    check_number(found, "duration", record.duration_ms)
    _check_metadata(found, record.metadata)
    found.raise_any()
    duration_ns = round(min(record.duration_ms, _LATEST_MS) * NS_PER_MS)
    start_ns = now_ns - duration_ns if record.start_ns is None else record.start_ns
    _check_times(found, record, start_ns, start_ns + duration_ns, now_ns)
    found.raise_any()
    return TimedRecord(record, TraceStatus(record.status or "success"), start_ns, start_ns + duration_ns)


def record_span_id(record: TraceRecord) -> SpanId:
    """Of every field that the caller gave, and of nothing else."""
    return derived_span_id(
        *(
            text.encode()
            for text in (
                record.trace_id,
                record.agent_id,
                record.operation,
                record.status or "success",
                record.workflow_id,
                record.session_id,
                record.task_type,
                json.dumps(record.metadata, sort_keys=True, separators=(",", ":")),
            )
        ),
        struct.pack(">d", record.duration_ms + 0.0),
        b"" if record.start_ns is None else record.start_ns.to_bytes(8, "big"),
    )


def record_request(timed: TimedRecord) -> bytes:
    """A serialised ExportTraceServiceRequest of one root span."""
    record = timed.record
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(_pair("service.name", RECORD_SERVICE))
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = RECORD_SCOPE
    scope_spans.spans.append(
        OtlpSpan(
            trace_id=otel_trace_id(record.trace_id),
            span_id=record_span_id(record),
            name=record.operation,
            kind=OtlpSpan.SPAN_KIND_INTERNAL,
            start_time_unix_nano=timed.start_ns,
            end_time_unix_nano=timed.end_ns,
            status=Status(code=_OTLP_STATUS[timed.status]),
            attributes=[_pair(key, value) for key, value in _attributes(timed)],
        )
    )
    return request.SerializeToString()


def record_trace(timed: TimedRecord) -> Trace:
    """The trace as this record alone makes it."""
    record = timed.record
    return Trace(
        trace_id=record.trace_id,
        otel_trace_id=otel_trace_id(record.trace_id),
        agent_id=record.agent_id,
        operation=record.operation,
        status=timed.status,
        start_ns=timed.start_ns,
        end_ns=timed.end_ns,
        metadata=record.metadata,
        workflow_id=record.workflow_id,
        session_id=record.session_id,
        task_type=record.task_type,
        span_count=1,
        error_count=int(timed.status is not TraceStatus.SUCCESS),
        agents=(record.agent_id,),
        services=(RECORD_SERVICE,),
        usage=TokenUsage(),
        cost=None,
    )


def record_span(timed: TimedRecord) -> Span:
    """The record's span, as it reads once it is stored."""
    record = timed.record
    return Span(
        span_id=record_span_id(record),
        parent_id=None,
        name=record.operation,
        kind="internal",
        start_ns=timed.start_ns,
        duration_ns=timed.end_ns - timed.start_ns,
        status="ok" if timed.status is TraceStatus.SUCCESS else "error",
        status_message="",
        service=RECORD_SERVICE,
        agent_id=record.agent_id,
        model="",
        provider="",
        tool_name="",
        usage=TokenUsage(),
        cost=None,
        input="",
        output="",
        attributes=dict(_attributes(timed)),
    )


def _check_metadata(found: Violations, metadata: Attributes) -> None:
    if len(metadata) > METADATA_KEYS_MAX:
        found.add("metadata", f"must have at most {METADATA_KEYS_MAX} keys")
    if any(not 0 < len(key) <= ID_LENGTH_MAX for key in metadata):
        found.add("metadata", f"must have keys of 1 to {ID_LENGTH_MAX} characters")
    if weight(metadata) > METADATA_BYTES_MAX:
        found.add("metadata", f"must be at most {METADATA_BYTES_MAX} bytes: put longer content into spans")
    level: list[AttributeValue] = [metadata]
    for _ in range(METADATA_DEPTH_MAX):
        if any(isinstance(value, float) and not math.isfinite(value) for value in level):
            found.add("metadata", "must hold finite numbers only")
        level = [child for value in level for child in _children(value)]
    if level:
        found.add("metadata", f"must be nested at most {METADATA_DEPTH_MAX} deep")


def _children(value: AttributeValue) -> Sequence[AttributeValue]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()


def _check_times(found: Violations, record: TraceRecord, start_ns: int, end_ns: int, now_ns: int) -> None:
    if record.start_ns is not None:
        check_time(found, "start_time", start_ns, now_ns)
    if record.start_ns is None and start_ns < TIMESTAMP_MIN_SECONDS * NS:
        found.add("duration", "must not reach back beyond the year 2000")
    elif not found.found:
        check_time(found, "duration", end_ns, now_ns)


def _attributes(timed: TimedRecord) -> list[tuple[str, AttributeValue]]:
    record = timed.record
    given: list[tuple[str, AttributeValue]] = [
        ("gen_ai.agent.id", record.agent_id),
        (ATTRIBUTE_TRACE_ID, record.trace_id),
        (ATTRIBUTE_RECORD, True),
        ("gen_ai.workflow.name", record.workflow_id),
        ("gen_ai.conversation.id", record.session_id),
        ("task.type", record.task_type),
        ("error.type", "timeout" if timed.status is TraceStatus.TIMEOUT else ""),
    ]
    kept = [(key, value) for key, value in given if value != ""]
    return kept + [(METADATA_PREFIX + key, value) for key, value in record.metadata.items()]


def _pair(key: str, value: AttributeValue) -> KeyValue:
    return KeyValue(key=key, value=_any_value(value))


def _any_value(value: AttributeValue) -> AnyValue:
    """The value, losslessly; None is the empty AnyValue (OTLP common.proto). `checked` bounds the depth."""
    if value is None:
        return AnyValue()
    if isinstance(value, Mapping):
        return AnyValue(kvlist_value=KeyValueList(values=[_pair(k, v) for k, v in value.items()]))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return AnyValue(array_value=ArrayValue(values=[_any_value(item) for item in value]))
    scalar = AnyValue()
    setattr(scalar, _SCALAR_FIELD[type(value)], value)
    return scalar
