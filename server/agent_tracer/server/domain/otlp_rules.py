"""What OTLP items must be like to be kept: for whole batches at once, and for one item with its reason.

Sources: the comments of opentelemetry-proto's trace.proto, logs.proto and metrics.proto, and limits.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from operator import attrgetter, le
from typing import Any, Final, Self, TypeAlias

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agent_tracer.server.domain.otlp_json import DEPTH_MAX, Request
from agent_tracer.server.domain.otlp_wire import TooManyItemsError
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import (
    ATTRIBUTES_PER_SPAN_MAX,
    ITEMS_PER_REQUEST_MAX,
    TIMESTAMP_AHEAD_SECONDS,
    TIMESTAMP_MIN_SECONDS,
)

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8
_NO_TRACE_ID: Final = bytes(TRACE_ID_BYTES)
_NO_SPAN_ID: Final = bytes(SPAN_ID_BYTES)
_SECOND_NS: Final = 1_000_000_000
_AHEAD: Final = f"more than {TIMESTAMP_AHEAD_SECONDS} s ahead of the server's clock"
_TIME_RULE: Final = f"before the year 2000, or {_AHEAD}"

Point: TypeAlias = (
    metrics.NumberDataPoint
    | metrics.HistogramDataPoint
    | metrics.ExponentialHistogramDataPoint
    | metrics.SummaryDataPoint
)
Items: TypeAlias = Any
"""A repeated field of spans, log records or points; protobuf has no common type for them."""


class Reason(StrEnum):
    """Why an item was not kept: the value is the metrics' label, EXPLANATIONS has the sender's words."""

    MALFORMED = "malformed"
    TRACE_ID = "trace_id"
    SPAN_ID = "span_id"
    PARENT_SPAN_ID = "parent_span_id"
    START_TIME = "start_time"
    END_TIME = "end_time"
    END_BEFORE_START = "end_before_start"
    TIME = "time"
    ATTRIBUTE_COUNT = "attribute_count"
    NESTING = "nesting"
    TEMPORALITY = "temporality"
    BUCKETS = "buckets"
    QUANTILE = "quantile"


EXPLANATIONS: Final[Mapping[Reason, str]] = {
    Reason.MALFORMED: "cannot be decoded, or holds text that is not UTF-8",
    Reason.TRACE_ID: f"trace_id is not {TRACE_ID_BYTES} bytes, or all zero",
    Reason.SPAN_ID: f"span_id is not {SPAN_ID_BYTES} bytes, or all zero",
    Reason.PARENT_SPAN_ID: f"parent_span_id is neither empty nor {SPAN_ID_BYTES} bytes",
    Reason.START_TIME: f"start_time_unix_nano is not set, {_TIME_RULE}",
    Reason.END_TIME: f"end_time_unix_nano is {_AHEAD}",
    Reason.END_BEFORE_START: "end_time_unix_nano is not set, or before start_time_unix_nano",
    Reason.TIME: f"a time is {_TIME_RULE}; a data point must have one",
    Reason.ATTRIBUTE_COUNT: f"more than {ATTRIBUTES_PER_SPAN_MAX} attributes on it, its scope or resource",
    Reason.NESTING: f"arrays and maps in an attribute value nest more than {DEPTH_MAX} deep",
    Reason.TEMPORALITY: "aggregation_temporality is not set",
    Reason.BUCKETS: "bucket_counts and explicit_bounds do not fit, or the bounds do not increase strictly",
    Reason.QUANTILE: "a quantile is not within 0 and 1",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where timestamps may lie, both ends included; UTC nanoseconds."""

    earliest_ns: int
    latest_ns: int

    @classmethod
    def at(cls, now_ns: int) -> Self:
        """The bounds while the server's clock shows now_ns."""
        return cls(TIMESTAMP_MIN_SECONDS * _SECOND_NS, now_ns + TIMESTAMP_AHEAD_SECONDS * _SECOND_NS)

    def hold(self, time_ns: int) -> bool:
        """Whether the time lies within."""
        return self.earliest_ns <= time_ns <= self.latest_ns


def too_many(attributes: Sized) -> Reason | None:
    """Of a resource, a scope or an item."""
    return Reason.ATTRIBUTE_COUNT if len(attributes) > ATTRIBUTES_PER_SPAN_MAX else None


_SPAN_COLUMNS: Final = attrgetter(
    "trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano", "attributes"
)


# The hot path. Columns over a whole scope cost half of what a call for each span does.
def _spans_are_clean(spans: Sequence[Span], bounds: Bounds) -> bool:
    trace_ids, span_ids, parent_ids, starts, ends, attributes = zip(*map(_SPAN_COLUMNS, spans), strict=True)
    return (
        set(map(len, trace_ids)) == {TRACE_ID_BYTES}
        and set(map(len, span_ids)) == {SPAN_ID_BYTES}
        and set(map(len, parent_ids)) <= {0, SPAN_ID_BYTES}
        and _NO_TRACE_ID not in set(trace_ids)
        and _NO_SPAN_ID not in set(span_ids)
        and bounds.earliest_ns <= min(starts)
        and max(ends) <= bounds.latest_ns
        and all(map(le, starts, ends))
        and max(map(len, attributes)) <= ATTRIBUTES_PER_SPAN_MAX
    )


