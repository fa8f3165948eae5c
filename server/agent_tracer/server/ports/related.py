"""What is asked of the store about one trace and the traces beside it. Times are UTC nanoseconds."""

from collections.abc import Sequence
from typing import Protocol

from agent_tracer.server.domain.correlation.findings import Began, Failure, RelatedLog, Tie, TieKeys, TraceSpan
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.telemetry import TimeRange, Trace


class RelatedReader(Protocol):
    """Sees what the loader has committed, `durations` what is settled. No answer holds the trace that is asked about.

    Every call is of one tenant. Raises StoreDownError, QueryTimeoutError, TooMuchDataError.
    """

    async def anatomy(self, tenant: TenantId, key: OtelTraceId) -> Sequence[TraceSpan]:
        """The trace's spans, the failed ones first, then by start; at most CORRELATION_SPANS_MAX."""
        ...

    async def ties(self, tenant: TenantId, keys: TieKeys, past: TimeRange, window: TimeRange) -> Sequence[Tie]:
        """Traces that it links to, whenever they were.

        Also those of the window that link to it, or have one of its tasks or its session, and those of either range
        that have its workflow. At most CORRELATION_TIES_MAX of each kind and name, the earliest.
        """
        ...

    async def failing(
        self, tenant: TenantId, key: OtelTraceId, failure: Failure, time_range: TimeRange
    ) -> Sequence[Began]:
        """Traces with a failed span of the same service and error type (the same name where it has no type).

        The latest CORRELATION_CANDIDATES_MAX by the start of that span.
        """
        ...

    async def durations(self, tenant: TenantId, trace: Trace, time_range: TimeRange) -> Sequence[tuple[Began, int]]:
        """Ended traces of the same operation and agent with their durations, the latest CORRELATION_CANDIDATES_MAX."""
        ...

    async def logs(self, tenant: TenantId, key: OtelTraceId) -> Sequence[RelatedLog]:
        """Records with the trace's id, one each, the most severe first; at most CORRELATION_TRACE_LOGS_MAX."""
        ...
