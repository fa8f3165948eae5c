"""Reads traces as similarity needs them: which have come, and each as an outline of its texts and spans."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.spans import NO_PARENT
from agent_tracer.server.adapters.clickhouse.traces import read_traces
from agent_tracer.server.adapters.clickhouse.values import unix_seconds
from agent_tracer.server.domain.atlas.embedding import OutlineSpan, TraceOutline
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, SpanId, TenantId
from agent_tracer.server.domain.telemetry import Trace
from agent_tracer.server.domain.trees import depth_first
from agent_tracer.server.limits import (
    OUTLINE_INPUT_BYTES_MAX,
    OUTLINE_READ_SPANS_MAX,
    OUTLINE_SPANS_MAX,
    OUTLINE_TEXT_MAX,
)
from agent_tracer.server.ports.outlines import OutlinedTrace, ReceivedTraces
from agent_tracer.server.ports.settling import ReceivedRange

_ERROR: Final = 2
"""OTLP's STATUS_CODE_ERROR."""

_RECEIVED: Final = (
    "received_at >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC') "
    "AND received_at <= fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')"
)
# One past the most, which is then in the next range with all that came at the same time.
_CUT: Final = f"""
SELECT toUnixTimestamp64Nano(received_at) AS at FROM traces WHERE {_RECEIVED} ORDER BY at DESC LIMIT 1 OFFSET {{most:UInt32}}
"""
_TRACES: Final = f"""
SELECT tenant, trace_id, toUnixTimestamp64Nano(max(received_at)) AS last FROM traces WHERE {_RECEIVED}
GROUP BY tenant, trace_id ORDER BY last DESC, tenant, trace_id
"""
_PLACES: Final = """
SELECT trace_id, arrayDistinct(groupArrayArray(hours)), toUnixTimestamp64Nano(max(received_at)) FROM traces
WHERE tenant = {tenant:String} AND trace_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))
GROUP BY trace_id
"""
_SPANS: Final = f"""
SELECT * FROM (
  SELECT trace_id, span_id, parent_span_id, toUnixTimestamp64Nano(start_time) AS start_ns, duration_ns, name, toString(kind),
    status, error_type, substring(status_message, 1, {OUTLINE_INPUT_BYTES_MAX}), substring(input, 1, {OUTLINE_INPUT_BYTES_MAX})
  FROM spans
  WHERE (tenant, toStartOfHour(start_time), trace_id) IN (
    SELECT {{tenant:String}}, toDateTime(key.1, 'UTC'), toFixedString(unhex(key.2), 16)
    FROM (SELECT arrayJoin(arrayZip({{hours:Array(UInt32)}}, {{ids:Array(String)}})) AS key))
  ORDER BY trace_id, start_time, span_id LIMIT 1 BY trace_id, span_id
) LIMIT {OUTLINE_SPANS_MAX} BY trace_id
"""


class _Span(NamedTuple):
    """A row, as domain.trees.TreeSpan."""

    span_id: SpanId
    parent_id: SpanId | None
    start_ns: int
    agent_id: AgentId
    outline: OutlineSpan
    failure: str
    input: str


class _Place(NamedTuple):
    """Where a trace's spans are, and when its last was received."""

    hours: Sequence[int]
    received_ns: int


