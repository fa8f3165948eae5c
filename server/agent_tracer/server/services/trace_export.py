"""Use case: stored traces as OTLP, as they came in."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from agent_tracer.server.domain.checks import check_id
from agent_tracer.server.domain.conditions import TimeWindow, aggregate_range, everything_until
from agent_tracer.server.domain.errors import TraceNotFoundError, Violations
from agent_tracer.server.domain.ids import OtelTraceId, TenantId, TraceId, otel_trace_id
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import EXPORT_TRACES_MAX
from agent_tracer.server.ports.store import TraceReader
from agent_tracer.server.services.loaded_reads import LoadedReads


@dataclass(frozen=True, slots=True)
class ExportConditions:
    """The traces named, or a window, or neither for the last 24 hours; as the caller wrote it."""

    trace_ids: Sequence[str] = ()
    window: TimeWindow = field(default_factory=TimeWindow)


class TraceExport:
    """Exports whatever was acknowledged before the call."""

    def __init__(self, reader: TraceReader, loaded: LoadedReads, clock_ns: Callable[[], int]) -> None:
        self._reader = reader
        self._loaded = loaded
        self._clock_ns = clock_ns

    async def export(self, tenant: TenantId, conditions: ExportConditions) -> AsyncGenerator[bytes, None]:
        """Serialised ExportTraceServiceRequests.

        Raises InvalidFieldsError, TraceNotFoundError for a named trace that is not stored, and what
        TraceReader raises.
        """
        time_range = _checked(conditions, self._clock_ns())
        await self._loaded.catch_up()
        keys = await self._existing(tenant, conditions.trace_ids)
        async with aclosing(self._reader.export(tenant, Signal.TRACES, time_range, keys)) as requests:
            async for request in requests:
                yield request

    async def _existing(self, tenant: TenantId, trace_ids: Sequence[str]) -> Sequence[OtelTraceId]:
        keys = {otel_trace_id(TraceId(trace_id)): trace_id for trace_id in trace_ids}
        if keys:
            found = {trace.otel_trace_id for trace in await self._reader.traces_by_id(tenant, list(keys))}
            for key, trace_id in keys.items():
                if key not in found:
                    raise TraceNotFoundError(trace_id)
        return list(keys)


def _checked(conditions: ExportConditions, now_ns: int) -> TimeRange:
    found = Violations()
    if len(conditions.trace_ids) > EXPORT_TRACES_MAX:
        found.add("trace_ids", f"must be at most {EXPORT_TRACES_MAX}")
    for index, trace_id in enumerate(conditions.trace_ids):
        check_id(found, f"trace_ids[{index}]", trace_id)
    if conditions.trace_ids and conditions.window != TimeWindow():
        found.add("trace_ids", "must not be given together with a period or times")
    time_range = aggregate_range(found, conditions.window, now_ns)
    found.raise_any()
    return everything_until(now_ns) if conditions.trace_ids else time_range
