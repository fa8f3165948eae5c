"""Use cases on traces: create, get, list, page through spans, delete."""

import asyncio
import dataclasses
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from agent_tracer.server.domain.checks import check_id
from agent_tracer.server.domain.conditions import TraceConditions, trace_filter
from agent_tracer.server.domain.errors import TraceNotFoundError, Violations
from agent_tracer.server.domain.ids import OtelTraceId, SpanId, TenantId, TraceId, otel_trace_id
from agent_tracer.server.domain.paging import (
    Page,
    PageRequest,
    decode_token,
    encode_token,
    fitting,
    page_size,
    token_error,
)
from agent_tracer.server.domain.telemetry import Span, SpanOutline, Trace
from agent_tracer.server.domain.trace_records import TraceRecord, checked, record_request, record_span, record_trace
from agent_tracer.server.domain.trees import Placed, depth_first
from agent_tracer.server.domain.weights import trace_weight
from agent_tracer.server.limits import GET_TRACE_SPANS_MAX, PAGE_BYTES_MAX, RECENT_RECORDS_MAX, TRACE_SPANS_MAX
from agent_tracer.server.ports.store import ListCursor, TraceReader, TraceWriter
from agent_tracer.server.services.ingest import Ingest
from agent_tracer.server.services.loaded_reads import LoadedReads
from agent_tracer.server.services.recent_records import RecentRecords
from agent_tracer.server.services.span_reading import read_placed
from agent_tracer.server.services.waiting_requests import Waiting

_TRACE_POSITION: Final = struct.Struct(">qq16s")
"""The first page's clock, so that a period means the same range on all; the last trace's start and id."""

_SPAN_POSITION: Final = struct.Struct(">I8s")
"""Spans shown so far, and the id of the last: late spans move the count, not the id."""