def _span_fault(span: Span, bounds: Bounds) -> Reason | None:  # noqa: PLR0911 - one return a rule
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    if len(span.trace_id) != TRACE_ID_BYTES or span.trace_id == _NO_TRACE_ID:
        return Reason.TRACE_ID
    if len(span.span_id) != SPAN_ID_BYTES or span.span_id == _NO_SPAN_ID:
        return Reason.SPAN_ID
    if len(span.parent_span_id) not in {0, SPAN_ID_BYTES}:
        return Reason.PARENT_SPAN_ID
    if not bounds.hold(start):
        return Reason.START_TIME
    if end < start:
        return Reason.END_BEFORE_START
    if end > bounds.latest_ns:
        return Reason.END_TIME
    return too_many(span.attributes)


def _logs_are_clean(records: Sequence[LogRecord], bounds: Bounds) -> bool:
    times = {record.time_unix_nano for record in records} | {record.observed_time_unix_nano for record in records}
    times.discard(0)
    return (
        {len(record.trace_id) for record in records} <= {0, TRACE_ID_BYTES}
        and {len(record.span_id) for record in records} <= {0, SPAN_ID_BYTES}
        and all(map(bounds.hold, times))
        and max([len(record.attributes) for record in records]) <= ATTRIBUTES_PER_SPAN_MAX
    )


def _log_fault(record: LogRecord, bounds: Bounds) -> Reason | None:
    for time_ns in (record.time_unix_nano, record.observed_time_unix_nano):
        if time_ns and not bounds.hold(time_ns):
            return Reason.TIME
    return too_many(record.attributes)


def clear_wrong_ids(record: LogRecord) -> bool:
    """Empty ids of a wrong length, as such a record belongs to no trace (logs.proto); True where any was."""
    is_wrong_trace = len(record.trace_id) not in {0, TRACE_ID_BYTES}
    is_wrong_span = len(record.span_id) not in {0, SPAN_ID_BYTES}
    if is_wrong_trace:
        record.trace_id = b""
    if is_wrong_span:
        record.span_id = b""
    return is_wrong_trace or is_wrong_span


def _points_are_clean(points: Sequence[Point], bounds: Bounds) -> bool:
    return not any(_point_fault(point, bounds) for point in points)


def _point_fault(point: Point, bounds: Bounds) -> Reason | None:
    if not bounds.hold(point.time_unix_nano):
        return Reason.TIME
    if isinstance(point, metrics.HistogramDataPoint):
        counts, edges = len(point.bucket_counts), point.explicit_bounds
        # NaN is neither more nor less than anything, so a bound that is none fails here too.
        if counts != (len(edges) + 1 if counts else len(edges)) or not all(a < b for a, b in pairwise(edges)):
            return Reason.BUCKETS
    elif isinstance(point, metrics.SummaryDataPoint) and not all(
        0 <= value.quantile <= 1 for value in point.quantile_values
    ):
        return Reason.QUANTILE
    return too_many(point.attributes)


def _points(scope: metrics.ScopeMetrics) -> Iterator[tuple[Items, Reason | None]]:
    for metric in scope.metrics:
        kind = metric.WhichOneof("data")
        if kind is not None:
            data: Any = getattr(metric, kind)
            yield (
                data.data_points,
                None if getattr(data, "aggregation_temporality", 1) else Reason.TEMPORALITY,
            )


@dataclass(frozen=True, slots=True)
class Rules:
    """One signal: where its items are, and what they must be like.

    `batches` gives a scope's repeated fields of items, each with what is wrong with all of them. `are_clean`
    takes at least one item.
    """

    groups: str
    scopes: str
    items: str
    singular: str
    batches: Callable[[Any], Iterator[tuple[Items, Reason | None]]]
    are_clean: Callable[[Any, Bounds], bool]
    fault: Callable[[Any, Bounds], Reason | None]
    mend: Callable[[Any], bool] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of one scope (of one metric there), with the resource and scope they belong to."""

    group: Any
    scope: Any
    items: Items
    fault: Reason | None


def walk(request: Request, rules: Rules) -> Iterator[Batch]:
    """Every batch of a request. Raises TooManyItemsError before the work for one request gets out of hand."""
    groups = getattr(request, rules.groups)
    seen = len(groups)
    for group in groups if seen <= ITEMS_PER_REQUEST_MAX else ():
        group_fault = too_many(group.resource.attributes)
        scopes = getattr(group, rules.scopes)
        seen += len(scopes)
        if seen > ITEMS_PER_REQUEST_MAX:
            break
        for scope in scopes:
            fault = group_fault or too_many(scope.scope.attributes)
            for items, items_fault in rules.batches(scope):
                seen += len(items)
                if seen > ITEMS_PER_REQUEST_MAX:
                    raise TooManyItemsError
                yield Batch(group, scope, items, fault or items_fault)
    if seen > ITEMS_PER_REQUEST_MAX:
        raise TooManyItemsError


RULES: Final[Mapping[Signal, Rules]] = {
    Signal.TRACES: Rules(
        groups="resource_spans",
        scopes="scope_spans",
        items="spans",
        singular="span",
        batches=lambda scope: iter(((scope.spans, None),)),
        are_clean=_spans_are_clean,
        fault=_span_fault,
    ),
    Signal.LOGS: Rules(
        groups="resource_logs",
        scopes="scope_logs",
        items="log_records",
        singular="log record",
        batches=lambda scope: iter(((scope.log_records, None),)),
        are_clean=_logs_are_clean,
        fault=_log_fault,
        mend=clear_wrong_ids,
    ),
    Signal.METRICS: Rules(
        groups="resource_metrics",
        scopes="scope_metrics",
        items="metrics",
        singular="data point",
        batches=_points,
        are_clean=_points_are_clean,
        fault=_point_fault,
    ),
}
