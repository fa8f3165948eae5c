"""WatchTraces: each trace once, as soon as its root span is stored."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.checks import check_choice, check_length
from agent_tracer.server.domain.errors import Violations
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.telemetry import Trace, TraceStatus
from agent_tracer.server.limits import TEXT_LENGTH_MAX, WATCH_BATCH_MAX, WATCH_SEEN_MAX
from agent_tracer.server.ports.feed import TraceFeed, TraceSubscription
from agent_tracer.server.ports.store import TraceReader

_STATUSES: Final = ("success", "error", "timeout")


@dataclass(frozen=True, slots=True)
class WatchConditions:
    """Which traces to show, as the caller wrote it; empty is all."""

    agent_id: str = ""
    status: str = ""

    def matches(self, trace: Trace) -> bool:
        """Whether the trace has ended, as asked for, with the agent taking part."""
        return (
            trace.status is not TraceStatus.RUNNING
            and self.status in ("", trace.status)
            and (self.agent_id in ("", trace.agent_id) or self.agent_id in trace.agents)
        )


class TraceWatch:
    """Live tails over a feed: one query per commit and tail."""

    def __init__(self, reader: TraceReader, feed: TraceFeed) -> None:
        self._reader = reader
        self._feed = feed

    @contextmanager
    def watch(self, tenant: TenantId, conditions: WatchConditions) -> Iterator[AsyncGenerator[Trace, None]]:
        """Follow from now on: traces as they finish, ends in order within a commit, until the feed is closed.

        Raises InvalidFieldsError and OverloadedError on entering; the traces raise what TraceReader raises.
        """
        _check(conditions)
        with self._feed.subscribe(tenant) as subscription:
            yield self._finished(tenant, conditions, subscription)

    async def _finished(
        self, tenant: TenantId, conditions: WatchConditions, subscription: TraceSubscription
    ) -> AsyncGenerator[Trace, None]:
        sent: dict[OtelTraceId, None] = {}
        while touched := await subscription.touched(limit=WATCH_BATCH_MAX):
            unsent = [trace_id for trace_id in touched if trace_id not in sent]
            traces = await self._reader.traces_by_id(tenant, unsent) if unsent else ()
            for trace in sorted(traces, key=lambda trace: trace.end_ns):
                if conditions.matches(trace):
                    _remember(sent, trace.otel_trace_id)
                    yield trace


def _check(conditions: WatchConditions) -> None:
    found = Violations()
    check_length(found, "agent_id", conditions.agent_id, TEXT_LENGTH_MAX)
    check_choice(found, "status", conditions.status, _STATUSES)
    found.raise_any()


def _remember(sent: dict[OtelTraceId, None], trace_id: OtelTraceId) -> None:
    sent[trace_id] = None
    if len(sent) > WATCH_SEEN_MAX:
        del sent[next(iter(sent))]