class ClickHouseOutlines:
    """ports.outlines.OutlineReader."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def received(self, received: ReceivedRange, *, limit: int) -> ReceivedTraces:
        """See the port."""
        times = {"from_ns": received.start_ns, "to_ns": received.end_ns}
        cut = await self._engine.rows(_CUT, {**times, "most": limit})
        if cut:
            # Where all of it came at one time there is nothing to cut.
            times["from_ns"] = min(cut[0][0] + 1, received.end_ns)
        rows = await self._engine.rows(_TRACES, times)
        if cut and not rows:
            times["from_ns"] = cut[0][0]
            rows = await self._engine.rows(_TRACES, times)
        traces = [(TenantId(_text(tenant)), OtelTraceId(trace_id), last) for tenant, trace_id, last in rows]
        return ReceivedTraces(traces, times["from_ns"])

    async def outlines(self, tenant: TenantId, trace_ids: Sequence[OtelTraceId]) -> Sequence[OutlinedTrace]:
        """See the port."""
        if not trace_ids:
            return ()
        traces, places = await asyncio.gather(
            read_traces(self._engine, tenant, trace_ids), self._places(tenant, trace_ids)
        )
        found: list[OutlinedTrace] = []
        for some in _portions([trace for trace in traces if trace.otel_trace_id in places]):
            spans = await self._spans(tenant, {trace.otel_trace_id: places[trace.otel_trace_id] for trace in some})
            found += await asyncio.to_thread(_outlined, some, places, spans)
        return found

    async def _places(self, tenant: TenantId, trace_ids: Sequence[OtelTraceId]) -> Mapping[OtelTraceId, _Place]:
        rows = await self._engine.rows(_PLACES, {"tenant": tenant, "ids": [one.hex() for one in trace_ids]})
        return {OtelTraceId(one): _Place([unix_seconds(hour) for hour in hours], last) for one, hours, last in rows}

    async def _spans(self, tenant: TenantId, places: Mapping[OtelTraceId, _Place]) -> Sequence[Row]:
        keys = [(hour, trace_id.hex()) for trace_id, place in places.items() for hour in place.hours]
        parameters: dict[str, Any] = {"hours": [hour for hour, _ in keys], "ids": [trace_id for _, trace_id in keys]}
        return await self._engine.rows(_SPANS, {"tenant": tenant, **parameters})


def _portions(traces: Sequence[Trace]) -> list[list[Trace]]:
    """Together with at most OUTLINE_READ_SPANS_MAX spans, or one alone."""
    portions: list[list[Trace]] = []
    room = 0
    for trace in traces:
        spans = min(trace.span_count, OUTLINE_SPANS_MAX)
        if spans > room:
            portions.append([])
            room = OUTLINE_READ_SPANS_MAX
        portions[-1].append(trace)
        room -= spans
    return portions


def _outlined(
    traces: Sequence[Trace], places: Mapping[OtelTraceId, _Place], rows: Sequence[Row]
) -> Sequence[OutlinedTrace]:
    spans = {OtelTraceId(trace_id): list(map(_span, of)) for trace_id, of in groupby(rows, key=lambda row: row[0])}
    return [
        OutlinedTrace(
            trace, places[trace.otel_trace_id].received_ns, _outline(trace.operation, spans[trace.otel_trace_id])
        )
        for trace in traces
        if trace.otel_trace_id in spans
    ]


def _outline(operation: str, spans: Sequence[_Span]) -> TraceOutline:
    ordered = [place.span for place in depth_first(spans)]
    positions: dict[SpanId, int] = {}
    outlined = []
    for span in ordered:
        # A parent that comes later is one of a cycle.
        parent = positions.get(span.parent_id, -1) if span.parent_id is not None else -1
        outlined.append(OutlineSpan(parent, *_but_parent(span.outline)))
        positions[span.span_id] = len(positions)
    texts = [operation, *(span.failure for span in ordered), *(span.input for span in ordered)]
    return TraceOutline("\n".join(text for text in texts if text)[:OUTLINE_TEXT_MAX], outlined)


def _but_parent(span: OutlineSpan) -> tuple[str, str, str, float]:
    return span.kind, span.name, span.status, span.duration_ms


def _span(row: Row) -> _Span:
    _, span_id, parent, start_ns, duration_ns, name, kind, status, error_type, message, input_ = row
    failed = status == _ERROR
    return _Span(
        SpanId(span_id),
        None if parent == NO_PARENT else SpanId(parent),
        start_ns,
        AgentId(""),
        OutlineSpan(-1, _text(kind), _text(name), "error" if failed else "ok", duration_ns / 1e6),
        f"{_text(error_type)} {_text(message)}".strip() if failed or error_type else "",
        _text(input_),
    )


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
