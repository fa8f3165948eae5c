"""Records that CreateTrace took lately: for repetitions, and for reads that are quicker than the loader."""

from collections.abc import Callable

from agent_tracer.server.domain.ids import OtelTraceId, SpanId, TenantId, otel_trace_id
from agent_tracer.server.domain.trace_records import TimedRecord, TraceRecord, record_span_id
from agent_tracer.server.ports.journal import Position


class RecentRecords:
    """Remembers the latest `capacity` records. Callers repeat within seconds, and read at once."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._first: dict[tuple[TenantId, SpanId], int] = {}
        self._kept: dict[tuple[TenantId, OtelTraceId], list[tuple[Position, TimedRecord]]] = {}

    def first_seen_ns(self, tenant: TenantId, record: TraceRecord, now_ns: int) -> int:
        """The time at which this record came first: now, unless it repeats one without a start time."""
        if record.start_ns is not None:
            return now_ns
        first = self._first.setdefault((tenant, record_span_id(record)), now_ns)
        if len(self._first) > self._capacity:
            del self._first[next(iter(self._first))]
        return first

    def keep(self, tenant: TenantId, timed: TimedRecord, end: Position) -> None:
        """A record that is durable up to this journal position."""
        self._kept.setdefault((tenant, otel_trace_id(timed.record.trace_id)), []).append((end, timed))
        if len(self._kept) > self._capacity:
            del self._kept[next(iter(self._kept))]

    def only_waiting(
        self, tenant: TenantId, trace_id: OtelTraceId, is_loaded: Callable[[Position], bool]
    ) -> TimedRecord | None:
        """The one record of the trace that is not loaded yet; None where there are none or several."""
        kept = self._kept.get((tenant, trace_id), ())
        waiting = [timed for end, timed in kept if not is_loaded(end)]
        return waiting[0] if len(waiting) == 1 else None
