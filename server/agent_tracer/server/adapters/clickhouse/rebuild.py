"""Rows as the OTLP messages they came in: export requests, one a group of rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.server.adapters.clickhouse.engine import Row
from agent_tracer.server.adapters.clickhouse.spans import NO_PARENT
from agent_tracer.server.adapters.clickhouse.wire import wire_attributes, wire_messages, wire_value
from agent_tracer.server.domain.signals import Signal

_Group: TypeAlias = Any
"""ResourceSpans, ResourceLogs or ResourceMetrics; the scopes within them likewise. protobuf has no common type."""

_OWNER: Final = (
    "resource_schema_url", "entity_refs", "mapKeys(resource)", "mapValues(resource)", "resource_types",
    "scope_name", "scope_version", "scope_schema_url", "mapKeys(scope_attributes)", "mapValues(scope_attributes)",
    "scope_types", "dropped_counts",
)  # fmt: skip
"""What says where an item belongs. `dropped_counts` ends with the resource's and the scope's."""

_RESOURCE_WIDTH: Final = 5
_SPAN_COUNTS, _LOG_COUNTS, _POINT_COUNTS = 3, 1, 0
"""How many of an item's own counts come before those."""

_SPAN: Final = (
    "trace_id", "span_id", "parent_span_id", "toUnixTimestamp64Nano(start_time)", "duration_ns", "name", "otel_kind",
    "status", "status_message", "trace_state", "flags", "input", "output", "mapKeys(attributes)",
    "mapValues(attributes)", "attribute_types", "events", "links",
)  # fmt: skip

_LOG: Final = (
    "sent_time_ns", "toUnixTimestamp64Nano(observed_time)", "trace_id", "span_id", "severity_number", "severity_text",
    "event_name", "body_type", "body", "flags", "mapKeys(attributes)", "mapValues(attributes)", "attribute_types",
)  # fmt: skip

_METRIC: Final = (
    "metric", "description", "unit", "toInt8(type)", "temporality", "monotonic", "mapKeys(metadata)",
    "mapValues(metadata)", "metadata_types",
)  # fmt: skip

_POINT: Final = (
    "toUnixTimestamp64Nano(time)", "start_time_ns", "flags", "int_value", "double_value", "count", "sum", "min", "max",
    "bounds", "bucket_counts", "scale", "zero_count", "zero_threshold", "positive_offset", "negative_offset",
    "negative_counts", "quantiles", "exemplars", "mapKeys(attributes)", "mapValues(attributes)", "attribute_types",
)  # fmt: skip


class _Requests:
    """One export request in the making: items find the resource and the scope that they came with."""

    def __init__(self, request: _Group, resources: str, scopes: str, own_counts: int) -> None:
        self._resources, self._scopes, self._own_counts = getattr(request, resources), scopes, own_counts
        self._made: dict[Any, _Group] = {}

    def scope(self, owner: Row) -> tuple[_Group, Sequence[int]]:
        """The scope group of an item with these columns of _OWNER, and the item's own counts of what was dropped."""
        counts = owner[-1] or (0,) * (self._own_counts + 2)
        *own, of_resource, of_scope = counts
        resource = (*_hashable(owner[:_RESOURCE_WIDTH]), of_resource)
        key = (resource, *_hashable(owner[_RESOURCE_WIDTH:-1]), of_scope)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = self._new_scope(resource, owner[_RESOURCE_WIDTH:-1], of_scope)
        return found, own

    def _new_scope(self, resource: tuple[Any, ...], columns: Row, dropped: int) -> _Group:
        name, version, schema_url, keys, texts, types = columns
        group = self._made.get(resource)
        if group is None:
            group = self._made[resource] = self._new_resource(resource)
        made = getattr(group, self._scopes).add(schema_url=_text(schema_url))
        made.scope.name, made.scope.version = _text(name), _text(version)
        made.scope.MergeFromString(wire_attributes(InstrumentationScope.ATTRIBUTES_FIELD_NUMBER, keys, texts, types))
        made.scope.dropped_attributes_count = dropped
        return made

    def _new_resource(self, columns: Row) -> _Group:
        schema_url, refs, keys, texts, types, dropped = columns
        made = self._resources.add(schema_url=_text(schema_url))
        made.resource.MergeFromString(
            wire_attributes(Resource.ATTRIBUTES_FIELD_NUMBER, keys, texts, types)
            + wire_messages(Resource.ENTITY_REFS_FIELD_NUMBER, refs)
        )
        made.resource.dropped_attributes_count = dropped
        return made


