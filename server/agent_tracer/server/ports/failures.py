"""What the analysis of failed runs asks of the store. Times are UTC nanoseconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from agent_tracer.server.domain.failures.signatures import Signature
from agent_tracer.server.domain.failures.spans import RunSpan
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.settling import ReceivedRange


@dataclass(frozen=True, slots=True)
class ConsideredRun:
    """A trace that has failed, or had. `received_ns`: when the last of it was; cost None where no call has a price.

    `is_rooted`: its root span has come. Without, it counts as failed once nothing more comes.
    """

    tenant: TenantId
    otel_trace_id: OtelTraceId
    trace_id: str
    start_ns: int
    received_ns: int
    is_failed: bool
    is_rooted: bool
    agents: Sequence[str]
    cost: float | None
    span_count: int
    hours: Sequence[int]


@dataclass(frozen=True, slots=True)
class ConsideredRuns:
    """All of which something was received at `from_ns` or later, in any order."""

    runs: Sequence[ConsideredRun]
    from_ns: int


@dataclass(frozen=True, slots=True)
class SignedRun:
    """A run with its signature, None where it has not failed."""

    run: ConsideredRun
    signature: Signature | None


class GroupCursor(NamedTuple):
    """Where a list of groups goes on: behind the group of that id with so many runs."""

    runs: int
    group_id: str


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """Groups of the runs that began in the range, with counts in `buckets` parts of `bucket_ns` each.

    What began behind the last bucket, by a clock that is ahead, counts in it. agent_id: only runs in which it took
    part; of all where empty.
    """

    time_range: TimeRange
    buckets: int
    bucket_ns: int
    agent_id: str = ""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group in a range. `first_ns`, `last_ns`: of all that is kept up to the range's end.

    `counts` are its failed runs and `runs` all runs in which one of its agents took part, by bucket, the oldest first.
    Agents by name; sample trace ids, as their callers wrote them, the latest first.
    """

    signature: Signature
    count: int
    first_ns: int
    last_ns: int
    agents: Sequence[str]
    cost: float | None
    trace_ids: Sequence[str]
    counts: Sequence[int]
    runs: Sequence[int]


class FailureStore(Protocol):
    """Failed runs. Raises StoreDownError, QueryTimeoutError, TooMuchDataError."""

    async def considered(self, received: ReceivedRange, *, limit: int) -> ConsideredRuns:
        """The latest traces of all tenants, about `limit`, that failed or are kept as failed, touched in the range.

        `from_ns` of the answer is the start of the range where these are all.
        """
        ...

    async def spans(
        self, tenant: TenantId, traces: Mapping[OtelTraceId, Sequence[int]]
    ) -> Mapping[OtelTraceId, Sequence[RunSpan]]:
        """The spans of traces, given with the hours in which they began; at most FAILURE_SPANS_MAX of each.

        Texts are cut, and empty in the middle of a run of more than 2 * STEPS_MAX spans.
        """
        ...

    async def run_spans(self, tenant: TenantId, trace_id: OtelTraceId) -> Sequence[RunSpan]:
        """The spans of one trace, one more than FAILURE_SPANS_MAX at most; none where it is not stored."""
        ...

    async def keep(self, signed: Sequence[SignedRun]) -> None:
        """Durable on return; takes the place of what was kept of the same traces. Traces that are gone are not kept."""
        ...

    async def groups(
        self, tenant: TenantId, query: GroupQuery, *, limit: int, after: GroupCursor | None
    ) -> Sequence[GroupRow]:
        """Most runs first, ids breaking ties; at most `limit`."""
        ...