class Traces:
    """Raises InvalidFieldsError, TraceNotFoundError, and what the ports raise."""

    def __init__(  # noqa: PLR0913 - its collaborators, by name
        self,
        *,
        reader: TraceReader,
        writer: TraceWriter,
        ingest: Ingest,
        loaded: LoadedReads,
        clock_ns: Callable[[], int],
        forget: Callable[[TenantId, OtelTraceId], Awaitable[None]],
    ) -> None:
        """`forget` is told of traces that were deleted."""
        self._reader = reader
        self._writer = writer
        self._ingest = ingest
        self._loaded = loaded
        self._clock_ns = clock_ns
        self._forget = forget
        self._records = RecentRecords(RECENT_RECORDS_MAX)

    async def create(self, tenant: TenantId, record: TraceRecord) -> Trace:
        """Keep one record; returns once it is durable, with what the record alone says of the trace."""
        now_ns = self._clock_ns()
        timed = checked(record, self._records.first_seen_ns(tenant, record, now_ns))
        end = await self._ingest.record(tenant, now_ns, record_request(timed))
        self._records.keep(tenant, timed, end)
        return record_trace(timed)

    async def get(self, tenant: TenantId, trace_id: str) -> Trace:
        """The trace with its evaluations and its first spans in depth-first order."""
        key = _key(trace_id)
        created = await self._created_alone(tenant, key)
        if created is not None and not await self._placed(tenant, key):
            return created
        placed = await self._loaded.find_whole(tenant, key, lambda: self._placed_or_none(tenant, key))
        if placed is None:
            raise TraceNotFoundError(trace_id)
        # At once, for either query takes some 20 ms, most of them for its analysis.
        trace, first = await asyncio.gather(
            self._reader.trace(tenant, key),
            read_placed(self._reader, tenant, key, placed[:GET_TRACE_SPANS_MAX]),
        )
        if trace is None:
            raise TraceNotFoundError(trace_id)
        return dataclasses.replace(trace, spans=first.spans)

    async def _created_alone(self, tenant: TenantId, key: OtelTraceId) -> Trace | None:
        """The trace of a record that was created just now, where nothing else of the trace waits for the loader.

        Else a caller who reads back what it wrote waits for a commit, which costs a tenth of a second.
        """
        timed = self._records.only_waiting(tenant, key, self._loaded.is_loaded)
        if timed is None or await self._loaded.waiting(tenant, key) != Waiting(1, is_all=True):
            return None
        return dataclasses.replace(record_trace(timed), spans=(record_span(timed),))

    async def list(self, tenant: TenantId, conditions: TraceConditions, page: PageRequest) -> Page[Trace]:
        """Newest start first."""
        binding = ("ListTraces", tenant, repr(conditions))
        now_ns, after = self._clock_ns(), None
        if page.token:
            now_ns, after = _trace_position(decode_token(binding, page.token))
        where = trace_filter(conditions, now_ns)
        found = await self._reader.traces(tenant, where, limit=page_size(page), after=after)
        shown = fitting(found.traces, trace_weight, PAGE_BYTES_MAX)
        cursor = found.cursor
        if len(shown) < len(found.traces):
            cursor = ListCursor(shown[-1].start_ns, shown[-1].otel_trace_id)
        if cursor is None:
            return Page(shown)
        position = _TRACE_POSITION.pack(now_ns, cursor.start_ns, cursor.otel_trace_id)
        return Page(shown, encode_token(binding, position))

    async def spans(self, tenant: TenantId, trace_id: str, page: PageRequest) -> Page[Span]:
        """A trace's spans in depth-first order, each with its depth and its own or inherited agent."""
        key = _key(trace_id)
        size = page_size(page)
        binding = ("ListSpans", tenant, key.hex())
        position = decode_token(binding, page.token) if page.token else b""
        placed = await self._loaded.find_whole(tenant, key, lambda: self._placed_or_none(tenant, key))
        if placed is None:
            raise TraceNotFoundError(trace_id)
        start = _span_start(position, placed) if position else 0
        read = await read_placed(self._reader, tenant, key, placed[start : start + size])
        end = start + read.places
        if end >= len(placed):
            return Page(read.spans)
        return Page(read.spans, encode_token(binding, _SPAN_POSITION.pack(end, placed[end - 1].span.span_id)))

    async def delete(self, tenant: TenantId, trace_id: str) -> None:
        """Remove the trace, with whatever of it is durable and not loaded yet."""
        key = _key(trace_id)
        await self._loaded.catch_up()
        if not await self._writer.delete_trace(tenant, key):
            raise TraceNotFoundError(trace_id)
        await self._forget(tenant, key)

    async def _placed(self, tenant: TenantId, key: OtelTraceId) -> Sequence[Placed[SpanOutline]]:
        outline = await self._reader.outline(tenant, key, limit=TRACE_SPANS_MAX)
        # In a worker: a large tree takes part of a second, in which other calls must go on.
        return await asyncio.to_thread(depth_first, outline)

    async def _placed_or_none(self, tenant: TenantId, key: OtelTraceId) -> Sequence[Placed[SpanOutline]] | None:
        return await self._placed(tenant, key) or None


def _key(trace_id: str) -> OtelTraceId:
    found = Violations()
    check_id(found, "trace_id", trace_id)
    found.raise_any()
    return otel_trace_id(TraceId(trace_id))


def _trace_position(position: bytes) -> tuple[int, ListCursor]:
    if len(position) != _TRACE_POSITION.size:
        raise token_error()
    now_ns, start_ns, otel_id = _TRACE_POSITION.unpack(position)
    return now_ns, ListCursor(start_ns, OtelTraceId(otel_id))


def _span_start(position: bytes, placed: Sequence[Placed[SpanOutline]]) -> int:
    """After the last span shown; where that one is gone, after as many as were shown."""
    if len(position) != _SPAN_POSITION.size:
        raise token_error()
    count, last = _SPAN_POSITION.unpack(position)
    if 0 < count <= len(placed) and placed[count - 1].span.span_id == last:
        return int(count)
    by_id = {place.span.span_id: index + 1 for index, place in enumerate(placed)}
    return by_id.get(SpanId(last), int(count))