def _hashable(columns: Row) -> Iterable[Any]:
    return (tuple(column) if isinstance(column, list) else column for column in columns)


def _text(value: bytes) -> str:
    return value.decode()


def _spans(rows: Iterable[tuple[Row, int]]) -> bytes:
    request = ExportTraceServiceRequest()
    made = _Requests(request, "resource_spans", "scope_spans", _SPAN_COUNTS)
    for row, _ in rows:
        scope, counts = made.scope(row[: len(_OWNER)])
        _add_span(scope.spans, row[len(_OWNER) :], counts)
    return request.SerializeToString()


def _add_span(spans: Any, row: Row, dropped: Sequence[int]) -> None:  # noqa: ANN401 - a repeated field
    (trace_id, span_id, parent, start_ns, duration_ns, name, kind, code, message, state, flags, input_, output, keys,
     texts, types, events, links) = row  # fmt: skip
    dropped_attributes, dropped_events, dropped_links = dropped
    span = spans.add(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=b"" if parent == NO_PARENT else parent,
        trace_state=_text(state),
        flags=flags,
        name=_text(name),
        kind=kind,
        start_time_unix_nano=start_ns,
        end_time_unix_nano=start_ns + duration_ns,
        dropped_attributes_count=dropped_attributes,
        dropped_events_count=dropped_events,
        dropped_links_count=dropped_links,
        status=Status(message=_text(message), code=code) if code or message else None,
    )
    span.MergeFromString(
        wire_attributes(Span.ATTRIBUTES_FIELD_NUMBER, keys, texts, types, (input_, output))
        + wire_messages(Span.EVENTS_FIELD_NUMBER, events)
        + wire_messages(Span.LINKS_FIELD_NUMBER, links)
    )


def _logs(rows: Iterable[tuple[Row, int]]) -> bytes:
    request = ExportLogsServiceRequest()
    made = _Requests(request, "resource_logs", "scope_logs", _LOG_COUNTS)
    for row, copies in rows:
        scope, (dropped,) = made.scope(row[: len(_OWNER)])
        scope.log_records.extend([_log(row[len(_OWNER) :], dropped)] * copies)
    return request.SerializeToString()


def _log(row: Row, dropped: int) -> LogRecord:
    (time_ns, observed_ns, trace_id, span_id, severity, severity_text, event_name, body_type, body, flags, keys, texts,
     types) = row  # fmt: skip
    record = LogRecord(
        time_unix_nano=time_ns,
        observed_time_unix_nano=observed_ns,
        severity_number=severity,
        severity_text=_text(severity_text),
        body=AnyValue.FromString(wire_value(body_type, body)) if body_type else None,
        dropped_attributes_count=dropped,
        flags=flags,
        trace_id=trace_id,
        span_id=span_id,
        event_name=_text(event_name),
    )
    record.MergeFromString(wire_attributes(LogRecord.ATTRIBUTES_FIELD_NUMBER, keys, texts, types))
    return record


def _metrics(rows: Iterable[tuple[Row, int]]) -> bytes:
    request = ExportMetricsServiceRequest()
    made = _Requests(request, "resource_metrics", "scope_metrics", _POINT_COUNTS)
    data: dict[Any, Any] = {}
    for row, copies in rows:
        scope, _ = made.scope(row[: len(_OWNER)])
        columns, point = row[len(_OWNER) : len(_OWNER) + len(_METRIC)], row[len(_OWNER) + len(_METRIC) :]
        # The request holds its scopes, so that none has the address of another one.
        key = (id(scope), *_hashable(columns))
        if key not in data:
            data[key] = _new_metric(scope, columns)
        data[key].data_points.extend([_point(columns[3], point)] * copies)
    return request.SerializeToString()


