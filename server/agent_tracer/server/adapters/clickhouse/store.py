"""The store behind its ports: each method one query of its module."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from agent_tracer.server.adapters.clickhouse.aggregates import read_agents, read_aggregate
from agent_tracer.server.adapters.clickhouse.deletion import delete_trace
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.evaluations import read_evaluations, write_evaluation
from agent_tracer.server.adapters.clickhouse.export import export_requests
from agent_tracer.server.adapters.clickhouse.spans import OF_TRACE, read_outline, read_spans
from agent_tracer.server.adapters.clickhouse.traces import list_traces, read_touched, read_traces
from agent_tracer.server.domain.ids import OtelTraceId, SpanId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.telemetry import (
    Agent,
    AggregateRow,
    Evaluation,
    Span,
    SpanOutline,
    TimeRange,
    Trace,
    TraceFilter,
)
from agent_tracer.server.ports.store import AggregateQuery, ListCursor, TracePage


class ClickHouseStore:
    """ports.store.TraceReader, TraceWriter and EvaluationStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def trace(self, tenant: TenantId, trace_id: OtelTraceId) -> Trace | None:
        """See the port."""
        found = await read_traces(self._engine, tenant, [trace_id])
        if not found:
            return None
        judged = await read_evaluations(self._engine, tenant, trace_id, found[0].trace_id)
        return replace(found[0], evaluations=judged)

    async def traces_by_id(self, tenant: TenantId, trace_ids: Sequence[OtelTraceId]) -> Sequence[Trace]:
        """See the port."""
        return await read_traces(self._engine, tenant, trace_ids)

    async def outline(self, tenant: TenantId, trace_id: OtelTraceId, *, limit: int) -> Sequence[SpanOutline]:
        """See the port."""
        return await read_outline(self._engine, tenant, trace_id, limit)

    async def spans(self, tenant: TenantId, trace_id: OtelTraceId, span_ids: Sequence[SpanId]) -> Sequence[Span]:
        """See the port."""
        return await read_spans(self._engine, tenant, trace_id, span_ids)

    async def traces(self, tenant: TenantId, where: TraceFilter, *, limit: int, after: ListCursor | None) -> TracePage:
        """See the port."""
        return await list_traces(self._engine, tenant, where, limit, after)

    async def touched(self, tenant: TenantId, from_received_ns: int, to_received_ns: int) -> Sequence[OtelTraceId]:
        """See the port."""
        return await read_touched(self._engine, tenant, from_received_ns, to_received_ns)

    async def aggregate(self, tenant: TenantId, query: AggregateQuery) -> Sequence[AggregateRow]:
        """See the port."""
        return await read_aggregate(self._engine, tenant, query)

    async def agents(self, tenant: TenantId, time_range: TimeRange, *, limit: int, after: str) -> Sequence[Agent]:
        """See the port."""
        return await read_agents(self._engine, tenant, time_range, limit, after)

    def export(
        self, tenant: TenantId, signal: Signal, time_range: TimeRange, trace_ids: Sequence[OtelTraceId]
    ) -> AsyncGenerator[bytes, None]:
        """See the port."""
        return export_requests(self._engine, tenant, signal, time_range, trace_ids)

    async def delete_trace(self, tenant: TenantId, trace_id: OtelTraceId) -> bool:
        """See the port."""
        return await delete_trace(self._engine, tenant, trace_id)

    async def add_evaluation(self, tenant: TenantId, trace_id: OtelTraceId, evaluation: Evaluation) -> bool:
        """See the port."""
        return await write_evaluation(self._engine, tenant, trace_id, evaluation)

    async def has_span(self, tenant: TenantId, trace_id: OtelTraceId, span_id: SpanId) -> bool:
        """See the port."""
        found = await self._engine.rows(
            f"SELECT 1 FROM spans WHERE {OF_TRACE} AND span_id = unhex({{span:String}}) LIMIT 1",
            {"tenant": tenant, "trace": trace_id.hex(), "span": span_id.hex()},
        )
        return bool(found)
