"""What the services ask of the store. Times are UTC nanoseconds; every call is of one tenant."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

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


class StoreDownError(Exception):
    """The store does not answer, or not in time. Trying again later may help."""


class StoreBusyError(StoreDownError):
    """Too many queries wait already."""


class QueryTimeoutError(Exception):
    """The query took longer than the caller's deadline or the server's limit; a narrower one may not."""


@dataclass(frozen=True, slots=True)
class ListCursor:
    """Where a list of traces goes on: strictly older than this start, ids breaking ties in descending order."""

    start_ns: int
    otel_trace_id: OtelTraceId


@dataclass(frozen=True, slots=True)
class TracePage:
    """`cursor` is None at the end of the list. A page may hold fewer traces than asked for and still go on."""

    traces: Sequence[Trace]
    cursor: ListCursor | None


@dataclass(frozen=True, slots=True)
class AggregateQuery:
    """group_by: names of `AggregateTracesRequest.group_by`. interval_seconds None: one bucket over the range."""

    group_by: Sequence[str]
    time_range: TimeRange
    interval_seconds: int | None
    agent_id: str = ""
    service: str = ""


class TraceReader(Protocol):
    """Reads of traces.

    Every method sees whatever the loader had committed when it was called. A span that was delivered twice
    counts once. Cancelling the call stops the query. Raises StoreDownError, StoreBusyError, QueryTimeoutError.
    """

    async def trace(self, tenant: TenantId, trace_id: OtelTraceId) -> Trace | None:
        """The trace's summary with its evaluations, without spans. None where no span of it is stored."""
        ...

    async def outline(self, tenant: TenantId, trace_id: OtelTraceId, *, limit: int) -> Sequence[SpanOutline]:
        """Enough of a trace's spans to draw its tree, ordered by start time then id, at most `limit`."""
        ...

    async def spans(self, tenant: TenantId, trace_id: OtelTraceId, span_ids: Sequence[SpanId]) -> Sequence[Span]:
        """Those spans of a trace, whole, in any order; without depth, each with its own agent only."""
        ...

    async def traces(self, tenant: TenantId, where: TraceFilter, *, limit: int, after: ListCursor | None) -> TracePage:
        """Newest start first. Traces that arrive meanwhile neither repeat nor hide one of a later page."""
        ...

    async def traces_by_id(self, tenant: TenantId, trace_ids: Sequence[OtelTraceId]) -> Sequence[Trace]:
        """The summaries of those that are stored, in any order, without evaluations and spans.

        One query for up to `limits.WATCH_BATCH_MAX` ids.
        """
        ...

    async def touched(self, tenant: TenantId, from_received_ns: int, to_received_ns: int) -> Sequence[OtelTraceId]:
        """Traces that something was received of in that time, both ends included; at most FEED_TRACES_MAX + 1."""
        ...

    async def aggregate(self, tenant: TenantId, query: AggregateQuery) -> Sequence[AggregateRow]:
        """Rows ordered by bucket, then by count descending, then by group.

        At most `limits.AGGREGATE_ROWS_MAX` + 1, so that one too many can be told from all.
        """
        ...

    async def agents(self, tenant: TenantId, time_range: TimeRange, *, limit: int, after: str) -> Sequence[Agent]:
        """Agents seen in the range, ordered by id, after the id `after`."""
        ...

    def export(
        self, tenant: TenantId, signal: Signal, time_range: TimeRange, trace_ids: Sequence[OtelTraceId]
    ) -> AsyncGenerator[bytes, None]:
        """Serialised OTLP export requests that equal what came in; all of the range where trace_ids is empty.

        Each of about `limits.PAGE_BYTES_MAX`, more only for a single larger span. The caller closes it.
        """
        ...


class TraceWriter(Protocol):
    """Writes beside the journal's road."""

    async def delete_trace(self, tenant: TenantId, trace_id: OtelTraceId) -> bool:
        """Remove a trace from every table; False where nothing of it was stored. Gone for readers on return."""
        ...


class EvaluationStore(Protocol):
    """Judgements attached to traces."""

    async def add_evaluation(self, tenant: TenantId, trace_id: OtelTraceId, evaluation: Evaluation) -> bool:
        """Keep it, durably; the same evaluation_id again replaces. False: the trace is not stored, nor this."""
        ...

    async def has_span(self, tenant: TenantId, trace_id: OtelTraceId, span_id: SpanId) -> bool:
        """Whether the trace has a span of that id."""
        ...


class TooMuchDataError(Exception):
    """The query needs more memory than it may use; a narrower one may not."""