def _new_metric(scope: metrics.ScopeMetrics, columns: Row) -> Any:  # noqa: ANN401 - one of five kinds of data
    name, description, unit, type_, temporality, monotonic, keys, texts, types = columns
    metric = scope.metrics.add(name=_text(name), description=_text(description), unit=_text(unit))
    metric.MergeFromString(wire_attributes(metrics.Metric.METADATA_FIELD_NUMBER, keys, texts, types))
    data = getattr(metric, _POINT_KINDS[type_].data)
    if temporality:
        data.aggregation_temporality = temporality
    if monotonic:
        data.is_monotonic = monotonic
    return data


@dataclass(frozen=True, slots=True)
class _PointKind:
    """Which field of a metric holds such points, and their fields by column of _POINT."""

    data: str
    make: Any
    fields: Mapping[str, str]


_TIMES: Final = {
    "toUnixTimestamp64Nano(time)": "time_unix_nano",
    "start_time_ns": "start_time_unix_nano",
    "flags": "flags",
}
_NUMBER: Final = {**_TIMES, "int_value": "as_int", "double_value": "as_double"}
_TOTALS: Final = {**_TIMES, "count": "count", "sum": "sum"}
_EXTREMES: Final = {**_TOTALS, "min": "min", "max": "max"}
_BOUNDED: Final = {**_EXTREMES, "bounds": "explicit_bounds", "bucket_counts": "bucket_counts"}
_SCALED: Final = {
    **_EXTREMES,
    "scale": "scale",
    "zero_count": "zero_count",
    "zero_threshold": "zero_threshold",
}

_POINT_KINDS: Final = {
    1: _PointKind("gauge", metrics.NumberDataPoint, _NUMBER),
    2: _PointKind("sum", metrics.NumberDataPoint, _NUMBER),
    3: _PointKind("histogram", metrics.HistogramDataPoint, _BOUNDED),
    4: _PointKind("exponential_histogram", metrics.ExponentialHistogramDataPoint, _SCALED),
    5: _PointKind("summary", metrics.SummaryDataPoint, _TOTALS),
}
"""By the number of the type (tables.METRIC_POINTS)."""


def _point(type_: int, row: Row) -> Any:  # noqa: ANN401 - one of four classes of points
    kind, columns = _POINT_KINDS[type_], dict(zip(_POINT, row, strict=True))
    point = kind.make(**{field: columns[column] for column, field in kind.fields.items()})
    *_, exemplars, keys, texts, types = row
    point.MergeFromString(wire_attributes(kind.make.ATTRIBUTES_FIELD_NUMBER, keys, texts, types))
    if exemplars:
        point.MergeFromString(wire_messages(kind.make.EXEMPLARS_FIELD_NUMBER, exemplars))
    if kind.fields is _SCALED:
        _set_buckets(point.positive, columns["positive_offset"], columns["bucket_counts"])
        _set_buckets(point.negative, columns["negative_offset"], columns["negative_counts"])
    for quantile, value in columns["quantiles"]:
        point.quantile_values.add(quantile=quantile, value=value)
    return point


def _set_buckets(buckets: metrics.ExponentialHistogramDataPoint.Buckets, offset: int, counts: Sequence[int]) -> None:
    if offset:
        buckets.offset = offset
    buckets.bucket_counts.extend(counts)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """`columns` of a table, and what makes an export request of rows of them, each with how often it came in."""

    columns: Sequence[str]
    request: Callable[[Iterable[tuple[Row, int]]], bytes]


REBUILT: Final[Mapping[Signal, Rebuilt]] = {
    Signal.TRACES: Rebuilt((*_OWNER, *_SPAN), _spans),
    Signal.LOGS: Rebuilt((*_OWNER, *_LOG), _logs),
    Signal.METRICS: Rebuilt((*_OWNER, *_METRIC, *_POINT), _metrics),
}
