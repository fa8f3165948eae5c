"""Use cases: which agent at which step made a run fail, and which runs failed alike."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.checks import NS, check_id
from agent_tracer.server.domain.conditions import analysis_range
from agent_tracer.server.domain.errors import TooLargeError, TraceNotFoundError, Violations
from agent_tracer.server.domain.failures.attribution import Attribution, attribute_failure
from agent_tracer.server.domain.failures.signatures import Signature
from agent_tracer.server.domain.failures.spans import RunSpan, run_steps
from agent_tracer.server.domain.failures.trends import Trend, group_trend, share
from agent_tracer.server.domain.ids import OtelTraceId, TenantId, TraceId, otel_trace_id
from agent_tracer.server.domain.paging import PageRequest, decode_token, encode_token, page_size, token_error
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import FAILURE_BUCKETS_MAX, FAILURE_SPANS_MAX
from agent_tracer.server.ports.failures import FailureStore, GroupCursor, GroupQuery, GroupRow
from agent_tracer.server.services.loaded_reads import LoadedReads
from agent_tracer.server.services.settled_reads import CatchUp

PERIOD_DEFAULT: Final = "7d"
_DAY_SECONDS: Final = 86_400
_DAYS_MIN: Final = 4
"""A trend holds the last quarter against the rest: of a shorter period the parts are no days."""

_PARTS: Final = 24
_BEHIND: Final = "some failed runs are not in any group yet: the last ones, or long past ones after an import"

_POSITION: Final = struct.Struct(">qq")
"""Head of a position: when the list was asked for, and the last group's count; its id follows."""


@dataclass(frozen=True, slots=True)
class FailureGroupsRequest:
    """As the caller wrote it."""

    period: str = ""
    agent_id: str = ""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Runs of the period that failed alike; `share` of all runs in which one of `agents` took part.

    Times in UTC nanoseconds, of all that is kept; `cost` in US dollars, None where nothing of it is priced.
    """

    signature: Signature
    trace_count: int
    share: float
    agents: Sequence[str]
    first_ns: int
    last_ns: int
    trend: Trend
    cost: float | None
    sample_trace_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class FailureGroups:
    """A page, the most affected runs first; an empty token ends the list."""

    groups: Sequence[FailureGroup]
    next_token: str = ""
    caveats: Sequence[str] = ()


class Failures:
    """Raises InvalidFieldsError, TraceNotFoundError, TooLargeError, and what the store raises."""

    def __init__(
        self,
        *,
        store: FailureStore,
        loaded: LoadedReads,
        catch_up: CatchUp,
        is_behind: Callable[[], bool],
        clock_ns: Callable[[], int],
    ) -> None:
        """`catch_up` waits until failed runs are signed, `is_behind` says whether some still are not."""
        self._store = store
        self._loaded = loaded
        self._catch_up = catch_up
        self._is_behind = is_behind
        self._clock_ns = clock_ns

    async def attribute(self, tenant: TenantId, trace_id: str) -> Attribution:
        """The likeliest culprits of a run, whether it is marked as failed or only its reader knows that it did."""
        violations = Violations()
        check_id(violations, "trace_id", trace_id)
        violations.raise_any()
        key = otel_trace_id(TraceId(trace_id))
        spans = await self._loaded.find_whole(tenant, key, lambda: self._spans(tenant, key))
        if spans is None:
            raise TraceNotFoundError(trace_id)
        if len(spans) > FAILURE_SPANS_MAX:
            raise TooLargeError(f"the trace has over {FAILURE_SPANS_MAX} spans: nobody is blamed for its failure")
        return await asyncio.to_thread(_attributed, spans)

    async def groups(self, tenant: TenantId, request: FailureGroupsRequest, page: PageRequest) -> FailureGroups:
        """Groups of the runs that failed in the period. Pages of one list are of one time."""
        size = page_size(page)
        binding = ("failures", tenant, request.period, request.agent_id)
        now_ns, after = self._clock_ns(), None
        if page.token:
            now_ns, after = _position(decode_token(binding, page.token))
        query = _query(request, now_ns)
        behind = await self._catch_up()
        rows = await self._store.groups(tenant, query, limit=size + 1, after=after)
        caveats = (_BEHIND,) if behind or self._is_behind() else ()
        shown = rows[:size]
        groups = await asyncio.to_thread(lambda: [_group(row, query.time_range) for row in shown])
        if len(rows) <= size:
            return FailureGroups(groups, "", caveats)
        last = shown[-1]
        position = _POSITION.pack(now_ns, last.count) + last.signature.group_id.encode()
        return FailureGroups(groups, encode_token(binding, position), caveats)

    async def _spans(self, tenant: TenantId, key: OtelTraceId) -> Sequence[RunSpan] | None:
        return await self._store.run_spans(tenant, key) or None


def _attributed(spans: Sequence[RunSpan]) -> Attribution:
    return attribute_failure(run_steps(spans).steps)


def _query(request: FailureGroupsRequest, now_ns: int) -> GroupQuery:
    """Parts are days, up to FAILURE_BUCKETS_MAX; of a short period, hours and less."""
    violations = Violations()
    check_id(violations, "agent_id", request.agent_id, required=False)
    time_range = analysis_range(violations, request.period, PERIOD_DEFAULT, None, now_ns)
    violations.raise_any()
    length_ns = now_ns - time_range.start_ns
    days = round(length_ns / NS / _DAY_SECONDS)
    buckets = _PARTS if days < _DAYS_MIN else min(FAILURE_BUCKETS_MAX, days)
    return GroupQuery(time_range, buckets, max(1, -(-length_ns // buckets)), request.agent_id)


def _group(row: GroupRow, time_range: TimeRange) -> FailureGroup:
    return FailureGroup(
        signature=row.signature,
        trace_count=row.count,
        share=share(row.count, sum(row.runs)),
        agents=row.agents,
        first_ns=row.first_ns,
        last_ns=row.last_ns,
        trend=group_trend(row.counts, row.runs, seen_before=row.first_ns < time_range.start_ns),
        cost=row.cost,
        sample_trace_ids=row.trace_ids,
    )


def _position(position: bytes) -> tuple[int, GroupCursor]:
    try:
        now_ns, count = _POSITION.unpack_from(position)
        return now_ns, GroupCursor(count, position[_POSITION.size :].decode())
    except (struct.error, UnicodeDecodeError):
        raise token_error() from None
